//! Two honest nodes that exchange messages while somebody misbehaves.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use dchan_conformance::{
    adversary::{
        Adversary,
        wire::{Hello, Refusal},
    },
    cluster::{Cluster, Message, Oracle, Spot, stop, until},
};
use dchan_core::{Addr, Breach, Config, Node, Receiver, Sender, Transport};
use tokio::task::JoinHandle;

pub(crate) const NAMESPACE: &str = "honest";

/// A sender at `a`, and at `b`, which is attacked, a receiver.
pub(crate) struct Pair {
    pub(crate) a: Node,
    pub(crate) b: Node,
    oracle: Arc<Oracle>,
    stopping: Arc<AtomicBool>,
    sending: JoinHandle<Sender<Message>>,
    receiving: JoinHandle<Receiver<Message>>,
    /// Where the adversary is.
    spot: Spot,
    /// Where `b` really listens.
    door: Addr,
    /// What `b` saw before anybody misbehaved: a busy machine is late, too.
    before: BTreeMap<&'static str, u64>,
}

impl Pair {
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, |_| {}).await
    }

    pub(crate) async fn start_with(cluster: &Cluster, set: impl Fn(&mut Config)) -> Self {
        let a = cluster.node().await;
        let b = cluster.node_with(&set).await;
        let oracle = Arc::new(Oracle::new());
        let receiver = b.receiver::<Message>(NAMESPACE).await.unwrap();
        let receiving = oracle.receive(receiver);
        let sender = a.sender::<Message>(NAMESPACE).await.unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let sending = tokio::spawn({
            let (stopping, oracle) = (stopping.clone(), oracle.clone());
            async move {
                let mut next = 0;
                while !stopping.load(SeqCst) {
                    let numbers = next..next + 10;
                    next = numbers.end;
                    oracle.send(&sender, 0, numbers, |number| number as usize % 500).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                sender
            }
        });
        let (spot, door) = (cluster.spot(), cluster.door(1));
        until("the honest are linked", || oracle.received() > 0).await;
        let before = breaches(&b);
        Self { a, b, oracle, stopping, sending, receiving, spot, door, before }
    }

    /// Where `b` really listens.
    pub(crate) fn door(&self) -> SocketAddr {
        self.door.as_str().parse().unwrap()
    }

    /// How often `b` has turned somebody away, for whatever reason.
    pub(crate) fn refused(&self) -> u64 {
        self.breaches().values().sum()
    }

    pub(crate) fn addr(&self) -> &Addr {
        self.b.addr()
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        self.spot.transport()
    }

    /// A decent hello of a node that nobody has seen.
    pub(crate) fn hello(&self) -> Hello {
        Hello::decent(&*self.transport(), fastrand::u64(..))
    }

    /// A peer of `b` that has passed the handshake.
    pub(crate) async fn adversary(&self) -> Adversary {
        self.meet(self.hello()).await.expect("a decent hello is welcome")
    }

    pub(crate) async fn meet(&self, hello: Hello) -> Result<Adversary, Option<Refusal>> {
        let met = Adversary::meet(&*self.transport(), self.addr(), hello).await;
        met.map_err(|refused| refused.map(|(refusal, _)| refusal))
    }

    /// What `b` has seen, by kind.
    pub(crate) fn breaches(&self) -> BTreeMap<&'static str, u64> {
        let mut seen = breaches(&self.b);
        for (kind, times) in &mut seen {
            *times -= self.before.get(kind).copied().unwrap_or(0);
        }
        seen.retain(|_, times| *times > 0);
        seen
    }

    pub(crate) fn seen(&self, kind: Breach) -> u64 {
        self.breaches().get(kind.name()).copied().unwrap_or(0)
    }

    /// Waits until `b` has seen that so often.
    pub(crate) async fn sees(&self, kind: Breach, times: u64) {
        until(&format!("{kind} is counted {times} times"), || self.seen(kind) >= times).await;
        assert_eq!(self.seen(kind), times, "{:?}", self.breaches());
    }

    /// The two go on: messages that are sent from now on arrive.
    pub(crate) async fn carry_on(&self) {
        let sent = self.oracle.accepted();
        until("the honest go on", || self.oracle.received() > sent + 20).await;
    }

    /// Nothing of theirs is lost, repeated, out of order or unknown. Both stop in good order.
    pub(crate) async fn finish(self) {
        self.carry_on().await;
        assert!(breaches(&self.a).is_empty(), "{:?}", breaches(&self.a));
        self.stopping.store(true, SeqCst);
        let sender = self.sending.await.unwrap();
        self.oracle.settle(&self.a, NAMESPACE).await;
        drop(sender);
        self.receiving.abort();
        let _aborted = self.receiving.await;
        stop(self.a).await;
        stop(self.b).await;
    }
}

fn breaches(node: &Node) -> BTreeMap<&'static str, u64> {
    node.metrics().breaches
}
