//! A dchan channel: the first receiver's node founds a cluster alone, all others join it.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use dchan_core::{Addr, Node, NodeOptions, Receiver, Sender, ShutdownError, Transport};
use dchan_raft::{DataDir, RaftConfig, RaftMembership};
use tokio::{sync::oneshot, time::timeout};

use super::{Contender, Ready, Setup, Side};
use crate::Msg;

const THERE: &str = "there";
const BACK: &str = "back";
/// A channel whose receiver takes nothing, while its sender pushes.
const STALLED: &str = "stalled";

/// A dchan channel over some transport.
pub(crate) struct Channel {
    name: &'static str,
    help: &'static str,
    transport: fn() -> Arc<dyn Transport>,
    stalled: bool,
}

impl Channel {
    pub(crate) fn new(
        name: &'static str,
        help: &'static str,
        transport: fn() -> Arc<dyn Transport>,
    ) -> Self {
        Self { name, help, transport, stalled: false }
    }

    /// With another channel between the same nodes, whose receiver takes nothing.
    pub(crate) fn beside_a_stalled_one(mut self) -> Self {
        self.stalled = true;
        self
    }
}

impl Contender for Channel {
    type Side = End;

    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn lacks(&self, _: &Setup) -> Option<String> {
        None
    }

    async fn listen(&self, setup: &Setup, before: &[String], ready: Ready) -> anyhow::Result<End> {
        let (listen, founder) = match before {
            // A founder is known by its address before it listens: find a free port first.
            [] => {
                let free = Addr::from(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?);
                (free.clone(), free)
            }
            [founder, ..] => ("127.0.0.1:0".parse()?, founder.parse()?),
        };
        let node = node((self.transport)(), &listen, &founder).await?;
        let receiver = Some(node.receiver(THERE).await?);
        let stalled = match self.stalled {
            true => Some(node.receiver(STALLED).await?),
            false => None,
        };
        ready.say(&founder);
        let sender = match setup.both_ways {
            true => Some(sender(&node, BACK, setup.senders).await?),
            false => None,
        };
        Ok(End { node, sender, receiver, stalled, founded: before.is_empty() })
    }

    async fn connect(&self, setup: &Setup, to: &[String]) -> anyhow::Result<End> {
        let founder = to.first().context("there is no receiver")?.parse()?;
        let node = node((self.transport)(), &"127.0.0.1:0".parse()?, &founder).await?;
        let receiver = match setup.both_ways {
            true => Some(node.receiver(BACK).await?),
            false => None,
        };
        let sender = Some(sender(&node, THERE, setup.receivers).await?);
        if self.stalled {
            push_into_stalled(&node, setup).await?;
        }
        Ok(End { node, sender, receiver, stalled: None, founded: false })
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

async fn sender(node: &Node, namespace: &str, receivers: usize) -> anyhow::Result<Sender<Msg>> {
    let sender = node.sender(namespace).await?;
    sender.wait_for_receivers(receivers).await?;
    Ok(sender)
}

/// Pushes into the stalled channel until it is full, and goes on waiting there.
async fn push_into_stalled(node: &Node, setup: &Setup) -> anyhow::Result<()> {
    let (sender, size) = (sender(node, STALLED, setup.receivers).await?, setup.size);
    let (full, is_full) = oneshot::channel();
    tokio::spawn(async move {
        let message = || Msg { id: 0, body: vec![0; size] };
        while sender.send_timeout(message(), Duration::from_millis(200)).await.is_ok() {}
        let _waiting = full.send(());
        let _stopped = sender.send(message()).await;
    });
    Ok(is_full.await?)
}

/// One end of the channel: a node, and what it has opened.
pub(crate) struct End {
    node: Node,
    sender: Option<Sender<Msg>>,
    receiver: Option<Receiver<Msg>>,
    stalled: Option<Receiver<Msg>>,
    /// Whether the others need this one to leave in good order.
    founded: bool,
}

impl Side for End {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        let sender = self.sender.as_ref().context("this side does not send")?;
        sender.send(message).await.map_err(|error| error.without_value().into())
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        let receiver = self.receiver.as_mut().context("this side does not receive")?;
        Ok(receiver.recv().await?)
    }

    async fn end(self) -> anyhow::Result<()> {
        if let Some(sender) = self.sender {
            sender.flush().await?;
            let ledger = sender.ledger();
            anyhow::ensure!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
        }
        drop((self.receiver, self.stalled));
        if self.founded {
            let mut links = self.node.links();
            let alone = links.wait_for(|links| links.values().all(|link| !link.alive));
            timeout(Duration::from_secs(10), alone).await.context("the others stay")??;
        }
        match self.node.shutdown().await {
            // What a stalled receiver hands back has no other: that is as it should be. Of the channel
            // that is measured, all was taken.
            Err(ShutdownError::Astray { unknown: 0, .. }) => Ok(()),
            ended => Ok(ended?),
        }
    }
}
