//! A dchan channel, with all of its guarantees and the defaults that a user gets.

mod end;
mod local;
mod over;

use std::sync::Arc;

use dchan_core::{Addr, Node, NodeOptions, Sender, Transport};
use dchan_raft::{DataDir, RaftConfig, RaftMembership};

use crate::Msg;

pub(super) use local::Local;
pub(super) use over::Over;

/// The names of the channels there and back.
const THERE: &str = "there";
const BACK: &str = "back";

async fn start(
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

/// A founder is known by its address before it listens: finds a free port first.
fn free_port() -> anyhow::Result<Addr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.into())
}

async fn sender(node: &Node, namespace: &str, receivers: usize) -> anyhow::Result<Sender<Msg>> {
    let sender = node.sender(namespace).await?;
    sender.wait_for_receivers(receivers).await?;
    Ok(sender)
}
