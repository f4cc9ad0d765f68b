//! Runs all points in turn, several times over.

use std::{
    io::BufReader,
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::Context;
use clap::ValueEnum;

use crate::{
    Contenders, Point, Workload,
    contender::Known,
    report::{Report, line},
    table,
};

/// What is run.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// What the messages are sent for.
    #[arg(long, value_delimiter = ',', default_value = "throughput")]
    workloads: Vec<Workload>,
    /// Repetitions. Those of one point are spread over the whole run.
    #[arg(long, default_value_t = 5)]
    reps: usize,
    /// How long each sends, in seconds.
    #[arg(long, default_value_t = 3.0)]
    secs: f64,
    /// The sizes of messages, in bytes.
    #[arg(long, value_delimiter = ',', default_value = "16,1024,65536")]
    sizes: Vec<usize>,
    /// What is measured. The first is what the others are compared with.
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<String>,
}

/// What all processes of a run have used and seen together.
pub(crate) struct Run {
    /// Messages, or round trips, a second.
    pub(crate) rate: f64,
    /// Seconds of processor time a million of them.
    pub(crate) cpu: f64,
    /// See [`Report`].
    pub(crate) percentiles: [f64; 3],
}

pub(crate) fn run(plan: &Plan, contenders: &Contenders) -> anyhow::Result<()> {
    for &workload in &plan.workloads {
        table::print_head(workload);
        for &size in &plan.sizes {
            let points = points(plan, contenders, workload, size)?;
            let mut runs: Vec<Vec<Run>> = points.iter().map(|_| Vec::new()).collect();
            for _ in 0..plan.reps {
                for ((known, point), runs) in points.iter().zip(&mut runs) {
                    runs.push(measure(known, point).with_context(|| format!("{point:?}"))?);
                }
            }
            for ((known, _), of) in points.iter().zip(&runs) {
                table::print_row(workload, size, known.name, of, &runs[0]);
            }
        }
        println!();
    }
    Ok(())
}

/// The points of those that can run this. Of the others, it is said why not.
fn points<'a>(
    plan: &Plan,
    contenders: &'a Contenders,
    workload: Workload,
    size: usize,
) -> anyhow::Result<Vec<(&'a Known, Point)>> {
    let mut points = Vec::new();
    for name in &plan.contenders {
        let (known, contender) = (contenders.get(name)?, name.clone());
        let point = Point { workload, contender, size, secs: plan.secs };
        match known.player().lacks(&point) {
            None => points.push((known, point)),
            Some(why) => eprintln!("{name} is left out of {} {size}: {why}", word(workload)),
        }
    }
    Ok(points)
}

fn measure(known: &Known, point: &Point) -> anyhow::Result<Run> {
    let [sent, received] = match known.in_one_process {
        true => {
            let mut both = Process::start("both", point, &[])?;
            let reports = [both.report()?, both.report()?];
            both.end()?;
            reports
        }
        false => {
            let mut receiver = Process::start("receive", point, &[])?;
            let addr = line(&mut receiver.says, "ready")?;
            let mut sender = Process::start("send", point, &["--to", &addr])?;
            let reports = [sender.report()?, receiver.report()?];
            sender.end()?;
            receiver.end()?;
            reports
        }
    };
    let counted = if point.workload == Workload::Ping { &sent } else { &received };
    Ok(Run {
        rate: counted.count as f64 / counted.secs,
        cpu: (sent.cpu + received.cpu) / counted.count as f64 * 1e6,
        percentiles: counted.percentiles,
    })
}

/// A child that does not outlive the driver.
struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Process {
    fn start(role: &str, point: &Point, more: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(role).args(["--workload", &word(point.workload)]);
        command.args(["--contender", &point.contender]);
        command.args(["--size", &point.size.to_string(), "--secs", &point.secs.to_string()]);
        let mut child = command.args(more).stdout(Stdio::piped()).spawn()?;
        let says = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, says })
    }

    fn report(&mut self) -> anyhow::Result<Report> {
        Report::read(&mut self.says)
    }

    /// Waits for its end, which is to be a good one.
    fn end(mut self) -> anyhow::Result<()> {
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "a process ended with {status}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a workload is called on the command line.
fn word(workload: Workload) -> String {
    workload.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
