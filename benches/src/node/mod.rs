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
pub(crate) async fn wait_until_alone(node: &Node) -> anyhow::Result<()> {
    let mut links = node.links();
    let alone = links.wait_for(|links| links.values().all(|link| !link.alive));
    timeout(PATIENCE, alone).await.context("the others stay")??;
    Ok(())
}
