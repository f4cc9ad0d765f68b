//! What every contender carries, and how it is counted.

mod msg;
mod ping;
mod throughput;

use anyhow::Context;
use clap::ValueEnum;
use tokio::time::Instant;

use crate::{Point, Side, report::Report};

pub use msg::Msg;

/// What the messages are sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// As many as go, one way.
    Throughput,
    /// One at a time, there and back.
    Ping,
}

impl Workload {
    /// Whether messages go back, too.
    pub(crate) fn is_both_ways(self) -> bool {
        self == Self::Ping
    }
}

/// Sends to the end.
pub(crate) async fn send(point: &Point, mut side: impl Side) -> anyhow::Result<Report> {
    let report = match point.workload {
        Workload::Throughput => throughput::send(point, &mut side).await?,
        Workload::Ping => ping::send(point, &mut side).await?,
    };
    side.send(Msg::end()).await?;
    side.end().await?;
    Ok(report)
}

/// Receives until the sender ends the run.
pub(crate) async fn receive(point: &Point, mut side: impl Side) -> anyhow::Result<Report> {
    let report = match point.workload {
        Workload::Throughput => throughput::receive(&mut side).await?,
        Workload::Ping => ping::receive(&mut side).await?,
    };
    side.end().await?;
    Ok(report)
}

/// The next message, of a sender that says when it ends.
async fn next(side: &mut impl Side) -> anyhow::Result<Msg> {
    side.recv().await?.context("the other side went away")
}

/// Makes messages until the time is up.
struct Source {
    body: Vec<u8>,
    next: u64,
    began: Instant,
    secs: f64,
}

impl Source {
    fn new(point: &Point) -> Self {
        let body = (0..point.size).map(|at| at as u8).collect();
        Self { body, next: 0, began: Instant::now(), secs: point.secs }
    }
}

impl Iterator for Source {
    type Item = Msg;

    fn next(&mut self) -> Option<Msg> {
        if self.next.is_multiple_of(32) && self.began.elapsed().as_secs_f64() >= self.secs {
            return None;
        }
        self.next += 1;
        Some(Msg { id: self.next - 1, body: self.body.clone() })
    }
}

/// Checks that messages come in order with none missing.
#[derive(Default)]
struct Order {
    next: u64,
}

impl Order {
    /// Whether there is more to come.
    fn accept(&mut self, message: &Msg) -> anyhow::Result<bool> {
        if message.is_end() {
            return Ok(false);
        }
        anyhow::ensure!(message.id == self.next, "expected {}, found {}", self.next, message.id);
        self.next += 1;
        Ok(true)
    }
}
