//! What links, channels and lanes take while nothing happens: all ends are in this process.

use std::{iter::zip, sync::Arc, time::Duration};

use anyhow::Context;
use dchan_core::{
    Incarnation, Node, NodeId, NodeOptions, Receiver, Sender, StaticMembership, TryRecvError,
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::{Msg, Point, clock, contender::Over, node, usage};

/// Nodes that are all linked to each other.
const NODES: u64 = 16;

/// Channels, and then receivers of one channel, between two of them.
const MANY: usize = 1000;

/// What is resident for each, at both ends, in KiB.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// A link between two nodes, with one channel.
    pub(crate) link: f64,
    /// Another channel on a link.
    pub(crate) namespace: f64,
    /// Another receiver of a channel.
    pub(crate) lane: f64,
    /// How often a thread wakes up for a link with a channel, at both ends, a second.
    pub(crate) wake_ups: f64,
}

pub(crate) async fn measure(channel: &Over, point: &Point) -> anyhow::Result<Memory> {
    let wake_ups = wake_ups(channel, point.secs).await?;
    let list = StaticMembership::new();
    let start = |number| start(channel, &list, number);
    let nodes = try_join_all((1..=NODES).map(start)).await?;
    let mut kept = Kept::default();
    let mut receivers = Vec::new();
    for node in &nodes {
        receivers.push(node.receiver(&format!("to.{}", node.id())).await?);
    }
    let before = usage::resident()?;
    for (at, node) in nodes.iter().enumerate() {
        for (peer, receiver) in zip(&nodes, &mut receivers).skip(at + 1) {
            kept.greet(node, &format!("to.{}", peer.id()), std::slice::from_mut(receiver)).await?;
        }
    }
    let pairs = NODES * (NODES - 1) / 2;
    let link = (usage::resident()? - before) / pairs as f64;

    let before = usage::resident()?;
    for number in 0..MANY {
        let name = format!("name.{number}");
        let mut receiver = nodes[1].receiver(&name).await?;
        kept.greet(&nodes[0], &name, std::slice::from_mut(&mut receiver)).await?;
        receivers.push(receiver);
    }
    let namespace = (usage::resident()? - before) / MANY as f64;

    let before = usage::resident()?;
    let open = |_| async { nodes[1].receiver("lanes").await };
    let mut lanes = try_join_all((0..MANY).map(open)).await?;
    kept.greet(&nodes[0], "lanes", &mut lanes).await?;
    let lane = (usage::resident()? - before) / MANY as f64;

    drop((receivers, lanes, kept));
    try_join_all(nodes.into_iter().map(Node::shutdown)).await?;
    Ok(Memory { link, namespace, lane, wake_ups })
}

/// Nothing but a pair of nodes is there, and nothing happens.
async fn wake_ups(channel: &Over, secs: f64) -> anyhow::Result<f64> {
    let list = StaticMembership::new();
    let nodes = [start(channel, &list, 1).await?, start(channel, &list, 2).await?];
    let mut receiver = nodes[1].receiver("idle").await?;
    let mut kept = Kept::default();
    kept.greet(&nodes[0], "idle", std::slice::from_mut(&mut receiver)).await?;
    // What comes with a beginning is over.
    sleep(Duration::from_secs(1)).await;
    let (began, before) = (clock::now(), usage::wake_ups()?);
    sleep(Duration::from_secs_f64(secs)).await;
    let woken = (usage::wake_ups()? - before) as f64 / (clock::now() - began);
    drop((receiver, kept));
    try_join_all(nodes.map(Node::shutdown)).await?;
    Ok(woken)
}

async fn start(channel: &Over, list: &Arc<StaticMembership>, number: u64) -> anyhow::Result<Node> {
    let listen = node::any_addr()?;
    let mut options = NodeOptions::new(listen.clone());
    (options.id, options.incarnation) = (NodeId(number), Incarnation(1));
    Ok(Node::start(options, channel.transport(&listen), list.member()).await?)
}

/// Senders that stay open.
#[derive(Default)]
struct Kept(Vec<Sender<Msg>>);

impl Kept {
    /// Opens a sender, and sends each receiver of the channel a message, which it takes.
    async fn greet(
        &mut self,
        from: &Node,
        name: &str,
        receivers: &mut [Receiver<Msg>],
    ) -> anyhow::Result<()> {
        let sender = from.sender(name).await?;
        sender.wait_for_receivers(receivers.len()).await?;
        // Until each has had one: at first, which lane has credit is chance.
        let mut without: Vec<_> = receivers.iter_mut().map(|receiver| (receiver, true)).collect();
        while without.iter().any(|(_, without)| *without) {
            for _ in 0..without.len() {
                let message = Msg { id: 0, body: Vec::new() };
                sender.send(message).await.map_err(|error| error.without_value())?;
            }
            let taken = take(&mut without);
            timeout(node::PATIENCE, taken).await.context("some messages do not come")??;
        }
        sender.flush().await?;
        let ledger = sender.ledger();
        anyhow::ensure!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
        self.0.push(sender);
        Ok(())
    }
}

/// Takes as many messages as there are receivers, and notes who got any.
async fn take(receivers: &mut [(&mut Receiver<Msg>, bool)]) -> anyhow::Result<()> {
    let mut left = receivers.len();
    while left > 0 {
        for (receiver, without) in &mut *receivers {
            match receiver.try_recv() {
                Ok(_) => (*without, left) = (false, left - 1),
                Err(TryRecvError::Empty) => {}
                Err(error) => return Err(error.into()),
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    // As many as were sent, and no more.
    for (receiver, _) in receivers {
        anyhow::ensure!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)), "one too many");
    }
    Ok(())
}
