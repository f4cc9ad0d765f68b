use std::{fmt, ops::Deref, time::Duration};

use dchan_core::ShutdownError;

use crate::Builder;

/// A node of a cluster. Cheap to clone.
///
/// It lives until [`shutdown`](Self::shutdown), or until the last clone and the last sender and receiver
/// that it opened are gone: that is an abrupt stop, which says nothing to anybody. Everything else that a
/// node does is in [`dchan_core::Node`], to which this one derefs:
/// [`receiver`](dchan_core::Node::receiver), [`sender`](dchan_core::Node::sender),
/// [`ledger`](dchan_core::Node::ledger),
/// [`health`](dchan_core::Node::health), [`metrics`](dchan_core::Node::metrics), [`view`](dchan_core::Node::view), [`addr`](dchan_core::Node::addr)
/// and others.
#[derive(Clone)]
pub struct Node(dchan_core::Node);

impl Node {
    /// A node to be started, which listens at `host:port`. Port 0 asks for a free port.
    pub fn builder(listen: impl ToString) -> Builder {
        Builder::new(listen.to_string())
    }

    pub(crate) fn new(node: dchan_core::Node) -> Self {
        Self(node)
    }

    /// Stops the node in good order, within 10 s: receivers hand back what is not taken, senders deliver
    /// what was accepted, the node leaves the list, says goodbye to its peers and ends all its tasks.
    /// Senders and receivers that are left fail from now on.
    ///
    /// # Errors
    ///
    /// See [`ShutdownError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the node abruptly.
    pub async fn shutdown(self) -> Result<(), ShutdownError> {
        self.0.shutdown().await
    }

    /// As [`shutdown`](Self::shutdown), within a time of one's own.
    ///
    /// # Errors
    ///
    /// See [`ShutdownError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the node abruptly.
    pub async fn shutdown_within(self, time: Duration) -> Result<(), ShutdownError> {
        self.0.shutdown_within(time).await
    }
}

impl Deref for Node {
    type Target = dchan_core::Node;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
