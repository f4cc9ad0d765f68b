use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dchan_core::{
    Boot, Change, Context, ErrorKind, Incarnation, Me, Membership, MembershipError, Namespace,
    Node, NodeEntry, NodeId, ReceiverId, StartError, Version, View,
};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::fixture::Life;
use crate::{
    bounded::{BOUNDED, bounded},
    cluster::{Cluster, Spot},
    failure::{Failure, Outcome},
};

/// A node that has links, and a membership that the suite calls in its place.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) place: usize,
    pub(super) me: Me,
    pub(super) membership: Arc<dyn Membership>,
    context: Option<Context>,
    node: Node,
}

impl Member {
    /// Starts the node. Its membership can be asked questions from here on; it is not started.
    pub(super) async fn arrive(cluster: &Cluster, spot: &Spot, life: Life) -> Outcome<Self> {
        let tap = Arc::new(Tap { membership: life.membership.clone(), context: Mutex::default() });
        let node = bounded("start of a node", node(cluster, spot, &life, &tap)).await??;
        let context = tap.context.lock().take();
        let context = context.ok_or_else(|| Failure("a node has started nothing".into()))?;
        let me = context.me.clone();
        let membership = life.membership;
        Ok(Self { place: spot.index, me, membership, context: Some(context), node })
    }

    /// Starts the membership. Once only.
    pub(super) async fn start(&mut self) -> Result<(), MembershipError> {
        let context = self.context.take().ok_or(MembershipError::Stopped)?;
        self.membership.start(context).await
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.membership.view().borrow().clone()
    }

    /// Whether a view has this node as it is.
    pub(super) fn is_in(&self, view: &View) -> bool {
        view.nodes.get(&self.me.id).is_some_and(|entry| {
            let known = (entry.boot, &entry.addr, &entry.tags);
            known == (self.me.boot, &self.me.addr, &self.me.tags)
                && entry.incarnation >= self.me.incarnation
        })
    }

    /// Makes changes in bounded time.
    pub(super) async fn apply(&self, changes: &[Change]) -> Outcome<Version> {
        Ok(bounded("apply", self.membership.apply(changes.to_vec())).await??)
    }

    /// Waits until the view here is as it should be.
    pub(super) async fn sees(&self, what: &str, is: impl Fn(&View) -> bool) -> Outcome {
        let mut view = self.membership.view();
        match timeout(BOUNDED, view.wait_for(|view| is(view))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Failure(format!("the view ended before it showed {what}"))),
            Err(_) => {
                let (id, seen) = (self.me.id, self.view());
                let place = self.place;
                Err(Failure(format!("node {id} (place {place}) does not see {what}: {seen:?}")))
            }
        }
    }

    /// A receiver on this node.
    pub(super) fn receiver(&self, counter: u64) -> Receiver {
        Receiver { node: self.me.id, boot: self.me.boot, counter }
    }

    /// Stops the node, once its membership has left. Nothing of either is there then.
    pub(super) async fn stop(self) -> Outcome {
        let stopped = self.node.shutdown_within(Duration::from_secs(1)).await;
        stopped.map_err(|error| Failure(format!("a node does not stop: {error:?}")))
    }

    /// Ends the process without a word.
    pub(super) fn kill(self) {}
}

async fn node(cluster: &Cluster, spot: &Spot, life: &Life, tap: &Arc<Tap>) -> Outcome<Node> {
    loop {
        let started = cluster.start(spot, (life.id, life.incarnation), tap.clone(), |_| {}).await;
        match started {
            Ok(node) => return Ok(node),
            // The life before, which was killed, has not let go of its port yet.
            Err(StartError::Listen(error)) if error.kind == ErrorKind::InUse => {
                sleep(Duration::from_millis(2)).await;
            }
            Err(error) => return Err(Failure(format!("a node does not start: {error:?}"))),
        }
    }
}

/// A receiver that may be on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receiver {
    pub(super) node: NodeId,
    pub(super) boot: Boot,
    pub(super) counter: u64,
}

impl Receiver {
    fn key(self) -> (Namespace, ReceiverId) {
        let namespace = Namespace::new("orders").expect("a name that can be");
        (namespace, ReceiverId { boot: self.boot, counter: self.counter })
    }

    pub(super) fn comes(self) -> Change {
        let (namespace, id) = self.key();
        Change::Receiver { namespace, id, node: self.node }
    }

    pub(super) fn goes(self) -> Change {
        let (namespace, id) = self.key();
        Change::ReceiverGone { namespace, id }
    }

    pub(super) fn is_in(self, view: &View) -> bool {
        view.receivers.get(&self.key()) == Some(&self.node)
    }
}

/// A node that is on the list and nowhere else: what changes say of it is all there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ghost {
    pub(super) boot: u64,
    pub(super) incarnation: u64,
}

impl Ghost {
    pub(super) const ID: NodeId = NodeId(u64::MAX - 7);

    pub(super) fn comes(self) -> Change {
        Change::Node { id: Self::ID, entry: self.entry() }
    }

    pub(super) fn goes(self) -> Change {
        Change::NodeGone { id: Self::ID, incarnation: Incarnation(self.incarnation) }
    }

    pub(super) fn receiver(self, counter: u64) -> Receiver {
        Receiver { node: Self::ID, boot: Boot(self.boot), counter }
    }

    pub(super) fn is_in(self, view: &View) -> bool {
        view.nodes.get(&Self::ID) == Some(&self.entry())
    }

    fn entry(self) -> NodeEntry {
        NodeEntry {
            addr: "ghost:1".parse().expect("an address"),
            boot: Boot(self.boot),
            incarnation: Incarnation(self.incarnation),
            tags: [("boot".to_owned(), self.boot.to_string())].into_iter().collect(),
        }
    }
}

/// What a node gets in place of its membership: it hands out what the node starts it with, and asks
/// nothing of the other on its own account.
#[derive(Debug)]
struct Tap {
    membership: Arc<dyn Membership>,
    context: Mutex<Option<Context>>,
}

#[async_trait]
impl Membership for Tap {
    async fn start(&self, context: Context) -> Result<(), MembershipError> {
        *self.context.lock() = Some(context);
        Ok(())
    }

    async fn apply(&self, _: Vec<Change>) -> Result<Version, MembershipError> {
        // The node knows none of the receivers that the suite puts on the list, and would take them off.
        Ok(self.view().borrow().version)
    }

    fn view(&self) -> watch::Receiver<Arc<View>> {
        self.membership.view()
    }

    async fn leave(&self, _: Duration) -> Result<(), MembershipError> {
        Ok(())
    }
}
