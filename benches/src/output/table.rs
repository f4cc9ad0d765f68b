//! Tables in Markdown.

use std::collections::BTreeSet;

use super::{Figure, Outcome, Row, Spread};

pub(super) fn print(outcome: &Outcome) {
    for rows in outcome.by_workload() {
        for line in lines(outcome, rows) {
            println!("{line}");
        }
        println!();
    }
}

fn lines(outcome: &Outcome, rows: &[Row]) -> Vec<String> {
    let figures: BTreeSet<Figure> = rows.iter().flat_map(Row::figures).collect();
    let mut lines = Vec::new();
    for row in rows {
        let cells = [names(row), values(outcome, row, &figures)].concat();
        if lines.is_empty() {
            let heads: Vec<_> = cells.iter().map(|(head, _)| head.as_str()).collect();
            lines.push(format!("| {} |", heads.join(" | ")));
            lines.push(format!("|{}", "---|".repeat(heads.len())));
        }
        let values: Vec<_> = cells.into_iter().map(|(_, value)| value).collect();
        lines.push(format!("| {} |", values.join(" | ")));
    }
    lines
}

/// The head of each column that tells which point it is, and what this row has there.
fn names(row: &Row) -> Vec<(String, String)> {
    let point = &row.point;
    let mut cells = vec![("workload", point.workload.word())];
    if point.workload.cases().len() > 1 {
        cells.push(("case", point.case.clone()));
    }
    if point.workload.has_sizes() {
        cells.push(("bytes", point.size.to_string()));
    }
    cells.push(("contender", point.contender.clone()));
    cells.into_iter().map(|(head, value)| (head.to_owned(), value)).collect()
}

/// The same of what was measured.
fn values(outcome: &Outcome, row: &Row, figures: &BTreeSet<Figure>) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    for &figure in figures {
        let has = row.figures().any(|known| known == figure);
        let show = |shown: String| if has { shown } else { String::new() };
        cells.push((figure.title().to_owned(), show(row.spread(figure).show())));
        if figure.is_compared()
            && let Some(first) = outcome.first_of(row)
        {
            let ratio = Spread::of(row.ratios(first, figure));
            cells.push((format!("{} of the first", figure.title()), show(ratio.show_middle())));
        }
    }
    cells
}
