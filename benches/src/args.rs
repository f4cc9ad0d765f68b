//! The command line: of the driver, and of the processes that it starts.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{Contenders, Setup, Workload, driver};

/// Measures dchan beside the bare socket, and beside others.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
    #[command(flatten)]
    pub(crate) plan: driver::Plan,
}

impl Args {
    /// Reads the command line, on which contenders are called what these are called.
    pub(crate) fn parse(contenders: &Contenders) -> Self {
        let command = Self::command().mut_arg("contenders", |arg| {
            arg.value_parser(contenders.words()).default_value(contenders.default())
        });
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// What this process does in a run. The driver starts its own program again in these roles.
#[derive(Clone, Subcommand)]
pub(crate) enum Role {
    /// Receives until the sender is done, then reports.
    #[command(hide = true)]
    Receive {
        #[command(flatten)]
        point: Point,
        /// What the receivers have said that were started before.
        #[arg(long)]
        before: Vec<String>,
    },
    /// Sends for a while, then reports.
    #[command(hide = true)]
    Send {
        #[command(flatten)]
        point: Point,
        /// What the receivers have said.
        #[arg(long)]
        to: Vec<String>,
    },
    /// Does both, and reports twice: first as the sender.
    #[command(hide = true)]
    Both {
        #[command(flatten)]
        point: Point,
    },
}

/// One point of the table.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Point {
    #[arg(long)]
    pub(crate) workload: Workload,
    #[arg(long)]
    pub(crate) contender: String,
    #[arg(long)]
    pub(crate) size: usize,
    #[arg(long)]
    pub(crate) secs: f64,
}

impl Point {
    /// What its contender is to be ready for.
    pub(crate) fn setup(&self) -> Setup {
        let both_ways = self.workload.is_both_ways();
        Setup { senders: 1, receivers: 1, both_ways, size: self.size }
    }
}
