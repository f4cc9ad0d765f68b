//! Several senders, or several receivers. What is counted lies within the time in which all of them send.

use std::{thread::sleep, time::Duration};

use tokio::time::Instant;

use super::process::{Process, Stage};
use crate::{
    Point,
    output::{Figure, Run},
    report::Report,
    workload::shape::ONE_STOPPED,
};

/// How long all that was sent may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(60);

pub(super) fn measure(stage: &Stage, point: &Point) -> anyhow::Result<Run> {
    let mut receivers = start_receivers(stage, point)?;
    let mut senders = start_senders(stage, point, &receivers)?;
    let mut receivers: Vec<_> = receivers.drain(..).map(|(receiver, _)| receiver).collect();
    for sender in &mut senders {
        sender.tell("go")?;
    }
    let rates = rates(point, &mut receivers)?;
    let mut sent = 0;
    for sender in &mut senders {
        sent += sender.line("sent")?.parse::<u64>()?;
    }
    if let Some(stopped) = receivers.last().filter(|_| point.case == ONE_STOPPED) {
        stopped.thaw()?;
    }
    wait_for_all(&mut receivers, sent)?;
    for receiver in &mut receivers {
        receiver.tell("stop")?;
    }
    let sent: Vec<Report> = end_all(senders)?;
    // The first has founded the cluster, and waits for the others to leave.
    let received: Vec<Report> = end_all(receivers.into_iter().rev())?;
    check(&sent, &received)?;
    Ok(figures(point, &rates, &sent, &received))
}

fn start_receivers(stage: &Stage, point: &Point) -> anyhow::Result<Vec<(Process, String)>> {
    let mut receivers: Vec<(Process, String)> = Vec::new();
    for _ in 0..point.setup().receivers {
        let before: Vec<_> =
            receivers.iter().flat_map(|(_, addr)| ["--before", addr.as_str()]).collect();
        let mut receiver = stage.start("receive", point, &before)?;
        let addr = receiver.line("ready")?;
        receivers.push((receiver, addr));
    }
    Ok(receivers)
}

fn start_senders(
    stage: &Stage,
    point: &Point,
    to: &[(Process, String)],
) -> anyhow::Result<Vec<Process>> {
    let to: Vec<_> = to.iter().flat_map(|(_, addr)| ["--to", addr.as_str()]).collect();
    let start = |number: usize| {
        let number = number.to_string();
        let more = [&to[..], &["--number", number.as_str()][..]].concat();
        stage.start("send", point, &more)
    };
    let mut senders = (0..point.setup().senders).map(start).collect::<anyhow::Result<Vec<_>>>()?;
    for sender in &mut senders {
        sender.line("ready")?;
    }
    Ok(senders)
}

/// The messages a second of each receiver that runs. If one is to be stopped, then it is the last.
fn rates(point: &Point, receivers: &mut [Process]) -> anyhow::Result<Vec<f64>> {
    let wait = |part: f64| sleep(Duration::from_secs_f64(point.secs * part));
    wait(0.15);
    let running = match receivers.split_last_mut() {
        Some((last, others)) if point.case == ONE_STOPPED => {
            last.freeze()?;
            others
        }
        _ => receivers,
    };
    wait(0.2);
    let before = running.iter_mut().map(count).collect::<anyhow::Result<Vec<_>>>()?;
    wait(0.6);
    let after = running.iter_mut().map(count).collect::<anyhow::Result<Vec<_>>>()?;
    let rate = |((from, began), (to, ended)): (&(u64, f64), &(u64, f64))| {
        (to - from) as f64 / (ended - began)
    };
    Ok(before.iter().zip(&after).map(rate).collect())
}

/// How many messages it has got, and when it said so.
fn count(receiver: &mut Process) -> anyhow::Result<(u64, f64)> {
    receiver.tell("count")?;
    let said = receiver.line("count")?;
    let (count, at) = said.split_once(' ').unwrap_or((&said, ""));
    Ok((count.parse()?, at.parse()?))
}

fn wait_for_all(receivers: &mut [Process], sent: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + ARRIVAL;
    loop {
        let counts = receivers.iter_mut().map(count).collect::<anyhow::Result<Vec<_>>>()?;
        let received: u64 = counts.iter().map(|(count, _)| count).sum();
        if received >= sent {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "{received} of {sent} messages arrived");
        sleep(Duration::from_millis(5));
    }
}

fn end_all(processes: impl IntoIterator<Item = Process>) -> anyhow::Result<Vec<Report>> {
    processes.into_iter().map(Process::end).collect()
}

/// Each message was received once.
fn check(sent: &[Report], received: &[Report]) -> anyhow::Result<()> {
    let sum = |reports: &[Report]| {
        let (counts, sums) =
            (reports.iter().map(|one| one.count), reports.iter().map(|one| one.sum));
        (counts.sum::<u64>(), sums.fold(0, u64::wrapping_add))
    };
    let (sent, received) = (sum(sent), sum(received));
    anyhow::ensure!(
        sent == received,
        "sent, and the sum of numbers: {sent:?}, received: {received:?}"
    );
    Ok(())
}

fn figures(point: &Point, rates: &[f64], sent: &[Report], received: &[Report]) -> Run {
    let rate: f64 = rates.iter().sum();
    let share = rate / rates.len() as f64;
    let uneven = rates.iter().map(|rate| (rate / share - 1.0).abs()).fold(0.0, f64::max);
    let cpu: f64 = sent.iter().chain(received).map(|one| one.cpu).sum();
    let count: u64 = received.iter().map(|one| one.count).sum();
    let peak = |reports: &[Report]| reports.iter().map(|one| one.peak).fold(0.0, f64::max);
    let run = Run::default()
        .with(Figure::Rate, rate)
        .with(Figure::Megabytes, rate * point.size as f64 / 1e6)
        .with(Figure::Cpu, cpu / count as f64 * 1e6)
        .with(Figure::SenderPeak, peak(sent))
        .with(Figure::ReceiverPeak, peak(received));
    if rates.len() > 1 { run.with(Figure::Uneven, uneven * 100.0) } else { run }
}
