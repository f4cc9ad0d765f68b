//! One connection to one peer: the parts of it that are pure, and the two tasks that carry it.

mod backoff;
mod flow;
mod handshake;
mod liveness;
mod outbox;
mod session;

pub(crate) use backoff::Backoff;
pub(crate) use handshake::{Introduction, Rank, Ranks, expect_hello, greet, refuse, welcome};
pub(crate) use liveness::Verdict;
pub(crate) use outbox::{Outbox, Polled, ReadyLane};
pub(crate) use session::{Cut, Endpoint, Session, Side};

/// A peer broke the protocol: what it did, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer broke the protocol: {0}")]
pub(crate) struct ProtocolError(pub(crate) String);

impl From<crate::wire::WireError> for ProtocolError {
    fn from(error: crate::wire::WireError) -> Self {
        Self(error.to_string())
    }
}
