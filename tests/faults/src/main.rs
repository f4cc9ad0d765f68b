//! Plays scenarios on clusters, and prints what became of the messages.

mod part;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};
use dchan_conformance::cluster::Kind;
use dchan_faults::{Form, Play, Scenario};

/// Plays scenarios on clusters whose processes are killed and whose networks are parted, and prints a
/// table of what became of the messages.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// The full form: five rounds, 100 random kills each, and ten minutes in a black hole. It takes about
    /// an hour.
    #[arg(long)]
    full: bool,
    /// How often each scenario is played.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Only scenarios whose names contain this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Only these of memory, tcp, grpc and quic.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    transports: Vec<String>,
    /// How many scenarios are played at the same time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    at_once: usize,
    /// How many random kills there are in a round.
    #[arg(long, value_name = "N")]
    kills: Option<usize>,
    /// How long the long black hole lasts, in seconds.
    #[arg(long, value_name = "SECONDS")]
    black_hole: Option<u64>,
    /// Where all chance of the random kills comes from.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// One node, for the scenarios.
    #[command(hide = true)]
    Actor(part::Actor),
}

impl Args {
    fn form(&self) -> anyhow::Result<Form> {
        let program = std::env::current_exe().context("find this program")?;
        let mut form = if self.full { Form::full(program) } else { Form::short(program) };
        form.kills = self.kills.unwrap_or(form.kills);
        form.long_hole = self.black_hole.map_or(form.long_hole, Duration::from_secs);
        form.seed = self.seed.unwrap_or(form.seed);
        Ok(form)
    }

    fn kinds(&self) -> anyhow::Result<Vec<Kind>> {
        let all = [Kind::Memory, Kind::Tcp, Kind::Grpc, Kind::Quic];
        if self.transports.is_empty() {
            return Ok(all.into());
        }
        let kind = |name: &String| {
            let known = all.into_iter().find(|kind| dchan_faults::name(*kind) == name);
            known.with_context(|| format!("there is no transport {name}"))
        };
        self.transports.iter().map(kind).collect()
    }

    fn plays(&self) -> anyhow::Result<Vec<Play>> {
        let (form, kinds) = (self.form()?, self.kinds()?);
        let rounds = self.rounds.unwrap_or(if self.full { 5 } else { 1 });
        let mut plays = Vec::new();
        for scenario in Scenario::all().into_iter().filter(|it| it.name.contains(&self.only)) {
            for over in kinds.iter().filter_map(|kind| scenario.over(*kind)) {
                // A long one is as good as many.
                let rounds = if scenario.is_long() { 1 } else { rounds };
                plays.extend((0..rounds).map(|_| Play { scenario, over, form: form.clone() }));
            }
        }
        anyhow::ensure!(!plays.is_empty(), "nothing is called so");
        Ok(plays)
    }
}

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if let Some(Part::Actor(actor)) = args.part {
        return actor.run().map(|()| ExitCode::SUCCESS);
    }
    dchan_faults::log("dchan_faults=warn");
    let plays = args.plays()?;
    println!("seed of the random kills: {}", plays[0].form.seed);
    let table = dchan_faults::play(plays, args.at_once);
    println!("\n{table}");
    let failures = table.failures();
    for failure in &failures {
        eprintln!("failed: {failure}");
    }
    println!("{} of {} runs failed", failures.len(), table.runs());
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
