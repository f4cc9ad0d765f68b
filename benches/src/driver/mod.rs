//! Runs all points in turn, several times over.

mod cluster;
mod pair;
mod plan;
mod process;
mod shape;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    Contenders, Point, Workload,
    contender::Known,
    output::{Outcome, Row, Run},
};

pub(crate) use plan::Plan;
use process::Stage;

/// Runs what is asked for, and shows what came of it.
pub(crate) fn run(plan: &Plan, contenders: &Contenders) -> anyhow::Result<()> {
    let outcome = measure_all(plan, contenders)?;
    match plan.json {
        true => outcome.print_json()?,
        false => outcome.print_tables(),
    }
    plan.plot.as_deref().map_or(Ok(()), |file| outcome.plot(file))
}

/// Each repetition goes through all points, so that those of one point are spread over the whole run.
fn measure_all(plan: &Plan, contenders: &Contenders) -> anyhow::Result<Outcome> {
    let mut rows: Vec<_> =
        plan.points(contenders)?.into_iter().map(|point| Row { point, runs: Vec::new() }).collect();
    // Hidden where it is no terminal.
    let bar = ProgressBar::new((rows.len() * plan.reps) as u64).with_style(style()?);
    for _ in 0..plan.reps {
        for row in &mut rows {
            bar.set_message(row.point.to_string());
            let known = contenders.get(&row.point.contender)?;
            let run = measure(known, &row.point);
            row.runs.push(run.with_context(|| format!("void: {}", row.point))?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Outcome { reps: plan.reps, secs: plan.secs, rows })
}

fn style() -> anyhow::Result<ProgressStyle> {
    Ok(ProgressStyle::with_template("{wide_bar} {pos}/{len}, {eta} left: {msg}")?)
}

fn measure(known: &Known, point: &Point) -> anyhow::Result<Run> {
    let stage = &Stage::new()?;
    match point.workload {
        Workload::Throughput | Workload::Ping | Workload::Namespaces | Workload::Tracked => {
            pair::measure(stage, known, point)
        }
        Workload::FanOut | Workload::FanIn | Workload::Stopped => shape::measure(stage, point),
        Workload::Registrations => cluster::registrations(stage, point),
        Workload::Times => cluster::times(stage, point),
        Workload::Memory => cluster::memory(stage, point),
    }
}
