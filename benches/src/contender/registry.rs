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
use crate::{
    Point, Workload,
    play::{Player, both},
};

/// All that can be measured, by name.
#[derive(Clone)]
pub struct Contenders {
    all: Vec<Known>,
    default: &'static str,
}

/// A contender, and what is asked of it before it plays.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    help: &'static str,
    pub(crate) in_one_process: bool,
    player: Arc<dyn Player>,
    channel: Option<Arc<Over>>,
}

impl Known {
    /// It, if it is a dchan channel between processes: for what only those have.
    pub(crate) fn channel(&self) -> anyhow::Result<&Over> {
        let channel = self.channel.as_deref();
        channel.with_context(|| format!("{} is no dchan channel between processes", self.name))
    }

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
        let mut all = Self { all: Vec::new(), default: "bare,tcp,grpc,quic" };
        all.add(Bare);
        all.add_channel(Over::new(
            "tcp",
            "dchan over the plain TCP transport of the conformance package",
            || TcpTransport,
        ));
        all.add_channel(Over::new("grpc", "dchan over gRPC", GrpcTransport::new));
        let stalled = Over::new(
            "grpc-stalled",
            "The same, while another channel between the same two nodes has a receiver that takes nothing",
            GrpcTransport::new,
        );
        all.add_channel(stalled.beside_a_stalled_one());
        all.add_channel(Over::new("quic", "dchan over QUIC", QuicTransport::new));
        all.add_channel(Over::new(
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
        self.push(Arc::new(contender), None);
    }

    fn add_channel(&mut self, channel: Over) {
        let channel = Arc::new(channel);
        self.push(channel.clone(), Some(channel));
    }

    fn push(&mut self, contender: Arc<impl Contender>, channel: Option<Arc<Over>>) {
        let (name, help) = (contender.name(), contender.help());
        let is_free = self.all.iter().all(|known| known.name != name);
        assert!(is_free, "two contenders are called {name}");
        let in_one_process = contender.in_one_process();
        self.all.push(Known { name, help, in_one_process, player: contender, channel });
    }

    /// Lets one of them carry some messages, one way, both ways, and in each shape that it can have, all in
    /// this process: what a test of a contender does.
    ///
    /// # Errors
    ///
    /// It is not known, it failed, or messages were missing or out of order. One that says that it cannot
    /// run here is left alone.
    pub async fn try_out(&self, name: &str) -> anyhow::Result<()> {
        let known = self.get(name)?;
        for workload in [Workload::Throughput, Workload::Ping] {
            let (case, contender) = (String::new(), name.to_owned());
            let point = Point { workload, case, contender, size: 100, secs: 0.02 };
            if known.player().lacks(&point).is_some() {
                continue;
            }
            let [sent, received] = both(known.player(), point.clone()).await?;
            let counted = if workload == Workload::Ping { sent } else { received };
            anyhow::ensure!(counted.count > 0 && counted.secs > 0.0, "{point:?}: {counted:?}");
        }
        known.player().try_shapes().await
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.all.iter().map(|known| known.name)
    }

    /// Measures these, unless the command line says otherwise: names with commas between them.
    #[must_use]
    pub fn by_default(mut self, names: &'static str) -> Self {
        self.default = names;
        self
    }

    pub(crate) fn default(&self) -> &'static str {
        self.default
    }

    pub(crate) fn get(&self, name: &str) -> anyhow::Result<&Known> {
        let known = self.all.iter().find(|known| known.name == name);
        known.with_context(|| format!("there is no contender {name:?}"))
    }

    /// What the command line accepts.
    pub(crate) fn words(&self) -> PossibleValuesParser {
        self.all
            .iter()
            .map(|known| PossibleValue::new(known.name).help(known.help))
            .collect::<Vec<_>>()
            .into()
    }
}
