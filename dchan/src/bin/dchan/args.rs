use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use dchan::{
    Addr,
    tls::{Tls, TlsError},
};

const EXIT_CODES: &str = "\
Exit codes:
  0    done; for `send`: every line was taken
  1    `send`: not every line was taken, or is known to be; the ledger says how many
       `recv`: some messages were not lines
  2    wrong usage
  3    the node could not start or join, the channel could not be opened, or the certificates could not
       be made
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
    /// Make the certificates that nodes know each other by
    #[command(subcommand, after_help = EXIT_CODES)]
    Certs(CertsCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make the authority of a cluster: ca.pem, which every node needs, and ca.key, which none needs
    Init {
        #[command(flatten)]
        dir: CertsDir,
    },
    /// Make a certificate for a node: HOST.pem and HOST.key, from the first host named
    Issue {
        /// The hosts of the address that the node advertises, as DNS names or IP addresses
        #[arg(value_name = "HOST", required = true)]
        hosts: Vec<String>,
        #[command(flatten)]
        dir: CertsDir,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct CertsDir {
    /// Where the files are; nothing in it is overwritten
    #[arg(long = "dir", value_name = "DIR", default_value = "certs")]
    pub(crate) path: PathBuf,
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
    /// What carries the messages, the same everywhere
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Transport::Grpc)]
    pub(crate) transport: Transport,
    #[command(flatten)]
    pub(crate) certificate: CertificateArgs,
    /// Allow any address without certificates: whoever can reach it can read and send everything
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure: bool,
}

/// The transports to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// One stream for each pair of nodes
    Grpc,
    /// One connection for each pair of nodes, and in it a stream for each channel
    #[cfg(feature = "quic")]
    Quic,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CertificateArgs {
    /// The certificate of the cluster's authority: who has no certificate from it is refused
    #[arg(long, value_name = "FILE", requires_all = ["cert", "key"])]
    pub(crate) ca: Option<PathBuf>,
    /// The certificate of this node, for the host of the address that it advertises
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of this node's certificate
    ///
    /// `dchan certs` makes all three. When the files change, the node reads them again.
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub(crate) key: Option<PathBuf>,
}

impl CertificateArgs {
    /// Reads the files, if there are any.
    fn read(&self) -> Result<Option<Tls>, TlsError> {
        // One is not given without the others.
        let Self { ca: Some(ca), cert: Some(cert), key: Some(key) } = self else { return Ok(None) };
        Tls::from_files(ca, cert, key).map(Some)
    }
}

impl NodeArgs {
    /// Whether the node founds the cluster.
    fn founds(&self) -> bool {
        self.peers.contains(self.advertise.as_ref().unwrap_or(&self.listen))
    }

    pub(crate) fn builder(&self) -> Result<dchan::Builder, TlsError> {
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
        builder = match self.transport {
            Transport::Grpc => builder.grpc(),
            #[cfg(feature = "quic")]
            Transport::Quic => builder.quic(),
        };
        if let Some(tls) = self.certificate.read()? {
            builder = builder.tls(tls);
        }
        Ok(if self.insecure { builder.insecure() } else { builder })
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
