//! Nodes in processes of their own that do what they are told: three founders, or a pair that is idle.

use std::{thread::sleep, time::Duration};

use anyhow::Context;

use super::{
    pair,
    process::{Process, Stage},
};
use crate::{
    Point, Workload, clock,
    node::{Order, free_addr},
    output::{Figure, Run},
    report::Report,
    workload::memory::Memory,
};

/// Receivers that are opened at one time.
const BURST: usize = 10_000;

/// Three nodes with a log on disk, which found a cluster.
fn three(stage: &Stage, point: &Point) -> anyhow::Result<Vec<Process>> {
    let free = (0..3).map(|_| Ok(free_addr()?.to_string()));
    let addrs = free.collect::<anyhow::Result<Vec<_>>>()?;
    let start = |addr: &String| start(stage, point, addr, &addrs);
    let mut nodes = addrs.iter().map(start).collect::<anyhow::Result<Vec<_>>>()?;
    for node in &mut nodes {
        node.line("ready")?;
    }
    Ok(nodes)
}

fn start(
    stage: &Stage,
    point: &Point,
    listen: &str,
    founders: &[String],
) -> anyhow::Result<Process> {
    let founders = founders.iter().flat_map(|addr| ["--founder", addr.as_str()]);
    let more: Vec<_> = ["--listen", listen].into_iter().chain(founders).collect();
    stage.start("node", point, &more)
}

/// Who leads, how often that changed, and since when it is known, as each node says.
fn leaders(nodes: &mut [Process]) -> anyhow::Result<Vec<(u64, u64, f64)>> {
    nodes.iter_mut().map(|node| node.ask(&Order::Leader)).collect()
}

/// How fast many receivers come on the list.
pub(super) fn registrations(stage: &Stage, point: &Point) -> anyhow::Result<Run> {
    let mut nodes = three(stage, point)?;
    let before = leaders(&mut nodes)?;
    for (at, node) in nodes.iter_mut().enumerate() {
        node.order(&Order::Open((BURST + at) / 3))?;
    }
    let (mut began, mut ended) = (f64::INFINITY, f64::NEG_INFINITY);
    for node in &mut nodes {
        let (from, to): (f64, f64) = node.told()?;
        (began, ended) = (began.min(from), ended.max(to));
    }
    for node in &mut nodes {
        node.ask::<()>(&Order::See(BURST))?;
    }
    let after = leaders(&mut nodes)?;
    let changes = before.iter().zip(&after).map(|(before, after)| after.1 - before.1).max();
    let reports: Vec<Report> = nodes.into_iter().map(Process::end).collect::<Result<_, _>>()?;
    let cpu: f64 = reports.iter().map(|one| one.cpu).sum();
    let peak = reports.iter().map(|one| one.peak).fold(0.0, f64::max);
    Ok(Run::default()
        .with(Figure::Registrations, BURST as f64 / (ended - began))
        .with(Figure::LeaderChanges, changes.unwrap_or_default() as f64)
        .with(Figure::Cpu, cpu / BURST as f64 * 1e6)
        .with(Figure::ReceiverPeak, peak))
}

/// How long it takes until something is there.
pub(super) fn times(stage: &Stage, point: &Point) -> anyhow::Result<Run> {
    let millis = |secs: f64| secs * 1e3;
    let began = clock::now();
    let mut nodes = three(stage, point)?;
    let leaders = leaders(&mut nodes)?;
    let elected = leaders.iter().map(|(_, _, since)| *since).fold(0.0, f64::max) - began;

    let leader = leaders[0].0;
    let ids: Vec<u64> =
        nodes.iter_mut().map(|node| node.ask(&Order::Id)).collect::<Result<_, _>>()?;
    let at = ids.iter().position(|id| *id == leader).context("no founder leads")?;
    let killed = clock::now();
    drop(nodes.swap_remove(at));
    let (_, opened): (f64, f64) = nodes[0].ask(&Order::Open(1))?;
    drop(nodes);

    // A single message.
    let single = Point { workload: Workload::Throughput, secs: 0.0, ..point.clone() };
    let first = pair::first_message(stage, &single)?;
    Ok(Run::default()
        .with(Figure::Elected, millis(elected))
        .with(Figure::Failover, millis(opened - killed))
        .with(Figure::FirstMessage, millis(first)))
}

/// What is resident, and how often two processes wake up between which nothing happens.
pub(super) fn memory(stage: &Stage, point: &Point) -> anyhow::Result<Run> {
    let Memory { link, namespace, lane, wake_ups: woken } =
        stage.start("memory", point, &[])?.end()?;
    Ok(Run::default()
        .with(Figure::PerLink, link)
        .with(Figure::PerNamespace, namespace)
        .with(Figure::PerLane, lane)
        .with(Figure::WakeUps, woken)
        .with(Figure::RaftWakeUps, wake_ups(stage, point)?))
}

/// Of a pair whose list is kept by Raft, both processes together.
fn wake_ups(stage: &Stage, point: &Point) -> anyhow::Result<f64> {
    let founder = free_addr()?.to_string();
    let mut pair = vec![start(stage, point, &founder, std::slice::from_ref(&founder))?];
    pair[0].line("ready")?;
    pair.push(start(stage, point, "127.0.0.1:0", &[founder])?);
    pair[1].line("ready")?;
    pair[0].ask::<(f64, f64)>(&Order::Open(1))?;
    pair[0].order(&Order::Take)?;
    pair[1].ask::<()>(&Order::Greet)?;
    pair[0].told::<()>()?;
    // What comes with a beginning is over.
    sleep(Duration::from_secs(1));
    let mut woken = || -> anyhow::Result<u64> {
        pair.iter_mut().map(|node| node.ask::<u64>(&Order::WakeUps)).sum()
    };
    let (began, before) = (clock::now(), woken()?);
    sleep(Duration::from_secs_f64(point.secs));
    let woken = woken()? - before;
    let secs = clock::now() - began;
    // The one that joined leaves first.
    for node in pair.into_iter().rev() {
        let _: Report = node.end()?;
    }
    Ok(woken as f64 / secs)
}
