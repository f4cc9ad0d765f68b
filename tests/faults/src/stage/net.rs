//! What is between the nodes of a stage.

use std::{path::Path, process::Command, sync::Arc};

use dchan_conformance::{
    cluster::{Cluster, Spot},
    tcp::TcpTransport,
};
use dchan_core::Addr;

use super::Stage;
use crate::{Ground, Over, Switch};

/// The port of actors that have an address of their own.
const PORT: u16 = 7001;

/// What is between the nodes.
pub(super) enum Net {
    Within(Arc<Cluster>),
    /// The first three bytes of the addresses.
    Loopback([u8; 3]),
    Switch(Switch),
}

impl Net {
    pub(super) fn new(over: Over) -> Self {
        match over.ground {
            Ground::Within => {
                let real = crate::transport(over.transport_name());
                let real = real.unwrap_or_else(|| Arc::new(TcpTransport));
                Self::Within(Arc::new(Cluster::new(over.kind, real)))
            }
            // An address of one's own: nobody takes a port there between two lives.
            Ground::Processes => {
                Self::Loopback([fastrand::u8(1..255), fastrand::u8(..), fastrand::u8(..)])
            }
            Ground::Namespaces => Self::Switch(Switch::new().expect("network namespaces")),
        }
    }

    /// An address for one more node, and what one in this process is started at.
    pub(super) fn add(&mut self, at: usize) -> (Addr, Option<Spot>) {
        let addr = match self {
            Self::Within(cluster) => {
                let spot = cluster.spot();
                return (spot.addr().clone(), Some(spot));
            }
            Self::Loopback([a, b, c]) => format!("127.{a}.{b}.{c}:{}", PORT + at as u16),
            Self::Switch(switch) => {
                switch.add().expect("a network namespace");
                format!("{}:{PORT}", switch.ip(at))
            }
        };
        (addr.parse().expect("an address"), None)
    }

    /// What runs a program where a node is.
    pub(super) fn command(&self, at: usize, program: &Path) -> Command {
        match self {
            Self::Switch(switch) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &switch.namespace(at)]).arg(program);
                command
            }
            Self::Within(_) | Self::Loopback(_) => Command::new(program),
        }
    }
}

impl Stage {
    /// What goes from one node to another is lost from now on.
    pub fn black_hole(&self, from: usize, to: usize) {
        match &self.net {
            Net::Within(cluster) => cluster.black_hole(from, to),
            Net::Switch(switch) => switch.black_hole(from, to).expect("a black hole"),
            Net::Loopback(_) => panic!("the loopback network cannot be parted"),
        }
    }

    /// Ends all faults of the network between two nodes.
    pub fn heal(&self, a: usize, b: usize) {
        match &self.net {
            Net::Within(cluster) => cluster.heal(a, b),
            Net::Switch(switch) => switch.heal(a, b).expect("the hole is closed"),
            Net::Loopback(_) => {}
        }
    }
}
