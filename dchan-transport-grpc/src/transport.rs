use async_trait::async_trait;
use dchan_core::{Addr, Connection, ErrorKind, Listener, Transport, TransportError, tls::Tls};

use crate::{dial, error, listen};

/// Carries frames over gRPC, one call for each pair of nodes.
///
/// The worst case in memory is about 5 MiB a connection: the window of 4 MiB that a peer may fill while
/// nobody reads, and a message that is not whole. What is sent is not copied: until it is written, at most
/// 512 KiB are held that lanes hold anyway.
#[derive(Clone, Debug, Default)]
pub struct GrpcTransport {
    tls: Option<Tls>,
    insecure: bool,
}

impl GrpcTransport {
    /// A transport without certificates. It listens at and dials loopback addresses only, in plain text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Encrypts everything; both sides show their certificates.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Allows plain text on any address: whoever can reach it, or stands between, can read and send
    /// everything. With certificates it means nothing.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }
}

#[async_trait]
impl Transport for GrpcTransport {
    fn name(&self) -> &'static str {
        "grpc"
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError> {
        self.is_allowed("listen at", at)?;
        listen::listen(at, self.tls.clone()).await
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        self.is_allowed("dial", to)?;
        dial::dial(to, self.tls.as_ref()).await.map_err(error::never_stood)
    }
}

impl GrpcTransport {
    /// Plain text stays on this machine.
    fn is_allowed(&self, operation: &'static str, addr: &Addr) -> Result<(), TransportError> {
        if self.tls.is_some() || self.insecure || addr.is_loopback() {
            return Ok(());
        }
        Err(TransportError::new(ErrorKind::Refused, operation, addr).because(
            "plain text is for loopback addresses: give GrpcTransport::tls() the cluster's authority \
             and a certificate for this node, or allow plain text with GrpcTransport::insecure()",
        ))
    }
}
