//! What the processes of a run tell the driver: a word and, at the end, a line of JSON.

use std::io::BufRead;

use anyhow::Context;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use serde::{Deserialize, Serialize};

/// What a process has seen. The one that counts fills in the rest.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Messages, or round trips.
    pub(crate) count: u64,
    /// From the first to the last.
    pub(crate) secs: f64,
    /// Seconds of processor time.
    pub(crate) cpu: f64,
    /// Of the round trips, in microseconds: half, 99 of 100 and 999 of 1,000 are not longer.
    pub(crate) percentiles: [f64; 3],
}

impl Report {
    /// Adds what this process has used, and those that it has started and seen end.
    pub(crate) fn with_usage(self) -> anyhow::Result<Self> {
        let secs = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
        let mut cpu = 0.0;
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who)?;
            cpu += secs(usage.user_time()) + secs(usage.system_time());
        }
        Ok(Self { cpu, ..self })
    }

    /// Tells it to the driver.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        println!("done {}", serde_json::to_string(self)?);
        Ok(())
    }

    /// Reads what was printed.
    pub(crate) fn read(from: &mut impl BufRead) -> anyhow::Result<Self> {
        Ok(serde_json::from_str(&line(from, "done")?)?)
    }
}

/// The rest of a line that begins with that word.
pub(crate) fn line(from: &mut impl BufRead, word: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    from.read_line(&mut text)?;
    let rest = text.trim_end().strip_prefix(word).map(|rest| rest.trim_start().to_owned());
    rest.with_context(|| format!("expected {word:?}, found {text:?}"))
}
