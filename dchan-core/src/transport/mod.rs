//! The seam to the network: what a transport must do, and nothing that core can do for it.
//!
//! The rules are numbered in `docs/contract.md`; the conformance suite checks each of them.

mod addr;
mod error;
mod frame;

use std::{fmt::Debug, future::Future, net::IpAddr, pin::Pin};

use async_trait::async_trait;
use bytes::Bytes;

pub use addr::{Addr, AddrError};
pub use error::{ErrorKind, TransportError};
pub use frame::{Frame, FrameBatch};

/// Carries frames between two processes.
///
/// The contract in one sentence: *frames of one lane arrive in order, whole and at most once, or the
/// connection is reported broken.* Nothing is promised across lanes. Everything else (handshake,
/// credit, retries, reconnection, limits) is core's.
#[async_trait]
pub trait Transport: Debug + Send + Sync + 'static {
    /// What this transport is called. Peers compare it in their handshake, so that a cluster of mixed
    /// transports gets a clear error.
    fn name(&self) -> &'static str;

    /// Starts to listen. Port 0 asks for a free port: [`Listener::local_addr`] tells which.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no socket behind.
    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError>;

    /// Connects to a listener. Core bounds the time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up and leaves no socket behind.
    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError>;
}

/// Takes connections in. Dropping it stops listening; connections that it gave stay.
#[async_trait]
pub trait Listener: Debug + Send + 'static {
    /// Where it listens, with the port that was found for port 0.
    fn local_addr(&self) -> Addr;

    /// Waits for the next connection. An error means that the listener is dead; what goes wrong with
    /// one peer belongs into [`Incoming::ready`].
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: no connection is lost.
    async fn accept(&mut self) -> Result<Incoming, TransportError>;
}

/// A peer that has knocked.
#[non_exhaustive]
pub struct Incoming {
    /// Where it comes from, as the socket says.
    pub peer: Addr,
    /// The rest of the transport's own handshake (TLS, say). Core runs it in a task of its own, with a
    /// deadline: a peer that dawdles holds up no other.
    pub ready: Ready,
}

/// What finishes a transport's own handshake with a peer that has knocked.
pub type Ready = Pin<Box<dyn Future<Output = Result<Connection, TransportError>> + Send>>;

impl Incoming {
    /// A peer that has knocked.
    pub fn new(
        peer: Addr,
        ready: impl Future<Output = Result<Connection, TransportError>> + Send + 'static,
    ) -> Self {
        Self { peer, ready: Box::pin(ready) }
    }
}

impl Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Both directions of a connection. Dropping both halves aborts it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection {
    /// The way out.
    pub sink: Box<dyn FrameSink>,
    /// The way in.
    pub stream: Box<dyn FrameStream>,
    /// Where the peer is, as the socket says.
    pub peer: Addr,
    /// Who the peer is, if the transport itself has proved it.
    pub identity: Option<Identity>,
}

impl Connection {
    /// A connection whose transport proves nothing about the peer.
    pub fn new(sink: impl FrameSink, stream: impl FrameStream, peer: Addr) -> Self {
        Self { sink: Box::new(sink), stream: Box::new(stream), peer, identity: None }
    }

    /// Adds what the transport has proved about the peer.
    #[must_use]
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }
}

/// What a transport has proved about a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The names (DNS or IP) that the peer's certificate is for.
    pub names: Vec<String>,
    /// The peer's certificate, in DER.
    pub certificate: Bytes,
}

impl Identity {
    /// Whether the certificate is for that host: a DNS name, letter for letter but for case, or an IP
    /// address in any spelling. A name with an asterisk stands for itself only.
    pub fn is_for(&self, host: &str) -> bool {
        names_are_for(&self.names, host)
    }
}

/// See [`Identity::is_for`].
pub(crate) fn names_are_for(names: &[String], host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => names.iter().any(|name| name.parse() == Ok(ip)),
        Err(_) => names.iter().any(|name| name.eq_ignore_ascii_case(host)),
    }
}

/// The way out of a connection. One task owns it.
#[async_trait]
pub trait FrameSink: Debug + Send + 'static {
    /// Waits until a frame can go, then takes whole frames off the front of the batch. Frames of lanes
    /// that are blocked stay in the batch, in their order, while frames of other lanes go. An empty
    /// batch flushes: once it has returned, everything taken goes out without another call.
    ///
    /// # Errors
    ///
    /// The connection is broken: what it had taken may or may not have arrived.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: what has left the batch is the sink's to finish, what is in it was not sent.
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError>;

    /// Whether everything taken goes out without another call: then core does not flush. A sink that does not know
    /// need not say.
    fn is_flushed(&self) -> bool {
        false
    }

    /// Ends this direction: every frame taken reaches the peer before its stream ends. Keep the
    /// connection's [`FrameStream`] until it has ended too: dropping it earlier aborts the connection,
    /// and frames on their way may be lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the connection: frames may be lost.
    async fn close(self: Box<Self>) -> Result<(), TransportError>;
}

/// The way in of a connection. One task owns it, and keeps calling it for as long as it lives.
#[async_trait]
pub trait FrameStream: Debug + Send + 'static {
    /// Waits for frames and appends them to the batch.
    ///
    /// # Errors
    ///
    /// The connection is broken, or the peer sent what is no frame ([`ErrorKind::Protocol`]).
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: no frame is lost.
    async fn recv(&mut self, batch: &mut FrameBatch) -> Result<Received, TransportError>;
}

/// What [`FrameStream::recv`] came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// At least one frame was appended.
    Frames,
    /// The peer's direction has ended. This is no proof of a graceful close: only core's `Bye` is.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_for_its_names_only() {
        let names = ["Node-1.shop", "10.0.0.1", "2001:db8::1", "*.shop"].map(String::from).to_vec();
        let identity = Identity { names, certificate: Bytes::new() };
        for host in ["node-1.shop", "10.0.0.1", "2001:0db8:0::0001"] {
            assert!(identity.is_for(host), "{host}");
        }
        for host in ["node-2.shop", "node-1", "10.0.0.10", "2001:db8::2", "shop", ""] {
            assert!(!identity.is_for(host), "{host}");
        }
    }
}
