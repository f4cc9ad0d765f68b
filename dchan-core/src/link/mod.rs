//! One connection to one peer: the parts of it that are pure, and the tasks that carry it.

mod backoff;
mod beats;
mod driven;
mod flow;
mod handshake;
mod liveness;
mod outbox;
mod session;
mod turns;

pub(crate) use backoff::Backoff;
pub(crate) use driven::{Drive, Driven};
pub(crate) use handshake::{Introduction, Rank, Ranks, expect_hello, greet, refuse, welcome};
pub(crate) use liveness::Verdict;
pub(crate) use outbox::{Full, Outbox, Polled, ReadyLane};
pub(crate) use session::{Cut, Endpoint, Session, Side};

use crate::{Breach, LaneId, lane::LaneFault, wire::WireError};

/// A peer broke the protocol: of which kind that is, and what it did, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer broke the protocol: {what}")]
pub(crate) struct ProtocolError {
    pub(crate) kind: Breach,
    what: String,
}

impl ProtocolError {
    pub(crate) fn new(kind: Breach, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    /// What was said in a lane, or of it.
    pub(crate) fn in_lane(id: LaneId, fault: &LaneFault) -> Self {
        Self::new(fault.breach(), format!("lane {id}: {fault}"))
    }
}

impl From<WireError> for ProtocolError {
    fn from(error: WireError) -> Self {
        Self::new(error.breach(), error.to_string())
    }
}
