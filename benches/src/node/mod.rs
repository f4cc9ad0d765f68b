//! Nodes of clusters whose list is kept by Raft, as users start them: with all defaults.

mod obey;
mod order;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use dchan_core::{Addr, Node, NodeOptions, Transport};
use dchan_raft::{DataDir, RaftConfig, RaftMembership};
use tokio::time::timeout;

pub(crate) use obey::obey;
pub(crate) use order::Order;

/// How long a process waits for others that are to be there, or gone, soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Some port.
pub(crate) fn any_addr() -> anyhow::Result<Addr> {
    Ok("127.0.0.1:0".parse()?)
}

/// A port that is free now: a founder is known by its address before it listens.
pub(crate) fn free_addr() -> anyhow::Result<Addr> {
    Ok(Addr::from(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?))
}

/// A node of a cluster that these found.
pub(crate) async fn start(
    transport: Arc<dyn Transport>,
    listen: &Addr,
    founders: impl IntoIterator<Item = Addr>,
) -> anyhow::Result<Node> {
    let dir = DataDir::temporary()?;
    let mut options = NodeOptions::new(listen.clone());
    (options.id, options.incarnation) = (dir.node_id(), dir.incarnation());
    let membership = RaftMembership::new(dir, RaftConfig::new("dchan", founders))?;
    Ok(Node::start(options, transport, Arc::new(membership)).await?)
}

/// Waits until all others have gone: they need a founder to leave in good order.
///
/// The list is what counts: a link that is silent for a while looks no other than one that is over.
/// Their links, too, are over then, and with them the last answers have come to whoever asked.
pub(crate) async fn wait_until_alone(node: &Node) -> anyhow::Result<()> {
    let (mut view, mut links, me) = (node.view(), node.links(), node.id());
    let alone = async {
        view.wait_for(|view| view.nodes.keys().all(|id| *id == me)).await?;
        links.wait_for(|links| links.values().all(|link| !link.alive)).await?;
        anyhow::Ok(())
    };
    timeout(PATIENCE, alone).await.context("the others stay")?
}

#[cfg(test)]
mod tests {
    use dchan_core::{MemoryNetwork, StaticMembership};
    use futures::poll;

    use super::*;
    use crate::Msg;

    #[tokio::test]
    async fn who_is_silent_has_not_gone() {
        let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
        let start = async |name: &str| {
            let listen: Addr = name.parse().expect("an address");
            let transport = network.transport(&listen);
            Node::start(NodeOptions::new(listen), transport, list.member()).await.expect("starts")
        };
        let (node, other) = (start("a:1").await, start("b:1").await);
        let _receiver = node.receiver::<Msg>("n").await.expect("opens");
        let _sender = other.sender::<Msg>("n").await.expect("opens");
        let mut links = node.links();
        let mut until = async |alive: bool| {
            let is =
                links.wait_for(|links| links.get(&other.id()).is_some_and(|l| l.alive == alive));
            timeout(PATIENCE, is).await.expect("in time").expect("runs");
        };
        until(true).await;
        network.partition(node.addr(), other.addr());
        until(false).await;
        let mut alone = Box::pin(wait_until_alone(&node));
        assert!(poll!(&mut alone).is_pending(), "the other one is there still");
        network.heal(node.addr(), other.addr());
        until(true).await;
        let (ended, alone) = tokio::join!(other.shutdown(), alone);
        ended.expect("in good order");
        alone.expect("gone");
        node.shutdown().await.expect("in good order");
    }
}
