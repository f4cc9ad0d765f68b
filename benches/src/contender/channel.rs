//! A dchan channel: the receiver's node founds a cluster alone, the sender's joins it.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use dchan_core::{Addr, Node, NodeOptions, Receiver, Sender, Transport};
use dchan_raft::{DataDir, RaftConfig, RaftMembership};
use tokio::sync::oneshot;

use super::{Contender, Side};
use crate::{Point, workload::Msg};

const THERE: &str = "there";
const BACK: &str = "back";
/// A channel whose receiver takes nothing, while its sender pushes.
const STALLED: &str = "stalled";

pub(super) struct Channel {
    node: Node,
    sender: Option<Sender<Msg>>,
    receiver: Option<Receiver<Msg>>,
    stalled: Option<Receiver<Msg>>,
}

impl Channel {
    /// The receiver's side. It says where it listens, and founds the cluster.
    pub(super) async fn found(
        point: &Point,
        transport: Arc<dyn Transport>,
    ) -> anyhow::Result<Self> {
        // A founder is known by its address before it listens: find a free port first.
        let addr = Addr::from(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?);
        let node = node(transport, &addr, &addr).await?;
        let receiver = node.receiver(THERE).await?;
        let stalled = match point.contender {
            Contender::GrpcStalled => Some(node.receiver(STALLED).await?),
            _ => None,
        };
        println!("ready {addr}");
        let sender = match point.workload.is_both_ways() {
            true => Some(sender(&node, BACK).await?),
            false => None,
        };
        Ok(Self { node, sender, receiver: Some(receiver), stalled })
    }

    /// The sender's side. It joins.
    pub(super) async fn join(
        point: &Point,
        transport: Arc<dyn Transport>,
        to: &str,
    ) -> anyhow::Result<Self> {
        let node = node(transport, &"127.0.0.1:0".parse()?, &to.parse()?).await?;
        let receiver = match point.workload.is_both_ways() {
            true => Some(node.receiver(BACK).await?),
            false => None,
        };
        let sender = Some(sender(&node, THERE).await?);
        if point.contender == Contender::GrpcStalled {
            push_into_stalled(&node, point.size).await?;
        }
        Ok(Self { node, sender, receiver, stalled: None })
    }
}

async fn node(
    transport: Arc<dyn Transport>,
    listen: &Addr,
    founder: &Addr,
) -> anyhow::Result<Node> {
    let dir = DataDir::temporary()?;
    let mut options = NodeOptions::new(listen.clone());
    (options.id, options.incarnation) = (dir.node_id(), dir.incarnation());
    let membership = RaftMembership::new(dir, RaftConfig::new("dchan", [founder.clone()]))?;
    Ok(Node::start(options, transport, Arc::new(membership)).await?)
}

async fn sender(node: &Node, namespace: &str) -> anyhow::Result<Sender<Msg>> {
    let sender = node.sender(namespace).await?;
    sender.wait_for_receivers(1).await?;
    Ok(sender)
}

/// Pushes into the stalled channel until it is full, and goes on waiting there.
async fn push_into_stalled(node: &Node, size: usize) -> anyhow::Result<()> {
    let sender = sender(node, STALLED).await?;
    let (full, is_full) = oneshot::channel();
    tokio::spawn(async move {
        let message = || Msg { id: 0, body: vec![0; size] };
        while sender.send_timeout(message(), Duration::from_millis(200)).await.is_ok() {}
        let _waiting = full.send(());
        let _stopped = sender.send(message()).await;
    });
    Ok(is_full.await?)
}

impl Side for Channel {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        let sender = self.sender.as_ref().context("this side does not send")?;
        sender.send(message).await.map_err(|error| error.without_value().into())
    }

    async fn push(&mut self) -> anyhow::Result<()> {
        // A channel holds nothing back.
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<Msg> {
        let receiver = self.receiver.as_mut().context("this side does not receive")?;
        receiver.recv().await?.context("the receiver was closed")
    }

    async fn end(self) -> anyhow::Result<()> {
        if let Some(sender) = self.sender {
            sender.flush().await?;
            let ledger = sender.ledger();
            anyhow::ensure!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
        }
        drop((self.receiver, self.stalled));
        // What a stalled receiver hands back has no other: that is as it should be.
        let _dropped = self.node.shutdown().await;
        Ok(())
    }
}
