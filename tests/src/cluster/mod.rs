//! Clusters in one process, over any network, with an oracle that knows what each receiver really got.

mod net;
mod oracle;
mod proxy;
mod slow;
mod steps;
mod usage;

use std::{future::Future, sync::Arc, time::Duration};

use dchan_core::{
    Config, Faults, Incarnation, Membership, Node, NodeId, NodeOptions, StaticMembership, Transport,
};
use tokio::time::{Instant, sleep};

use crate::seed;
use net::{Net, Place};

pub use net::Kind;
pub use oracle::{Entry, Log, Message, Oracle, Verdict, message};
pub use slow::SlowMembership;
pub use steps::{Impatience, Steps, after_polls, just_polls};
pub use usage::Usage;

/// How long a test waits for something that must happen: far longer than it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The nodes of one test, and the network between them.
#[derive(Debug)]
pub struct Cluster {
    /// What it runs over.
    pub kind: Kind,
    /// Where all chance comes from. It is printed if the test fails.
    pub seed: u64,
    /// The list, unless nodes have a membership of their own.
    pub list: Arc<StaticMembership>,
    net: Net,
}

/// A place that a node can be started at.
#[derive(Clone, Debug)]
pub struct Spot {
    /// Its number: for the faults of a [`Cluster`].
    pub index: usize,
    place: Arc<Place>,
}

impl Spot {
    /// Where others reach the node.
    pub fn addr(&self) -> &dchan_core::Addr {
        &self.place.addr
    }

    /// The transport of the node there: for a peer that is no node.
    pub fn transport(&self) -> Arc<dyn Transport> {
        self.place.transport.clone()
    }
}

impl Cluster {
    /// A cluster without nodes. `real`: the transport, unless it is the network in memory.
    pub fn new(kind: Kind, real: Arc<dyn Transport>) -> Self {
        Self::with_seed(kind, real, seed::draw())
    }

    /// The same, with a seed that comes from elsewhere.
    pub fn with_seed(kind: Kind, real: Arc<dyn Transport>, seed: u64) -> Self {
        Self { kind, seed, list: StaticMembership::new(), net: Net::new(kind, real, seed) }
    }

    /// Another one of the same kind.
    pub fn again(other: &Self) -> Arc<Self> {
        let seed = other.seed.wrapping_add(1 << 32);
        Arc::new(Self::with_seed(other.kind, other.net.real(), seed))
    }

    /// A place for a node.
    pub fn spot(&self) -> Spot {
        let (index, place) = self.net.add();
        Spot { index, place }
    }

    /// Starts a node with the list that all share.
    pub async fn node(&self) -> Node {
        self.node_with(|_| {}).await
    }

    /// Starts a node with other settings.
    pub async fn node_with(&self, set: impl FnOnce(&mut Config)) -> Node {
        let spot = self.spot();
        let id = (NodeId(spot.index as u64 + 1), Incarnation(1));
        self.start(&spot, id, self.list.member(), set).await.expect("the node starts")
    }

    /// Starts a node at a place, with any membership.
    ///
    /// # Errors
    ///
    /// As those of [`Node::start`].
    pub async fn start(
        &self,
        spot: &Spot,
        (id, incarnation): (NodeId, Incarnation),
        membership: Arc<dyn Membership>,
        set: impl FnOnce(&mut Config),
    ) -> Result<Node, dchan_core::StartError> {
        let mut options = NodeOptions::new(spot.place.listen.clone());
        options.advertise = Some(spot.place.addr.clone());
        (options.id, options.incarnation) = (id, incarnation);
        options.config.seed = self.seed.wrapping_add(id.0);
        set(&mut options.config);
        Node::start(options, spot.place.transport.clone(), membership).await
    }

    /// Cuts the connections between two nodes.
    pub fn cut(&self, a: usize, b: usize) {
        self.net.cut(a, b);
    }

    /// Breaks the connections between two nodes so that only one is told.
    pub fn half_open(&self, told: usize, other: usize) {
        self.net.half_open(told, other);
    }

