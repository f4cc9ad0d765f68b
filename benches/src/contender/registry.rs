use std::sync::Arc;

use anyhow::Context;
use clap::builder::{PossibleValue, PossibleValuesParser};
use dchan_conformance::{tcp::TcpTransport, unary::UnaryTransport};
use dchan_transport_grpc::GrpcTransport;
use dchan_transport_quic::QuicTransport;

use super::{
    Bare, Contender,
    channel::{Local, Over},
    grpc::{Batch, Item, Streamed, Unary},
    queue::Mpsc,
    quic::Quinn,
};
use crate::play::Player;

/// All that can be measured, by name.
#[derive(Clone)]
pub struct Contenders(Vec<Known>);

/// A contender, and what is asked of it before it plays.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    help: &'static str,
    pub(crate) in_one_process: bool,
    player: Arc<dyn Player>,
}

impl Known {
    pub(crate) fn player(&self) -> Arc<dyn Player> {
        self.player.clone()
    }
}

impl Default for Contenders {
    fn default() -> Self {
        Self::new()
    }
}

impl Contenders {
    /// Those of this package.
    pub fn new() -> Self {
        let mut all = Self(Vec::new());
        all.add(Bare);
        all.add(Over::new(
            "tcp",
            "dchan over the plain TCP transport of the conformance package",
            || TcpTransport,
        ));
        all.add(Over::new("grpc", "dchan over gRPC", GrpcTransport::new));
        let stalled = Over::new(
            "grpc-stalled",
            "The same, while another channel between the same two nodes has a receiver that takes nothing",
            GrpcTransport::new,
        );
        all.add(stalled.beside_a_stalled_one());
        all.add(Over::new("quic", "dchan over QUIC", QuicTransport::new));
        all.add(Over::new(
            "unary",
            "dchan over unary calls of gRPC, one at a time, of the conformance package",
            || UnaryTransport,
        ));
        all.add(Over::memory());
        all.add(Local::default());
        all.add(Mpsc::default());
        all.add(Streamed::<Item>::new(
            "tonic-item",
            "Bare tonic, one call, a message of gRPC for each message",
        ));
        all.add(Streamed::<Batch>::new(
            "tonic-batch",
            "The same, messages packed into messages of gRPC of about 64 KiB",
        ));
        all.add(Unary);
        all.add(Quinn);
        all
    }

    /// Adds one more.
    ///
    /// # Panics
    ///
    /// There is one of its name already.
    pub fn add(&mut self, contender: impl Contender) {
        let (name, help) = (contender.name(), contender.help());
        let is_free = self.0.iter().all(|known| known.name != name);
        assert!(is_free, "two contenders are called {name}");
        let in_one_process = contender.in_one_process();
        self.0.push(Known { name, help, in_one_process, player: Arc::new(contender) });
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> &[Known] {
        &self.0
    }

    pub(crate) fn get(&self, name: &str) -> anyhow::Result<&Known> {
        let known = self.0.iter().find(|known| known.name == name);
        known.with_context(|| format!("there is no contender {name:?}"))
    }

    /// What the command line accepts.
    pub(crate) fn words(&self) -> PossibleValuesParser {
        self.0
            .iter()
            .map(|known| PossibleValue::new(known.name).help(known.help))
            .collect::<Vec<_>>()
            .into()
    }
}
