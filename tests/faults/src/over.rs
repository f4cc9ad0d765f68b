//! What a stage stands on.

use std::{fmt, sync::Arc, time::Duration};

use dchan_conformance::{cluster::Kind, tcp::TcpTransport};
use dchan_core::{Config, Transport};
use dchan_raft::{RaftConfig, Writes};
use dchan_transport_grpc::GrpcTransport;
use dchan_transport_quic::QuicTransport;
use tokio::runtime::{Builder, Runtime};

/// What a stage stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// The transport.
    pub kind: Kind,
    /// Where the nodes are.
    pub ground: Ground,
}

/// Where the nodes of a stage are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// All in this process. Proxies stand between those that use sockets.
    Within,
    /// Each in a process of its own.
    Processes,
    /// Each in a process and a network namespace of its own.
    Namespaces,
}

impl Over {
    pub(crate) fn transport_name(self) -> &'static str {
        name(self.kind)
    }

    /// A runtime for a scenario: in memory, in paused time.
    pub fn runtime(self) -> Runtime {
        let mut builder = match self.kind {
            Kind::Memory => Builder::new_current_thread(),
            Kind::Tcp | Kind::Grpc | Kind::Quic => Builder::new_multi_thread(),
        };
        builder.enable_all().start_paused(self.kind == Kind::Memory);
        builder.worker_threads(2).build().expect("a runtime")
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.transport_name();
        match (self.ground, self.kind) {
            (Ground::Within, Kind::Memory) => write!(f, "{name}"),
            (Ground::Within, _) => write!(f, "{name}, proxies"),
            (Ground::Processes, _) => write!(f, "{name}, processes"),
            (Ground::Namespaces, _) => write!(f, "{name}, namespaces"),
        }
    }
}

/// What a transport is called.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Memory => "memory",
        Kind::Tcp => "tcp",
        Kind::Grpc => "grpc",
        Kind::Quic => "quic",
    }
}

/// The transport over sockets of that name.
pub fn transport(name: &str) -> Option<Arc<dyn Transport>> {
    match name {
        "tcp" => Some(Arc::new(TcpTransport)),
        "grpc" => Some(Arc::new(GrpcTransport::new().insecure())),
        "quic" => Some(Arc::new(QuicTransport::new().insecure())),
        _ => None,
    }
}

/// How fast the nodes of a stage take others for gone. The rest is as by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tempo {
    /// How long a peer may be out of reach before its lanes are given up.
    pub lane: Duration,
}

impl Tempo {
    /// How long a node may be silent before it is taken off the list.
    pub const REMOVAL: Duration = Duration::from_millis(1500);

    /// Sets what core is to know.
    pub fn of_node(self, config: &mut Config) {
        config.times.silence = Duration::from_secs(2);
        config.times.lane = self.lane;
    }

    /// Sets what Raft is to know.
    pub fn of_raft(self, config: &mut RaftConfig) {
        config.times.lease = Duration::from_millis(300);
        config.times.removal_after = Self::REMOVAL;
    }

    pub(crate) fn of_raft_in_memory(self, config: &mut RaftConfig) {
        self.of_raft(config);
        // In paused time no thread may be waited for.
        config.writes = Writes::Inline;
    }
}
