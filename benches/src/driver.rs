//! Runs all points in turn, several times over.

use std::{
    io::BufReader,
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::Context;
use clap::ValueEnum;

use crate::{
    Contender, Point, Workload,
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
    #[arg(long, value_delimiter = ',', default_value = "bare,tcp,grpc,quic")]
    contenders: Vec<Contender>,
}

/// What both processes of a run have used and seen together.
pub(crate) struct Run {
    /// Messages, or round trips, a second.
    pub(crate) rate: f64,
    /// Seconds of processor time a million of them.
    pub(crate) cpu: f64,
    /// See [`Report`].
    pub(crate) percentiles: [f64; 3],
}

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    for &workload in &plan.workloads {
        table::print_head(workload);
        for &size in &plan.sizes {
            let mut runs: Vec<Vec<Run>> = plan.contenders.iter().map(|_| Vec::new()).collect();
            for _ in 0..plan.reps {
                for (&contender, runs) in plan.contenders.iter().zip(&mut runs) {
                    runs.push(measure(&Point { workload, contender, size, secs: plan.secs })?);
                }
            }
            for (&contender, of) in plan.contenders.iter().zip(&runs) {
                table::print_row(workload, size, contender, of, &runs[0]);
            }
        }
        println!();
    }
    Ok(())
}

fn measure(point: &Point) -> anyhow::Result<Run> {
    let mut receiver = Process::start("receive", point, None)?;
    let addr = line(&mut receiver.says, "ready")?;
    let mut sender = Process::start("send", point, Some(&addr))?;
    let (sent, received) = (Report::read(&mut sender.says)?, Report::read(&mut receiver.says)?);
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
    fn start(role: &str, point: &Point, to: Option<&str>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(role).args(["--workload", &name(point.workload)]);
        command.args(["--contender", &name(point.contender)]);
        command.args(["--size", &point.size.to_string(), "--secs", &point.secs.to_string()]);
        if let Some(to) = to {
            command.args(["--to", to]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let says = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, says })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a value is called on the command line.
pub(crate) fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
