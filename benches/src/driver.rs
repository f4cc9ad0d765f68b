//! Runs all points in turn, several times over, and prints the table.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use clap::ValueEnum;

use crate::Contender;

/// What is run.
#[derive(clap::Args)]
pub(crate) struct Plan {
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

/// One measurement.
struct Run {
    rate: f64,
    cpu: f64,
}

/// A child that does not outlive the driver.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    println!(
        "| size | contender | messages/s (min-max) | MB/s | CPU s per million | of the first (min-max) |"
    );
    println!("|---|---|---|---|---|---|");
    for &size in &plan.sizes {
        let mut runs: Vec<Vec<Run>> = plan.contenders.iter().map(|_| Vec::new()).collect();
        for _ in 0..plan.reps {
            for (contender, runs) in plan.contenders.iter().zip(&mut runs) {
                runs.push(measure(*contender, size, plan.secs)?);
            }
        }
        for (contender, of) in plan.contenders.iter().zip(&runs) {
            print_row(size, *contender, of, &runs[0]);
        }
    }
    Ok(())
}

fn print_row(size: usize, contender: Contender, runs: &[Run], first: &[Run]) {
    let name = contender.to_possible_value().map(|name| name.get_name().to_owned());
    let (rate, least, most) = spread(runs.iter().map(|run| run.rate));
    let (cpu, _, _) = spread(runs.iter().map(|run| run.cpu));
    let (ratio, low, high) =
        spread(runs.iter().zip(first).map(|(run, first)| run.rate / first.rate));
    println!(
        "| {size} | {} | {rate:.0} ({least:.0}-{most:.0}) | {:.0} | {cpu:.2} | {ratio:.2} ({low:.2}-{high:.2}) |",
        name.unwrap_or_default(),
        rate * size as f64 / 1e6,
    );
}

/// Median, minimum, maximum.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |at: usize| values.get(at).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

fn measure(contender: Contender, size: usize, secs: f64) -> anyhow::Result<Run> {
    let (_receiver, mut from_receiver) = start("receive", contender, size, secs, None)?;
    let addr = line(&mut from_receiver, "ready")?;
    let (_sender, mut from_sender) = start("send", contender, size, secs, Some(&addr))?;
    let sent: f64 = line(&mut from_sender, "done")?.parse()?;
    let report = line(&mut from_receiver, "done")?;
    let numbers: Vec<f64> = report.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [count, secs, cpu] = numbers[..] else { anyhow::bail!("a report of {report:?}") };
    Ok(Run { rate: count / secs, cpu: (cpu + sent) / count * 1e6 })
}

fn start(
    role: &str,
    contender: Contender,
    size: usize,
    secs: f64,
    to: Option<&str>,
) -> anyhow::Result<(Process, impl BufRead + use<>)> {
    let name = contender.to_possible_value().context("a contender without a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role).args(["--contender", name.get_name()]);
    command.args(["--size", &size.to_string(), "--secs", &secs.to_string()]);
    if let Some(to) = to {
        command.args(["--to", to]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no output")?;
    Ok((Process(child), BufReader::new(stdout)))
}

fn line(from: &mut impl BufRead, expected: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    from.read_line(&mut text)?;
    let rest = text.trim_end().strip_prefix(expected).map(|rest| rest.trim_start().to_owned());
    rest.with_context(|| format!("expected {expected:?}, found {text:?}"))
}
