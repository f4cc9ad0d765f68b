//! Channels between two processes on loopback, beside the bare socket, in one run.
//!
//! `cargo run --release -p dchan-benches` prints a table; `--help` tells what can be chosen.
#![allow(clippy::print_stdout)]

mod contender;
mod driver;
mod report;
mod table;
mod workload;

use clap::{Parser, Subcommand};
use contender::Contender;
use workload::Workload;

/// Measures dchan beside the bare socket.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    plan: driver::Plan,
}

/// What this process does in a run. The driver starts itself again in these roles.
#[derive(Clone, Subcommand)]
enum Role {
    /// Receives until the sender is done, then reports.
    #[command(hide = true)]
    Receive(Point),
    /// Sends for a while, then reports.
    #[command(hide = true)]
    Send {
        #[command(flatten)]
        point: Point,
        /// Where the receiver is.
        #[arg(long)]
        to: String,
    },
}

/// One point of the table.
#[derive(Clone, Debug, clap::Args)]
struct Point {
    #[arg(long)]
    workload: Workload,
    #[arg(long)]
    contender: Contender,
    #[arg(long)]
    size: usize,
    #[arg(long)]
    secs: f64,
}

fn main() -> anyhow::Result<()> {
    let Args { role, plan } = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        None => driver::run(&plan),
        // As a task, not on this thread, which a worker would have to wake.
        Some(role) => runtime.block_on(async { tokio::spawn(contender::play(role)).await? }),
    }
}
