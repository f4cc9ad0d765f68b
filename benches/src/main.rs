//! Throughput of one channel between two processes on loopback, beside the bare socket, in one run.
//!
//! `cargo run --release -p dchan-benches` prints one table; `--help` tells what can be chosen.
#![allow(clippy::print_stdout)]

mod bare;
mod channel;
mod driver;
mod workload;

use clap::{Parser, Subcommand, ValueEnum};

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
    /// Sends for a while.
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
    contender: Contender,
    #[arg(long)]
    size: usize,
    #[arg(long)]
    secs: f64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Contender {
    /// Bare tokio TCP, one task a side, encoded into a 64 KiB write buffer.
    Bare,
    /// dchan over the plain TCP transport of the conformance package.
    Tcp,
    /// dchan over gRPC.
    Grpc,
    /// The same, with another channel between the same two nodes whose receiver takes nothing.
    GrpcStalled,
    /// dchan over QUIC.
    Quic,
}

fn main() -> anyhow::Result<()> {
    let Args { role, plan } = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        None => driver::run(&plan),
        // As a task, not on this thread, which a worker would have to wake.
        Some(role) => runtime.block_on(async { tokio::spawn(run(role)).await? }),
    }
}

async fn run(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Receive(point) if point.contender == Contender::Bare => bare::receive().await,
        Role::Send { point, to } if point.contender == Contender::Bare => {
            bare::send(&point, &to).await
        }
        Role::Receive(point) => channel::receive(&point).await,
        Role::Send { point, to } => channel::send(&point, &to).await,
    }
}
