//! What every contender carries, and how it is counted.

use tokio::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::Point;

/// The id of the message that ends a run.
const END: u64 = u64::MAX;

/// A message: its number, and as many bytes as the point asks for.
#[derive(Serialize, Deserialize)]
pub(crate) struct Msg {
    pub(crate) id: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) body: Vec<u8>,
}

impl Msg {
    /// Ends a run.
    pub(crate) fn end() -> Self {
        Self { id: END, body: Vec::new() }
    }
}

/// Makes messages until the time is up.
pub(crate) struct Source {
    body: Vec<u8>,
    next: u64,
    began: Instant,
    secs: f64,
}

impl Source {
    pub(crate) fn new(point: &Point) -> Self {
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

/// Checks that messages come in order with none missing, and takes the time from the first to the last.
#[derive(Default)]
pub(crate) struct Sink {
    next: u64,
    began: Option<Instant>,
}

impl Sink {
    /// Whether there is more to come.
    pub(crate) fn accept(&mut self, message: &Msg) -> anyhow::Result<bool> {
        if message.id == END {
            return Ok(false);
        }
        self.began.get_or_insert_with(Instant::now);
        anyhow::ensure!(message.id == self.next, "expected {}, found {}", self.next, message.id);
        self.next += 1;
        Ok(true)
    }

    /// What the driver reads: messages, seconds, seconds of processor time.
    pub(crate) fn report(&self) -> anyhow::Result<String> {
        let secs = self.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        Ok(format!("{} {secs} {}", self.next, cpu()?))
    }
}

/// Seconds of processor time that this process has used.
pub(crate) fn cpu() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let secs = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    Ok(secs(usage.user_time()) + secs(usage.system_time()))
}
