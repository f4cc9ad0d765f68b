//! What was measured, in rows, and how it is shown.

mod figure;
mod json;
mod plot;
mod spread;
mod table;

use std::path::Path;

use crate::Point;

pub(crate) use figure::{Figure, Run};
use spread::Spread;

/// All repetitions of all points.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) reps: usize,
    pub(crate) secs: f64,
    pub(crate) rows: Vec<Row>,
}

/// One point of the table, and what came of each of its repetitions.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) point: Point,
    pub(crate) runs: Vec<Run>,
}

impl Outcome {
    /// One table for each workload.
    pub(crate) fn print_tables(&self) {
        table::print(self);
    }

    /// One object with everything.
    pub(crate) fn print_json(&self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string(&json::of(self))?);
        Ok(())
    }

    /// A drawing of the first figure of each row.
    pub(crate) fn plot(&self, file: &Path) -> anyhow::Result<()> {
        plot::draw(self, file)
    }

    /// The rows of each workload, in the order in which they were asked for.
    fn by_workload(&self) -> impl Iterator<Item = &[Row]> {
        self.rows.chunk_by(|a, b| a.point.workload == b.point.workload)
    }

    /// What a row is compared with: the first case of the same contender where there are cases, or else
    /// the first contender.
    fn first_of(&self, row: &Row) -> Option<&Row> {
        let cases = row.point.workload.cases().len() > 1;
        self.rows.iter().find(|first| {
            let (first, point) = (&first.point, &row.point);
            let same = first.workload == point.workload && first.size == point.size;
            same && (!cases || first.contender == point.contender)
        })
    }
}

impl Row {
    /// The figures that its runs have.
    fn figures(&self) -> impl Iterator<Item = Figure> {
        self.runs.first().into_iter().flat_map(|run| run.figures())
    }

    fn spread(&self, figure: Figure) -> Spread {
        Spread::of(self.runs.iter().filter_map(|run| run.get(figure)))
    }

    /// Repetition by repetition, how many times as much it is as of the other row.
    fn ratios(&self, first: &Row, figure: Figure) -> Vec<f64> {
        let pairs = self.runs.iter().zip(&first.runs);
        pairs.filter_map(|(run, first)| Some(run.get(figure)? / first.get(figure)?)).collect()
    }
}
