//! What every contender carries, and how it is counted.

mod ping;
mod throughput;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{Point, contender::Side};

/// The id of the message that ends a run.
const END: u64 = u64::MAX;

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

/// A message: its number, and as many bytes as the point asks for.
#[derive(Serialize, Deserialize)]
pub(crate) struct Msg {
    pub(crate) id: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) body: Vec<u8>,
}

impl Msg {
    /// Ends a run.
    fn end() -> Self {
        Self { id: END, body: Vec::new() }
    }
}

/// Sends, and reports.
pub(crate) async fn send(point: &Point, mut side: impl Side) -> anyhow::Result<()> {
    let report = match point.workload {
        Workload::Throughput => throughput::send(point, &mut side).await?,
        Workload::Ping => ping::send(point, &mut side).await?,
    };
    side.send(Msg::end()).await?;
    side.end().await?;
    report.print()
}

/// Receives until the sender ends the run, and reports.
pub(crate) async fn receive(point: &Point, mut side: impl Side) -> anyhow::Result<()> {
    let report = match point.workload {
        Workload::Throughput => throughput::receive(&mut side).await?,
        Workload::Ping => ping::receive(&mut side).await?,
    };
    report.print()?;
    side.end().await
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
        if message.id == END {
            return Ok(false);
        }
        anyhow::ensure!(message.id == self.next, "expected {}, found {}", self.next, message.id);
        self.next += 1;
        Ok(true)
    }
}
