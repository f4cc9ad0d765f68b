use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI16, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use dchan_core::{Addr, ErrorKind, Identity, TransportError};
use dchan_tls::{Tls, identity_of};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::error;

/// What HTTP/2 is called in the handshake of TLS.
const PROTOCOL: &[u8] = b"h2";

/// A socket that is ready for HTTP/2.
pub(crate) struct Secured {
    pub(crate) socket: Box<dyn Io>,
    /// Who the peer has proved to be.
    pub(crate) identity: Option<Identity>,
    pub(crate) first: First,
}

/// What HTTP/2 needs of a socket.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The dialler's part of the handshake. Whether the peer accepts our certificate shows later.
pub(crate) async fn client(
    socket: TcpStream,
    to: &Addr,
    tls: &Tls,
) -> Result<Secured, TransportError> {
    let name = ServerName::try_from(to.host().to_owned())
        .map_err(|error| TransportError::new(ErrorKind::Address, "dial", to).because(error))?;
    let connector = TlsConnector::from(Arc::new(tls.client(PROTOCOL)));
    let socket = connector.connect(name, socket).await;
    let socket = socket.map_err(|error| error::tls("dial", to, error))?;
    let identity = socket.get_ref().1.peer_certificates().and_then(identity_of);
    Ok(Secured { socket: Box::new(socket), identity, first: First::default() })
}

/// The listener's part of the handshake.
pub(crate) async fn server(
    socket: TcpStream,
    peer: &Addr,
    tls: &Tls,
) -> Result<Secured, TransportError> {
    let accepted = TlsAcceptor::from(Arc::new(tls.server(PROTOCOL))).accept(socket).await;
    let socket = accepted.map_err(|error| error::tls("accept from", peer, error))?;
    let identity = socket.get_ref().1.peer_certificates().and_then(identity_of);
    Ok(Secured { socket: Box::new(socket), identity, first: First::default() })
}

/// Plain text.
pub(crate) fn plain(socket: TcpStream) -> Secured {
    let first = First::default();
    let socket = Noting { socket, first: first.clone() };
    Secured { socket: Box::new(socket), identity: None, first }
}

/// The first byte that came over a plain socket: from a peer that speaks TLS, it tells so.
#[derive(Clone, Debug)]
pub(crate) struct First(Arc<AtomicI16>);

impl Default for First {
    fn default() -> Self {
        Self(Arc::new((-1).into()))
    }
}

impl First {
    /// Says what is behind an error of HTTP/2, if it is this.
    pub(crate) fn explain(&self, error: TransportError) -> TransportError {
        const ALERT: i16 = 21;
        const HANDSHAKE: i16 = 22;
        match self.0.load(Relaxed) {
            ALERT | HANDSHAKE => {
                TransportError::new(ErrorKind::Refused, error.operation, &error.peer)
                    .because("the peer speaks TLS, and this node has no certificate")
            }
            _ => error,
        }
    }
}

/// A socket that notes its first byte.
struct Noting {
    socket: TcpStream,
    first: First,
}

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if let Some(byte) = buffer.filled().get(before) {
            // Only the first of them all.
            let _not_first = self.first.0.compare_exchange(-1, i16::from(*byte), Relaxed, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
