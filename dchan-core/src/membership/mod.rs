//! The seam to whoever keeps the list: which nodes there are, and which of them receives what.

mod fixed;
mod status;
mod view;

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use imbl::OrdMap;
use tokio::sync::{mpsc, watch};

use crate::{Addr, Boot, Incarnation, Namespace, NodeId, Question, ReceiverId, Requests, Timers};

pub use fixed::StaticMembership;
pub use status::{MembershipStatus, Sample};
pub use view::{NodeEntry, Version, View};

/// Keeps the list of nodes and receivers.
///
/// The rules are numbered in `docs/contract.md`. The list is only a hint for choosing where messages
/// go: it is never proof that a node is dead, and no message waits for it once a channel is open.
#[async_trait]
pub trait Membership: Debug + Send + Sync + 'static {
    /// Brings this node into the cluster, and returns when it is in.
    ///
    /// Called once. The links are up already: questions may come before this is called.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up. Call [`leave`](Membership::leave), then drop the membership.
    async fn start(&self, context: Context) -> Result<(), MembershipError>;

    /// Makes changes to the list, all of them or none, and returns when they are committed and
    /// [`view`](Membership::view) shows them on this node. Making a change again that is made already
    /// is no error. Changes that wait together should be committed together.
    ///
    /// Waits for as long as there is no leader or no quorum: the caller bounds the time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open whether the changes are made.
    async fn apply(&self, changes: Vec<Change>) -> Result<Version, MembershipError>;

    /// What this node knows of the list.
    fn view(&self) -> watch::Receiver<Arc<View>>;

    /// How it fares. Asked about once a second, and whenever somebody wants to know: it must not block.
    fn status(&self) -> MembershipStatus {
        MembershipStatus::default()
    }

    /// Takes this node and its receivers off the list and ends all that
    /// [`start`](Membership::start) began. No task is left when it returns. Without a quorum it gives
    /// up after `within`, and stops all the same.
    ///
    /// # Cancel safety
    ///
    /// Call it again if it was dropped.
    async fn leave(&self, within: Duration) -> Result<(), MembershipError>;
}

/// A change to the list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Change {
    /// A node comes, or says something new of itself. If it comes with a new boot or a higher
    /// incarnation, then the receivers that its older boots had are taken off. If the list has a higher
    /// incarnation of that node already, nothing happens.
    Node {
        /// The node.
        id: NodeId,
        /// What it says of itself.
        entry: NodeEntry,
    },
    /// A node goes, and all its receivers go with it. Only if it still has this incarnation: a node
    /// that came back meanwhile stays.
    NodeGone {
        /// The node.
        id: NodeId,
        /// The last incarnation that is meant.
        incarnation: Incarnation,
    },
    /// A receiver comes. Ignored unless the list has its node with the receiver's boot.
    Receiver {
        /// What it receives.
        namespace: Namespace,
        /// The receiver.
        id: ReceiverId,
        /// Where it is.
        node: NodeId,
    },
    /// A receiver goes.
    ReceiverGone {
        /// What it received.
        namespace: Namespace,
        /// The receiver.
        id: ReceiverId,
    },
}

/// What a membership gets to work with.
#[derive(Debug)]
pub struct Context {
    /// The node that it works for.
    pub me: Me,
    /// Asks other nodes.
    pub requests: Requests,
    /// What other nodes ask.
    pub questions: mpsc::Receiver<Question>,
    /// How the links to other nodes are.
    pub links: watch::Receiver<Links>,
    /// For what it does again and again.
    pub timers: Timers,
}

/// A node as it sees itself.
#[derive(Clone, Debug)]
pub struct Me {
    /// Its id.
    pub id: NodeId,
    /// This process.
    pub boot: Boot,
    /// Which of its lives it starts in. A membership that finds it taken off the list raises it.
    pub incarnation: Incarnation,
    /// Where others can reach it.
    pub addr: Addr,
    /// Labels that the user gave it.
    pub tags: OrdMap<String, String>,
}

/// How the links to other nodes are. Peers that have had no link are not in it.
pub type Links = OrdMap<NodeId, LinkState>;

/// How the link to one node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The process at the other end.
    pub boot: Boot,
    /// Whether there is a connection and the other end was heard from lately.
    pub alive: bool,
    /// The version of the view that the other end has, as its last heartbeat said.
    pub version: Version,
    /// The last round-trip time.
    pub round_trip: Option<Duration>,
}

/// Why a membership could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// This node may not be part of that cluster: another cluster's, or a wiped directory.
    #[error("cannot join the cluster: {0}")]
    Refused(String),
    /// Nobody could be found to join.
    #[error("found no cluster: {0}")]
    NotFound(String),
    /// It is not known whether the changes were made.
    #[error("it is not known whether the changes were made: {0}")]
    Unknown(String),
    /// The changes of one call do not fit into what is committed at once.
    #[error("changes of {len} bytes: expected at most {max}")]
    TooLarge {
        /// Their length, in bytes.
        len: usize,
        /// The longest, in bytes.
        max: usize,
    },
    /// What this node must remember cannot be stored or read.
    #[error("storage failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The membership has been stopped.
    #[error("the membership has stopped")]
    Stopped,
}
