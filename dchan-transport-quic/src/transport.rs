use std::sync::Arc;

use async_trait::async_trait;
use dchan_core::{Addr, Connection, Listener, Transport, TransportError, tls::Tls};

use crate::{dial, error, listen, security::Security, socket::Sockets};

/// Carries frames over QUIC, one connection for each pair of nodes.
///
/// Each side may open 1,024 streams at one time. Lanes beyond share one, and then wait for each other.
/// The worst case in memory is about 60 MiB a connection: 12 MiB that a peer has sent and nobody reads, 32
/// MiB of frames that it has begun on all its streams, and 16 MiB on the sending side. What a peer needs
/// that reads, and whose frames are whole, is a small part of it.
///
/// # Endings
///
/// A connection that has ended drains, as QUIC says: its socket and two tasks stay for three probe
/// timeouts more. That is less than a second, and up to 3 s if it was given up before a round trip was
/// measured. One whose peer fell silent without a word ends after 12 s.
///
/// # Addresses
///
/// A connection that a listener gave keeps using the listener's socket after that is dropped. This
/// transport can listen there again at once; other transports and processes once those connections have
/// ended. An address that is taken is tried for one second more, as connections need a moment to end.
#[derive(Clone, Debug, Default)]
pub struct QuicTransport {
    security: Security,
    sockets: Arc<Sockets>,
}

impl QuicTransport {
    /// A transport without certificates. It listens at and dials loopback addresses only, with a key that
    /// is made for the occasion: QUIC always encrypts, but here nobody proves who they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// Both sides show their certificates.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.security.own(tls);
        self
    }

    /// Allows any address without certificates: whoever can reach it, or stands between, can read and
    /// send everything. With certificates it means nothing.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.security.insecure();
        self
    }
}

#[async_trait]
impl Transport for QuicTransport {
    fn name(&self) -> &'static str {
        "quic"
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError> {
        listen::listen(at, &self.sockets, self.security.clone()).await
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        dial::dial(to, &self.security).await.map_err(error::never_stood)
    }
}
