//! What the benches of the pieces have in common.

use std::sync::Arc;

use dchan_core::{
    Addr, Incarnation, MemoryNetwork, Node, NodeId, NodeOptions, Receiver, Sender,
    StaticMembership, Transport, fuzzing::Pair,
};
use dchan_transport_grpc::GrpcTransport;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

/// The sizes of messages, in bytes.
pub(crate) const SIZES: [usize; 2] = [16, 1024];

/// A message: its number, and some bytes.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Msg {
    pub(crate) id: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) body: Vec<u8>,
}

impl Msg {
    /// With so many bytes.
    pub(crate) fn new(size: usize) -> Self {
        Self { id: 1 << 20, body: vec![7; size] }
    }
}

/// How many messages go from end to end together.
pub(crate) const BATCH: u64 = 64;

/// A lane with the room that a receiver has unless it is told otherwise.
pub(crate) fn pair() -> Pair {
    Pair::new(64 * 1024, 1024 * 1024)
}

/// Nodes in this process that know each other from a list in memory. Stopped, or nothing is kept.
pub(crate) struct Nodes {
    list: Arc<StaticMembership>,
    nodes: Vec<Node>,
}

impl Nodes {
    /// Over the network in memory.
    pub(crate) async fn start(count: u64) -> Self {
        let network = MemoryNetwork::new(1);
        let addr = |number| format!("n{number}:1").parse().expect("an address");
        Self::start_over(count, addr, |addr| network.transport(addr)).await
    }

    /// Over gRPC.
    #[allow(dead_code, reason = "not every bench is about that")]
    pub(crate) async fn start_over_grpc(count: u64) -> Self {
        let addr = |_| "127.0.0.1:0".parse().expect("an address");
        Self::start_over(count, addr, |_| Arc::new(GrpcTransport::new())).await
    }

    async fn start_over(
        count: u64,
        addr: impl Fn(u64) -> Addr,
        transport: impl Fn(&Addr) -> Arc<dyn Transport>,
    ) -> Self {
        let mut all = Self { list: StaticMembership::new(), nodes: Vec::new() };
        for number in 1..=count {
            let addr = addr(number);
            let mut options = NodeOptions::new(addr.clone());
            (options.id, options.incarnation) = (NodeId(number), Incarnation(1));
            options.config.seed = number;
            let node = Node::start(options, transport(&addr), all.list.member()).await;
            all.nodes.push(node.expect("the node starts"));
        }
        all
    }

    pub(crate) fn first(&self) -> &Node {
        &self.nodes[0]
    }

    pub(crate) fn last(&self) -> &Node {
        self.nodes.last().expect("there is one")
    }

    /// A channel from the first to the last, which may be the same.
    pub(crate) async fn channel(&self) -> (Sender<Msg>, Receiver<Msg>) {
        self.channel_named("pieces").await
    }

    /// The same, of that name.
    pub(crate) async fn channel_named(&self, name: &str) -> (Sender<Msg>, Receiver<Msg>) {
        Self::open(self.first(), self.last(), name).await
    }

    /// The other way round.
    #[allow(dead_code, reason = "not every bench is about that")]
    pub(crate) async fn channel_back(&self) -> (Sender<Msg>, Receiver<Msg>) {
        Self::open(self.last(), self.first(), "back").await
    }

    async fn open(from: &Node, to: &Node, name: &str) -> (Sender<Msg>, Receiver<Msg>) {
        let receiver = to.receiver(name).await.expect("a receiver");
        let sender = from.sender(name).await.expect("a sender");
        sender.wait_for_receivers(1).await.expect("it is on the list");
        (sender, receiver)
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes {
            node.shutdown().await.expect("all was delivered");
        }
    }
}

/// One thread, so that nothing waits for another core.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Sends one message.
pub(crate) async fn send(sender: &Sender<Msg>, message: Msg) {
    sender.send(message).await.map_err(|error| error.without_value()).expect("sent");
}

/// Receives one.
pub(crate) async fn receive(receiver: &mut Receiver<Msg>) -> Msg {
    receiver.recv().await.expect("received").expect("a message")
}

/// Sends so many messages that one task can receive them without waiting for credit, and receives them.
pub(crate) async fn batch(sender: &Sender<Msg>, receiver: &mut Receiver<Msg>, message: &Msg) {
    for _ in 0..BATCH {
        send(sender, message.clone()).await;
    }
    for _ in 0..BATCH {
        receive(receiver).await;
    }
}

/// Everything that was sent has been taken.
pub(crate) async fn check(sender: &Sender<Msg>) {
    sender.flush().await.expect("all is settled");
    let ledger = sender.ledger();
    assert!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
}
