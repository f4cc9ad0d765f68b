use std::path::PathBuf;

use clap::{Parser, Subcommand};
use dchan::Addr;

const EXIT_CODES: &str = "\
Exit codes:
  0    done; for `send`: every line was taken
  1    `send`: not every line was taken, or is known to be; the ledger says how many
       `recv`: some messages were not lines
  2    wrong usage
  3    the node could not start or join, or the channel could not be opened
  4    reading stdin or writing stdout failed, for instance a closed pipe; or the node stopped
  130  stopped before it was part of the cluster, or at once

Ctrl-C and SIGTERM stop in good order; the second one stops at once.
Logs go to stderr: -v for more, or RUST_LOG.";

/// Channels that span a cluster.
#[derive(Debug, Parser)]
#[command(name = "dchan", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say more on stderr: once for what happens, twice for details, three times for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a plain node, which votes if it is a founder
    #[command(after_help = EXIT_CODES)]
    Node(NodeArgs),
    /// Write the messages of a channel to stdout, a line each
    ///
    /// Lines are flushed before more are taken: a line counts as taken once it is written. What is not
    /// taken when it stops goes to other receivers.
    #[command(after_help = EXIT_CODES)]
    Recv(RecvArgs),
    /// Send the lines of stdin to a channel
    ///
    /// Lines are arbitrary bytes; a last line without a newline counts. Waits for receivers, and ends when
    /// every line is taken, or its fate is known to be unknown. The last line on stderr is the ledger:
    ///
    /// accepted=N taken=N unknown=N dropped=N in-flight=N returned=N
    ///
    /// where `returned` counts lines that were read and not accepted, such as too large ones.
    #[command(after_help = EXIT_CODES)]
    Send(SendArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RecvArgs {
    /// The name of the channel
    pub(crate) namespace: String,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// How many messages may be here or on their way
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) capacity: Option<u32>,
    /// Stop after so many messages
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// The name of the channel
    pub(crate) namespace: String,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// Where to listen; port 0 is any free port
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Addr,
    /// The founders of the cluster, the same list everywhere
    ///
    /// A node whose address (`--advertise`, or else `--listen`) is in the list, in the same spelling, is a
    /// founder: founding waits until all founders are there. Any other node joins without a vote.
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', required = true)]
    pub(crate) peers: Vec<Addr>,
    /// The name of the cluster
    #[arg(long, value_name = "NAME", default_value = "dchan")]
    pub(crate) cluster: String,
    /// Where others can reach this node, if that is not where it listens
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<Addr>,
    /// Where the node keeps who it is and its part of the list [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Allow plain text on any address: whoever can reach it can read and send everything
    #[arg(long)]
    pub(crate) insecure: bool,
}

impl NodeArgs {
    /// Whether the node founds the cluster.
    fn founds(&self) -> bool {
        self.peers.contains(self.advertise.as_ref().unwrap_or(&self.listen))
    }

    pub(crate) fn builder(&self) -> dchan::Builder {
        let mut builder =
            dchan::Node::builder(&self.listen).cluster(&self.cluster).peers(&self.peers);
        if !self.founds() {
            builder = builder.join();
        }
        if let Some(addr) = &self.advertise {
            builder = builder.advertise(addr);
        }
        if let Some(dir) = &self.data {
            builder = builder.data_dir(dir);
        }
        if self.insecure { builder.insecure() } else { builder }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn node(args: &[&str]) -> NodeArgs {
        let all = ["dchan", "node"].iter().chain(args);
        match Args::try_parse_from(all).unwrap().command {
            Command::Node(node) => node,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn who_is_in_the_list_founds() {
        let peers = "127.0.0.1:1,127.0.0.1:2";
        assert!(node(&["--listen", "127.0.0.1:2", "--peers", peers]).founds());
        assert!(!node(&["--listen", "127.0.0.1:0", "--peers", peers]).founds());
        let proxied = ["--listen", "127.0.0.1:9", "--advertise", "127.0.0.1:1", "--peers", peers];
        assert!(node(&proxied).founds());
    }
}
