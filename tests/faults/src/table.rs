//! The scores of many runs.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::Score;

/// The scores of many runs: a line for each fault and transport.
#[derive(Debug, Default)]
pub struct Table {
    scores: BTreeMap<(String, String), Vec<Score>>,
    failures: Vec<String>,
}

impl Table {
    /// Adds a run.
    pub fn add(&mut self, score: Score) {
        let key = (score.fault.clone(), score.over.to_string());
        self.scores.entry(key).or_default().push(score);
    }

    /// Adds a run that did not come to its end.
    pub fn add_failure(&mut self, what: String) {
        self.failures.push(what);
    }

    /// How many runs there were.
    pub fn runs(&self) -> usize {
        self.scores.values().map(Vec::len).sum::<usize>() + self.failures.len()
    }

    /// Why the runs failed that did, in words.
    pub fn failures(&self) -> Vec<String> {
        let wrong = self
            .scores
            .values()
            .flatten()
            .filter(|score| !score.is_right() || !score.late.is_empty());
        self.failures.iter().cloned().chain(wrong.map(Score::to_string)).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = "| fault | transport | runs | lost | repeated | reordered | unknown | time to heal, p50 | max |";
        writeln!(f, "{head}\n|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for ((fault, over), scores) in &self.scores {
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
