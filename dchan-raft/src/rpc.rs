//! What nodes ask each other, and how that becomes bytes.

use bytes::Bytes;
use dchan_core::{Addr, Boot, ClusterId, Incarnation, NodeId, RequestError, Version};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use crate::types::{Command, Founding, SnapshotMeta, Types, Vote, decode, encode};

/// A question, and the cluster that it is about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) question: Ask,
}

/// What one node asks another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Do you belong to a cluster?
    Status,
    /// Let us found a cluster.
    Found(Founding),
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Snapshot(Chunk),
    TransferLeader(TransferLeaderRequest<Types>),
    /// Of the leader: log this.
    Forward(Command),
    /// Of the leader: replicate to me.
    Join {
        addr: Addr,
    },
    /// Of the leader: I am alive.
    Lease(Life),
    /// Of the leader: do not replicate to me any more, unless I vote.
    Leave,
}

/// A process of a node, as far as the list tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) boot: Boot,
    pub(crate) incarnation: Incarnation,
}

/// A piece of a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Chunk {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    pub(crate) total: u64,
    pub(crate) offset: u64,
    pub(crate) data: Bytes,
}

/// What another node answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Status(Status),
    /// To `Found`: what is accepted here, now or before.
    Accepted(Founding),
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    /// To `Snapshot`: go on with the next piece.
    More,
    Installed(SnapshotResponse<Types>),
    Transferred(TransferLeaderResponse<Types>),
    /// To `Forward`: done with this version of the list.
    Done(Version),
    Lease(Leased),
    /// To `Join` and `Leave`.
    Agreed,
    /// This node does not lead; perhaps it knows who does.
    NotLeader(Option<(NodeId, Addr)>),
    /// Not now: ask again.
    Later,
    Refused(String),
}

/// Whether a node belongs to a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Status {
    /// To none. If it becomes a founder, then one of these.
    Empty { founders: Vec<Addr> },
    /// To this one. A founder says what it accepted.
    Member { cluster: ClusterId, founding: Option<Founding> },
}

/// What the leader knows of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Leased {
    /// The list that the leader looked at.
    pub(crate) version: Version,
    /// How the node stands on it.
    pub(crate) listed: Option<Life>,
    /// Where the leader replicates to it, if it does.
    pub(crate) replicated: Option<String>,
}

/// Why there is no answer that is of use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("cannot be encoded or decoded")]
    Codec(#[from] postcard::Error),
    #[error("an answer to another question")]
    Unexpected,
    #[error("no leader is known")]
    NoLeader,
    #[error("refused: {0}")]
    Refused(String),
}

impl Envelope {
    pub(crate) fn encode(&self) -> Result<Bytes, postcard::Error> {
        encode(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        decode(bytes)
    }
}

impl Ask {
    /// Whether Raft itself asks: such questions have room of their own.
    pub(crate) fn is_raft(&self) -> bool {
        matches!(
            self,
            Ask::Append(_)
                | Ask::Vote(_)
                | Ask::PreVote(_)
                | Ask::Snapshot(_)
                | Ask::TransferLeader(_)
        )
    }

    /// Whether it is asked before the two nodes are of one cluster.
    pub(crate) fn is_for_strangers(&self) -> bool {
        matches!(self, Ask::Status | Ask::Found(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_or_too_long_is_an_error() {
        let question = Ask::Join { addr: "127.0.0.1:1".parse().unwrap() };
        let bytes = Envelope { cluster: Some(ClusterId(7)), question }.encode().unwrap();
        assert!(Envelope::decode(&bytes).is_ok());
        for end in 0..bytes.len() {
            assert!(Envelope::decode(&bytes[..end]).is_err());
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(Envelope::decode(&longer).is_err());
    }
}
