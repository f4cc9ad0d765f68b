//! One message at a time, there and back. The sender counts.

use std::time::Duration;

use tokio::time::Instant;

use super::{Order, Source, next};
use crate::{Point, Side, report::Report};

/// Round trips that come first and are not counted, or half of all: buffers and estimates settle.
const WARM_UP: usize = 500;

pub(super) async fn send(point: &Point, side: &mut impl Side) -> anyhow::Result<Report> {
    let (mut order, mut took) = (Order::default(), Vec::new());
    for message in Source::new(point) {
        let began = Instant::now();
        side.send(message).await?;
        side.push().await?;
        anyhow::ensure!(order.accept(&next(side).await?)?, "the receiver ended the run");
        took.push(began.elapsed());
    }
    took.drain(..WARM_UP.min(took.len() / 2));
    Ok(Report {
        count: took.len() as u64,
        secs: took.iter().sum::<Duration>().as_secs_f64(),
        percentiles: percentiles(took),
        ..Report::default()
    })
}

pub(super) async fn receive(side: &mut impl Side) -> anyhow::Result<Report> {
    let mut order = Order::default();
    loop {
        let message = next(side).await?;
        if !order.accept(&message)? {
            return Ok(Report::default());
        }
        side.send(message).await?;
        side.push().await?;
    }
}

/// In microseconds.
fn percentiles(mut all: Vec<Duration>) -> [f64; 3] {
    all.sort_unstable();
    [0.5, 0.99, 0.999].map(|part| {
        let at = (all.len() as f64 * part) as usize;
        all.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    })
}
