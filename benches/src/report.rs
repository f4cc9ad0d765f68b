//! What the processes of a run tell the driver: a word and, at the end, a line of JSON.

use std::io::BufRead;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::usage;

/// What a process begins its report with.
pub(crate) const DONE: &str = "done";

/// What a process has seen. The one that counts fills in the rest.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Messages, or round trips.
    pub(crate) count: u64,
    /// From the first to the last.
    pub(crate) secs: f64,
    /// When the first one came, by the clock that all processes share.
    pub(crate) began: f64,
    /// The sum of the numbers of all messages: for runs with several receivers.
    pub(crate) sum: u64,
    /// Of the round trips, in microseconds: half, 99 of 100 and 999 of 1,000 are not longer.
    pub(crate) percentiles: [f64; 3],
    /// Seconds of processor time.
    pub(crate) cpu: f64,
    /// The most that was resident, in MiB.
    pub(crate) peak: f64,
}

impl Report {
    /// Adds what this process has used, and those that it has started and seen end.
    pub(crate) fn with_usage(self) -> anyhow::Result<Self> {
        Ok(Self { cpu: usage::cpu()?, peak: usage::peak()?, ..self })
    }

    /// Tells it to the driver.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        print(self)
    }
}

/// Tells the driver what was measured.
pub(crate) fn print(report: &impl Serialize) -> anyhow::Result<()> {
    println!("{DONE} {}", serde_json::to_string(report)?);
    Ok(())
}

/// Reads a line that begins with that word: the rest of it.
pub(crate) fn line(from: &mut impl BufRead, word: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    from.read_line(&mut text)?;
    rest(&text, word)
}

/// The rest of a line that begins with that word.
pub(crate) fn rest(line: &str, word: &str) -> anyhow::Result<String> {
    let rest = line.trim_end().strip_prefix(word).map(|rest| rest.trim_start().to_owned());
    rest.with_context(|| format!("expected {word:?}, found {line:?}"))
}