    /// What one node sends to another vanishes.
    pub fn black_hole(&self, from: usize, to: usize) {
        self.net.black_hole(from, to);
    }

    /// Ends what was broken between two nodes.
    pub fn heal(&self, a: usize, b: usize) {
        self.net.heal(a, b);
    }

    /// Where the node of that number really listens, past all that can be broken. Over some transports
    /// what is no frame reaches it only there.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn door(&self, index: usize) -> dchan_core::Addr {
        self.net.door(index)
    }

    /// How many connections there are between two nodes, if there are no others.
    pub fn connections(&self, a: usize, b: usize) -> usize {
        self.net.connections(a, b)
    }

    /// Lets the network in memory have delays and cuts by chance. Other networks have enough of their
    /// own.
    pub fn set_faults(&self, faults: Faults) {
        self.net.memory().set_faults(faults);
    }
}

/// Runs a test, and says which seed it had if it fails or hangs.
pub async fn run<F: Future<Output = ()>>(cluster: Cluster, test: impl FnOnce(Arc<Cluster>) -> F) {
    struct Blame(u64);
    impl Drop for Blame {
        #[allow(clippy::print_stderr, reason = "for whoever reads the test's output")]
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("repeat with {}={}", seed::VARIABLE, self.0);
            }
        }
    }
    let _blame = Blame(cluster.seed);
    // Paused time flies: a whole hour of it is a moment.
    let limit = if cluster.kind == Kind::Memory { PATIENCE * 30 } else { PATIENCE * 5 };
    // The long form of a test takes its time.
    let long = std::env::var("DCHAN_TEST_SECS").ok().and_then(|secs| secs.parse().ok());
    let limit = long.map_or(limit, Duration::from_secs);
    tokio::time::timeout(limit, test(Arc::new(cluster))).await.expect("the test ends in time");
}

/// Waits until something is so.
pub async fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Stops a node in good order: nothing goes astray, and no task is left.
pub async fn stop(node: Node) {
    let (id, last) = (node.id(), node.clone());
    node.shutdown().await.unwrap_or_else(|error| panic!("node {id} stops: {error}"));
    assert_eq!(last.tasks(), 0, "tasks of node {id} are left");
}

/// Makes each of the functions a test over each transport.
#[macro_export]
macro_rules! cluster_tests {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(
                #[tokio::test(start_paused = true)]
                async fn $name() {
                    use ::std::sync::Arc;
                    use $crate::cluster::{Cluster, Kind, run};
                    let cluster = Cluster::new(Kind::Memory, Arc::new($crate::tcp::TcpTransport));
                    run(cluster, super::$name).await;
                }
            )*
        }
        $crate::stream_tests![$($name),*];
        $crate::datagram_tests![$($name),*];
    };
}

/// The same over each transport whose port takes datagrams, from anybody.
#[macro_export]
macro_rules! datagram_tests {
    ($($name:ident),* $(,)?) => {
        mod quic {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    use ::std::sync::Arc;
                    use $crate::cluster::{Cluster, Kind, run};
                    let real = Arc::new(::dchan_transport_quic::QuicTransport::new());
                    run(Cluster::new(Kind::Quic, real), super::$name).await;
                }
            )*
        }
    };
}

/// The same over each transport whose port takes streams of bytes, from anybody.
#[macro_export]
macro_rules! stream_tests {
    ($($name:ident),* $(,)?) => {
        mod tcp {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    use ::std::sync::Arc;
                    use $crate::cluster::{Cluster, Kind, run};
                    let cluster = Cluster::new(Kind::Tcp, Arc::new($crate::tcp::TcpTransport));
                    run(cluster, super::$name).await;
                }
            )*
        }
        mod grpc {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    use ::std::sync::Arc;
                    use $crate::cluster::{Cluster, Kind, run};
                    let real = Arc::new(::dchan_transport_grpc::GrpcTransport::new());
                    run(Cluster::new(Kind::Grpc, real), super::$name).await;
                }
            )*
        }
    };
}
