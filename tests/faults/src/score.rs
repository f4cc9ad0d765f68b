//! How a scenario ended.

use std::{fmt, time::Duration};

use dchan_conformance::cluster::Verdict;

use crate::Over;

/// How one run of a scenario ended.
#[derive(Clone, Debug)]
pub struct Score {
    /// What was done to the cluster.
    pub fault: String,
    /// What it stood on.
    pub over: Over,
    /// Messages that count as taken and were not received.
    pub lost: u64,
    /// Messages that came twice, or that nobody had sent.
    pub repeated: u64,
    /// Messages that came after later ones, and were not flagged.
    pub reordered: u64,
    /// Messages whose fate is owned up to as unknown.
    pub unknown: u64,
    /// How long it took, each time, until all was well again.
    pub heal: Vec<Duration>,
    /// What took so long that the run shows less than it should, or that nothing may take so long.
    pub late: Vec<String>,
}

impl Score {
    pub(crate) fn new(
        fault: impl Into<String>,
        over: Over,
        verdict: &Verdict,
        heal: Vec<Duration>,
    ) -> Self {
        let count = |entries: &Vec<_>| entries.len() as u64;
        let most = verdict.sent.taken + verdict.sent.unknown + verdict.sent.in_flight;
        // Received, though its sender knows that it was not.
        let too_many = verdict.received.saturating_sub(most);
        let score = Self {
            fault: fault.into(),
            over,
            lost: verdict.lost(),
            repeated: count(&verdict.repeated) + count(&verdict.strangers) + too_many,
            reordered: count(&verdict.reordered),
            unknown: verdict.sent.unknown,
            heal,
            late: Vec::new(),
        };
        score.print();
        score
    }

    #[allow(clippy::print_stdout, reason = "for whoever reads the output of a test")]
    fn print(&self) {
        println!("{self}");
    }

    /// Notes whether something took longer than it may.
    pub(crate) fn within(mut self, what: &str, took: Duration, limit: Duration) -> Self {
        if took >= limit {
            self.late.push(format!("{what} for {took:?}"));
        }
        self
    }

    /// Whether nothing went wrong that must never.
    pub fn is_right(&self) -> bool {
        (self.lost, self.repeated, self.reordered) == (0, 0, 0)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, over, lost, repeated, reordered, unknown, heal, late } = self;
        let counts = format!("lost={lost} repeated={repeated} reordered={reordered}");
        write!(f, "{fault} over {over}: {counts} unknown={unknown} heal={heal:.2?}")?;
        late.iter().try_for_each(|what| write!(f, ", {what}"))
    }
}
