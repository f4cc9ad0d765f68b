//! What Raft is told about our types.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use dchan_core::{Addr, Boot, Change, ClusterId, NodeId, Version};
use openraft::{BasicNode, alias, impls::leader_id_std};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::runtime::Runtime;

openraft::declare_raft_types!(
    /// Raft, as it is used here.
    pub(crate) Types:
        D = Command,
        R = Version,
        NodeId = u64,
        Node = BasicNode,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = Runtime,
);

pub(crate) type Raft = openraft::Raft<Types, crate::store::Machine>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = alias::SnapshotOf<Types, Bytes>;
pub(crate) type Fatal = openraft::errors::Fatal<Types>;
pub(crate) type Metrics = openraft::RaftMetrics<Types>;

/// Changes that one node wants made: one entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) origin: Origin,
    /// A `Vec<Change>`, encoded once where it came from.
    pub(crate) changes: Bytes,
}

/// By which a repeated command is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) node: NodeId,
    pub(crate) boot: Boot,
    /// The incarnation that the process began with: orders the boots of a node.
    pub(crate) session: u64,
    /// Counts the commands of the process. A node has at most one on its way.
    pub(crate) number: u64,
}

impl Command {
    pub(crate) fn new(origin: Origin, changes: &[Change]) -> Result<Self, postcard::Error> {
        Ok(Self { origin, changes: encode(&changes)? })
    }

    pub(crate) fn changes(&self) -> Result<Vec<Change>, postcard::Error> {
        decode(&self.changes)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { node, number, .. } = self.origin;
        write!(f, "{node}#{number} ({} bytes)", self.changes.len())
    }
}

/// What the founders agree on: the cluster, and who its voters are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Founding {
    pub(crate) cluster: ClusterId,
    pub(crate) founders: BTreeMap<Addr, NodeId>,
}

impl Founding {
    pub(crate) fn includes(&self, id: NodeId) -> bool {
        self.founders.values().any(|founder| *founder == id)
    }

    pub(crate) fn members(&self) -> BTreeMap<u64, BasicNode> {
        self.founders.iter().map(|(addr, id)| (id.0, BasicNode::new(addr))).collect()
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, postcard::Error> {
    postcard::to_stdvec(value).map(Bytes::from)
}

/// Decodes a value that must take up all the bytes, and that anybody may have sent.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, postcard::Error> {
    dchan_core::decode(bytes).ok_or(postcard::Error::SerdeDeCustom)
}
