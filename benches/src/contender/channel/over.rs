use std::{sync::Arc, time::Duration};

use anyhow::Context;
use dchan_core::{Addr, MemoryNetwork, Node, Transport};
use tokio::sync::oneshot;

use super::{
    BACK, THERE,
    end::{End, Leave},
    sender,
};
use crate::{
    Msg,
    contender::{Contender, Ready, Setup},
    node,
};

/// A channel whose receiver takes nothing, while its sender pushes.
const STALLED: &str = "stalled";

/// Makes the transport of the node at an address.
type TransportOf = Box<dyn Fn(&Addr) -> Arc<dyn Transport> + Send + Sync>;

/// A channel over some transport. The first receiver's node founds a cluster alone, all others join it.
pub(crate) struct Over {
    name: &'static str,
    help: &'static str,
    transport: TransportOf,
    in_one_process: bool,
    beside_a_stalled_one: bool,
}

impl Over {
    pub(in crate::contender) fn new<T: Transport>(
        name: &'static str,
        help: &'static str,
        transport: fn() -> T,
    ) -> Self {
        let transport = Box::new(move |_: &Addr| Arc::new(transport()) as Arc<dyn Transport>);
        Self { name, help, transport, in_one_process: false, beside_a_stalled_one: false }
    }

    /// With a network that both nodes are in.
    pub(in crate::contender) fn memory() -> Self {
        let network = MemoryNetwork::new(1);
        Self {
            name: "memory",
            help: "dchan over the memory transport, two nodes in one process",
            transport: Box::new(move |addr| network.transport(addr)),
            in_one_process: true,
            beside_a_stalled_one: false,
        }
    }

    /// With another channel between the same nodes, whose receiver takes nothing.
    pub(in crate::contender) fn beside_a_stalled_one(mut self) -> Self {
        self.beside_a_stalled_one = true;
        self
    }

    /// A transport for the node at that address.
    pub(crate) fn transport(&self, at: &Addr) -> Arc<dyn Transport> {
        (self.transport)(at)
    }

    /// A node of a cluster that these found.
    pub(crate) async fn start(
        &self,
        listen: &Addr,
        founders: impl IntoIterator<Item = Addr>,
    ) -> anyhow::Result<Node> {
        node::start(self.transport(listen), listen, founders).await
    }

    /// A node that joins the cluster of the first receiver's node.
    pub(crate) async fn join(&self, to: &[String]) -> anyhow::Result<Node> {
        let founder = to.first().context("there is no receiver")?.parse()?;
        self.start(&node::any_addr()?, [founder]).await
    }
}

impl Contender for Over {
    type Side = End;

    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn in_one_process(&self) -> bool {
        self.in_one_process
    }

    fn lacks(&self, _: &Setup) -> Option<String> {
        None
    }

    async fn listen(&self, setup: &Setup, before: &[String], ready: Ready) -> anyhow::Result<End> {
        let (listen, founder, leave) = match before {
            [] => {
                let free = node::free_addr()?;
                (free.clone(), free, Leave::Last)
            }
            [founder, ..] => (node::any_addr()?, founder.parse()?, Leave::AtOnce),
        };
        let node = self.start(&listen, [founder.clone()]).await?;
        let receiver = Some(node.receiver(THERE).await?);
        let stalled = match self.beside_a_stalled_one {
            true => Some(node.receiver(STALLED).await?),
            false => None,
        };
        ready.say(&founder);
        let sender = match setup.both_ways {
            true => Some(sender(&node, BACK, setup.senders).await?),
            false => None,
        };
        Ok(End { node, sender, receiver, stalled, leave })
    }

    async fn connect(&self, setup: &Setup, to: &[String]) -> anyhow::Result<End> {
        let node = self.join(to).await?;
        let receiver = match setup.both_ways {
            true => Some(node.receiver(BACK).await?),
            false => None,
        };
        let sender = Some(sender(&node, THERE, setup.receivers).await?);
        if self.beside_a_stalled_one {
            push_into_stalled(&node, setup).await?;
        }
        Ok(End { node, sender, receiver, stalled: None, leave: Leave::AtOnce })
    }
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
