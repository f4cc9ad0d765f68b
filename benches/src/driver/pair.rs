//! One sender and one receiver.

use super::process::Stage;
use crate::{
    Point, Workload, clock,
    contender::Known,
    output::{Figure, Run},
    report::Report,
};

pub(super) fn measure(stage: &Stage, known: &Known, point: &Point) -> anyhow::Result<Run> {
    if known.in_one_process {
        let mut both = stage.start("both", point, &[])?;
        let sent: Report = both.report()?;
        let received: Report = both.end()?;
        // What was used is told once. The memory is that of both.
        let sent = Report { peak: received.peak, ..sent };
        return Ok(figures(point, &sent, &received));
    }
    let mut receiver = stage.start("receive", point, &[])?;
    let addr = receiver.line("ready")?;
    let sender = stage.start("send", point, &["--to", &addr])?;
    let sent: Report = sender.end()?;
    Ok(figures(point, &sent, &receiver.end()?))
}

/// From the start of the sender's process to its first message, in seconds.
pub(super) fn first_message(stage: &Stage, point: &Point) -> anyhow::Result<f64> {
    let mut receiver = stage.start("receive", point, &[])?;
    let addr = receiver.line("ready")?;
    let began = clock::now();
    let _sent: Report = stage.start("send", point, &["--to", &addr])?.end()?;
    let received: Report = receiver.end()?;
    Ok(received.began - began)
}

fn figures(point: &Point, sent: &Report, received: &Report) -> Run {
    let counted = if point.workload == Workload::Ping { sent } else { received };
    let (count, rate) = (counted.count as f64, counted.count as f64 / counted.secs);
    let run = Run::default()
        .with(Figure::Cpu, (sent.cpu + received.cpu) / count * 1e6)
        .with(Figure::SenderPeak, sent.peak)
        .with(Figure::ReceiverPeak, received.peak);
    if point.workload == Workload::Ping {
        let [p50, p99, p999] = counted.percentiles;
        return run.with(Figure::P50, p50).with(Figure::P99, p99).with(Figure::P999, p999);
    }
    run.with(Figure::Rate, rate).with(Figure::Megabytes, rate * point.size as f64 / 1e6)
}
