//! Channels between processes on loopback, beside the bare socket, in one table and in one run.
//!
//! `cargo run --release -p dchan-benches` prints a table; `--help` tells what can be chosen.
//!
//! A package of its own can bring contenders that nobody else should have to compile. Each is a
//! [`Contender`], and the package's `main` adds them to those that are here:
//!
//! ```no_run
//! # fn mine() -> impl dchan_benches::Contender { dchan_benches::Bare }
//! fn main() -> anyhow::Result<()> {
//!     let mut contenders = dchan_benches::Contenders::new();
//!     contenders.add(mine());
//!     dchan_benches::run(contenders)
//! }
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod clock;
mod contender;
mod driver;
mod node;
mod output;
mod play;
mod point;
mod report;
#[cfg(test)]
mod tests;
mod trial;
mod usage;
mod workload;

pub use contender::{Bare, Contender, Contenders, InTurn, Ready, Setup, Side};
pub use workload::Msg;

use args::Args;
use point::Point;
use workload::Workload;

/// The whole of a program that measures: it reads the command line, and plays the part that it finds there.
///
/// # Errors
///
/// A run could not be made, or is void.
pub fn run(contenders: Contenders) -> anyhow::Result<()> {
    let Args { role, plan } = Args::parse(&contenders);
    if role.is_some() {
        die_with_parent()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        None => driver::run(&plan, &contenders),
        // As a task, not on this thread, which a worker would have to wake.
        Some(role) => runtime.block_on(async { tokio::spawn(play::play(contenders, role)).await? }),
    }
}

/// A process that the driver has started ends when the driver is killed.
fn die_with_parent() -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    Ok(())
}
