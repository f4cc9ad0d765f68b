//! Question and answer between nodes, over the links that messages use too: the road that Raft takes.
//!
//! [`Requests`] is a handle onto a bounded queue. The node's peers serve the queue over links; a test
//! can serve it with whatever it likes.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{Addr, Boot, ClusterId, ErrorKind, Incarnation, NodeId};

/// Asks other nodes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Requests {
    calls: mpsc::Sender<Call>,
}

/// What a node said of itself when the link to it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its id.
    pub id: NodeId,
    /// Its process.
    pub boot: Boot,
    /// Which of its lives it is in.
    pub incarnation: Incarnation,
    /// Where it can be reached.
    pub addr: Addr,
    /// The cluster that it belongs to, if it knows of one.
    pub cluster: Option<ClusterId>,
}

/// One thing that a node wants of another.
#[derive(Debug)]
pub enum Call {
    /// Finding out who is at an address.
    Identify(Identify),
    /// A question to a node.
    Ask(Ask),
}

/// Finding out who is at an address.
#[derive(Debug)]
pub struct Identify {
    /// The address.
    pub at: Addr,
    /// When nobody waits any more.
    pub deadline: Instant,
    /// Where the result goes.
    pub reply: oneshot::Sender<Result<PeerInfo, RequestError>>,
}

/// A question to a node.
#[derive(Debug)]
pub struct Ask {
    /// The node.
    pub to: NodeId,
    /// Where it can be reached if there is no link to it.
    pub at: Addr,
    /// The question.
    pub body: Bytes,
    /// When nobody waits any more.
    pub deadline: Instant,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Bytes, RequestError>>,
}

/// A question that another node asks.
#[derive(Debug)]
pub struct Question {
    /// Who asks.
    pub from: NodeId,
    /// The question.
    pub body: Bytes,
    /// Where the answer goes. Dropping it tells the asker that there will be none.
    pub reply: oneshot::Sender<Bytes>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No link could be made in time. The question was not asked.
    #[error("cannot reach {at}: {kind}: {reason}")]
    Unreachable {
        /// Where the node should be.
        at: Addr,
        /// What kind of failure it was.
        kind: ErrorKind,
        /// The failure in words.
        reason: String,
    },
    /// There is another node at that address.
    #[error("expected node {expected} at {at}, found {found}")]
    OtherNode {
        /// The address.
        at: Addr,
        /// Who was expected there.
        expected: NodeId,
        /// Who is there.
        found: NodeId,
    },
    /// The deadline passed. The question may have been asked.
    #[error("no answer in time")]
    TimedOut,
    /// The link broke. The question may have been asked.
    #[error("the link broke before the answer came")]
    Broken,
    /// The other node did not take the question, because it had too many.
    #[error("the other node has too many questions")]
    Busy,
    /// The question, or its answer, is larger than [`Requests::MAX`].
    #[error("a question or an answer of {len} bytes: expected at most {}", Requests::MAX)]
    TooLarge {
        /// Its length.
        len: usize,
    },
    /// This node is shutting down.
    #[error("this node has stopped")]
    Stopped,
}

impl Requests {
    /// The largest question or answer, in bytes.
    pub const MAX: usize = 4 << 20;

    /// A handle, and the end that serves it. At most `queue` calls wait there.
    pub fn channel(queue: usize) -> (Self, mpsc::Receiver<Call>) {
        let (calls, served) = mpsc::channel(queue);
        (Self { calls }, served)
    }

    /// Finds out who is at an address, by making a link if there is none.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe. A link that was being made may still come to be.
    pub async fn identify(&self, at: &Addr, within: Duration) -> Result<PeerInfo, RequestError> {
        let at = at.clone();
        self.call(within, |deadline, reply| Call::Identify(Identify { at, deadline, reply })).await
    }

    /// Asks `to`, which should be reachable at `at`, and waits for its answer.
    ///
    /// # Errors
    ///
    /// After [`RequestError::TimedOut`] and [`RequestError::Broken`] the question may have been asked:
    /// it is for the caller to know whether it may be repeated.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the answer. The question may have been asked.
    pub async fn ask(
        &self,
        to: NodeId,
        at: &Addr,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, RequestError> {
        if body.len() > Self::MAX {
            return Err(RequestError::TooLarge { len: body.len() });
        }
        let at = at.clone();
        self.call(within, |deadline, reply| Call::Ask(Ask { to, at, body, deadline, reply })).await
    }

    async fn call<T>(
        &self,
        within: Duration,
        call: impl FnOnce(Instant, oneshot::Sender<Result<T, RequestError>>) -> Call,
    ) -> Result<T, RequestError> {
        let deadline = Instant::now() + within;
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.calls.send(call(deadline, reply)).await.map_err(|_| RequestError::Stopped)?;
            answer.await.map_err(|_| RequestError::Stopped)?
        };
        timeout_at(deadline, asked).await.map_err(|_| RequestError::TimedOut)?
    }
}
