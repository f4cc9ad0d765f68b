//! Everything, for programs to read.

use serde_json::{Map, Value, json};

use super::{Outcome, Row, Spread};

pub(super) fn of(outcome: &Outcome) -> Value {
    let rows: Vec<_> = outcome.rows.iter().map(|row| of_row(outcome, row)).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cores": cores,
        "repetitions": outcome.reps,
        "secs": outcome.secs,
        "rows": rows,
    })
}

fn of_row(outcome: &Outcome, row: &Row) -> Value {
    let first = outcome.first_of(row);
    let mut figures = Map::new();
    for figure in row.figures() {
        let values: Vec<_> = row.runs.iter().filter_map(|run| run.get(figure)).collect();
        let mut entry = spread(values);
        if let (Some(first), true) = (first, figure.is_compared()) {
            entry["of_the_first"] = spread(row.ratios(first, figure));
        }
        figures.insert(figure.name().to_owned(), entry);
    }
    let point = &row.point;
    json!({
        "workload": point.workload.word(),
        "case": point.case,
        "bytes": point.workload.has_sizes().then_some(point.size),
        "contender": point.contender,
        "figures": figures,
    })
}

fn spread(values: Vec<f64>) -> Value {
    let Spread { median, quartiles, least, most } = Spread::of(values.iter().copied());
    json!({ "values": values, "median": median, "quartiles": quartiles, "least": least, "most": most })
}
