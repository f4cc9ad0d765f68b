//! As many messages as go, one way. The receiver counts.

use super::{Order, Source};
use crate::{Point, Side, clock, report::Report};

pub(super) async fn send(point: &Point, side: &mut impl Side) -> anyhow::Result<Report> {
    let mut source = Source::new(point);
    while source.has_more() {
        side.send(source.make()).await?;
    }
    Ok(Report::default())
}

pub(super) async fn receive(side: &mut impl Side) -> anyhow::Result<Report> {
    let mut order = Order::default();
    let (mut began, mut more) = (None, true);
    let take = |message| {
        more = order.accept(&message)?;
        began.get_or_insert_with(clock::now);
        Ok(more)
    };
    side.recv_while(take).await?;
    anyhow::ensure!(!more, "the other side went away");
    let ended = clock::now();
    let began = began.unwrap_or(ended);
    Ok(Report { count: order.next, secs: ended - began, began, ..Report::default() })
}
