//! As many messages as go, one way. The receiver counts.

use super::{Order, Source, next};
use crate::{Point, Side, clock, report::Report};

pub(super) async fn send(point: &Point, side: &mut impl Side) -> anyhow::Result<Report> {
    for message in Source::new(point) {
        side.send(message).await?;
    }
    Ok(Report::default())
}

pub(super) async fn receive(side: &mut impl Side) -> anyhow::Result<Report> {
    let mut order = Order::default();
    let mut began = None;
    while order.accept(&next(side).await?)? {
        began.get_or_insert_with(clock::now);
    }
    let ended = clock::now();
    let began = began.unwrap_or(ended);
    Ok(Report { count: order.next, secs: ended - began, began, ..Report::default() })
}
