use async_trait::async_trait;
use dchan_core::{Addr, Connection, ErrorKind, Listener, Transport, TransportError};

use crate::{dial, listen};

/// How much a peer may send before this side has read it, in bytes: on a stream, and on a connection.
/// Small windows stall: a round trip passes before more may come.
pub(crate) const STREAM_WINDOW: u32 = 4 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 8 << 20;
/// How large a piece of HTTP/2 is, in bytes: room for a whole message as a rule. The default of 16 KiB
/// costs a third of the throughput.
pub(crate) const MAX_FRAME_SIZE: u32 = 256 * 1024;
/// How much HTTP/2 holds back on the sending side, in bytes.
pub(crate) const SEND_BUFFER: usize = 256 * 1024;

/// Carries frames over gRPC, one call for each pair of nodes.
///
/// The worst case in memory is about 6 MiB a connection: the window of 4 MiB that a peer may fill while
/// nobody reads, and 1 MiB on the sending side.
#[derive(Clone, Debug, Default)]
pub struct GrpcTransport {
    insecure: bool,
}

impl GrpcTransport {
    /// A transport that listens on loopback addresses only, as it has no encryption yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows plain text on any address: whoever can reach it can read and send everything.
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
        if !self.insecure && !at.is_loopback() {
            let refused = TransportError::new(ErrorKind::Refused, "listen at", at);
            return Err(refused.because(
                "plain text is for loopback addresses: listen at 127.0.0.1, or allow plain text on \
                 any address with GrpcTransport::insecure() (TLS is not available yet)",
            ));
        }
        listen::listen(at).await
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        dial::dial(to).await.map_err(crate::error::never_stood)
    }
}
