//! Prints what was measured: medians, and in brackets the least and the most of the repetitions.

use crate::{Workload, driver::Run};

pub(crate) fn print_head(workload: Workload) {
    let columns = match workload {
        Workload::Throughput => "messages/s | MB/s | CPU s per million | of the first",
        Workload::Ping => {
            "p50 µs | p99 µs | p99.9 µs | CPU s per million | p50 of the first | p99 of the first"
        }
    };
    println!("| bytes | contender | {columns} |");
    println!("|{}", "---|".repeat(columns.split(" | ").count() + 2));
}

/// `first`: the runs of what this is compared with, round by round.
pub(crate) fn print_row(
    workload: Workload,
    size: usize,
    contender: &str,
    runs: &[Run],
    first: &[Run],
) {
    let cpu = Spread::of(runs.iter().map(|run| run.cpu)).median;
    let ratio = |value: fn(&Run) -> f64| {
        let ratios = runs.iter().zip(first).map(|(run, first)| value(run) / value(first));
        Spread::of(ratios).show(2)
    };
    let cells = match workload {
        Workload::Throughput => {
            let rate = Spread::of(runs.iter().map(|run| run.rate));
            let bytes = rate.median * size as f64 / 1e6;
            let ratio = ratio(|run| run.rate);
            format!("{} | {bytes:.0} | {cpu:.2} | {ratio}", rate.show(0))
        }
        Workload::Ping => {
            let [half, most, all] =
                [0, 1, 2].map(|at| Spread::of(runs.iter().map(|run| run.percentiles[at])).show(0));
            let [half_ratio, most_ratio] =
                [ratio(|run| run.percentiles[0]), ratio(|run| run.percentiles[1])];
            format!("{half} | {most} | {all} | {cpu:.1} | {half_ratio} | {most_ratio}")
        }
    };
    println!("| {size} | {contender} | {cells} |");
}

struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |at: usize| values.get(at).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            least: at(0),
            most: at(values.len().saturating_sub(1)),
        }
    }

    fn show(&self, digits: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
    }
}
