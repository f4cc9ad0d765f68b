//! The command line: of the driver, and of the processes that it starts.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use dchan_core::Addr;

use crate::{Contenders, Point, driver};

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
        /// Which of several senders this is.
        #[arg(long, default_value_t = 0)]
        number: u64,
    },
    /// Does both, and reports twice: first as the sender.
    #[command(hide = true)]
    Both {
        #[command(flatten)]
        point: Point,
    },
    /// Is a node that does what it is told on stdin.
    #[command(hide = true)]
    Node {
        #[command(flatten)]
        point: Point,
        #[arg(long)]
        listen: Addr,
        #[arg(long = "founder")]
        founders: Vec<Addr>,
    },
    /// Measures what is resident, and reports that.
    #[command(hide = true)]
    Memory {
        #[command(flatten)]
        point: Point,
    },
}
