//! How scenarios ended, and the table of it.

use std::{collections::BTreeMap, fmt, time::Duration};

use dchan_conformance::cluster::Verdict;

use crate::Over;

/// How one run of a scenario ended.
#[derive(Clone, Debug)]
pub struct Score {
    /// What was done to the cluster.
    pub fault: &'static str,
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
}

impl Score {
    pub(crate) fn new(
        fault: &'static str,
        over: Over,
        verdict: &Verdict,
        heal: Vec<Duration>,
    ) -> Self {
        let count = |entries: &Vec<_>| entries.len() as u64;
        let most = verdict.sent.taken + verdict.sent.unknown + verdict.sent.in_flight;
        // Received, though its sender knows that it was not.
        let too_many = verdict.received.saturating_sub(most);
        let score = Self {
            fault,
            over,
            lost: verdict.lost(),
            repeated: count(&verdict.repeated) + count(&verdict.strangers) + too_many,
            reordered: count(&verdict.reordered),
            unknown: verdict.sent.unknown,
            heal,
        };
        score.print();
        score
    }

    #[allow(clippy::print_stdout, reason = "for whoever reads the output of a test")]
    fn print(&self) {
        println!("{self}");
    }

    /// Checks that nothing went wrong that must never.
    pub fn check(&self) {
        assert_eq!((self.lost, self.repeated, self.reordered), (0, 0, 0), "{self}");
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, over, lost, repeated, reordered, unknown, heal } = self;
        let counts = format!("lost={lost} repeated={repeated} reordered={reordered}");
        write!(f, "{fault} over {over}: {counts} unknown={unknown} heal={heal:.2?}")
    }
}

/// The scores of many runs: a line for each fault and transport.
#[derive(Debug, Default)]
pub struct Table(BTreeMap<(&'static str, String), Vec<Score>>);

impl Table {
    /// Adds a run.
    pub fn add(&mut self, score: Score) {
        let key = (score.fault, score.over.to_string());
        self.0.entry(key).or_default().push(score);
    }

    /// Checks every run.
    pub fn check(&self) {
        self.0.values().flatten().for_each(Score::check);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = "| fault | transport | runs | lost | repeated | reordered | unknown | time to heal, p50 | max |";
        writeln!(f, "{head}\n|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for ((fault, over), scores) in &self.0 {
            let sum = |of: fn(&Score) -> u64| scores.iter().map(of).sum::<u64>();
            let mut heal: Vec<_> = scores.iter().flat_map(|score| score.heal.clone()).collect();
            heal.sort();
            let (middle, longest) = (heal.get(heal.len() / 2), heal.last());
            let seconds = |time: Option<&Duration>| {
                time.map_or("–".into(), |time| format!("{:.2} s", time.as_secs_f64()))
            };
            writeln!(
                f,
                "| {fault} | {over} | {} | {} | {} | {} | {} | {} | {} |",
                heal.len(),
                sum(|score| score.lost),
                sum(|score| score.repeated),
                sum(|score| score.reordered),
                sum(|score| score.unknown),
                seconds(middle),
                seconds(longest),
            )?;
        }
        Ok(())
    }
}
