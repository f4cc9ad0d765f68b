use std::{
    io, mem,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use dchan_core::{
    Addr, ErrorKind, Identity, TransportError,
    tls::{Tls, identity_of},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::error;

/// How many bytes are read at once at most, before what has arrived is worked on: HTTP/2 would go on
/// until its window is full, and caches are smaller.
const AT_ONCE: usize = 256 * 1024;
/// What HTTP/2 is called in the handshake of TLS.
const PROTOCOL: &[u8] = b"h2";
/// The first byte of what TLS sends at first.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// A socket that is ready for HTTP/2.
pub(crate) struct Secured {
    pub(crate) socket: Socket,
    /// Who the peer has proved to be.
    pub(crate) identity: Option<Identity>,
    pub(crate) clue: Clue,
}

pub(crate) type Socket = Box<dyn Io>;

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
    Ok(Secured::new(socket, identity, false))
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
    Ok(Secured::new(socket, identity, false))
}

/// Plain text.
pub(crate) fn plain(socket: TcpStream) -> Secured {
    Secured::new(socket, None, true)
}

impl Secured {
    fn new(socket: impl Io + 'static, identity: Option<Identity>, plain: bool) -> Self {
        let clue = Clue::default();
        let socket = Noting { socket, at_first: plain, read: 0, clue: clue.clone() };
        Self { socket: Box::new(socket), identity, clue }
    }
}

/// Why a socket was of no use, if it can tell. HTTP/2 keeps no more of it than some words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clue(Arc<OnceLock<String>>);

impl Clue {
    /// Says what is behind an error of HTTP/2, if it is known.
    pub(crate) fn explain(&self, error: TransportError) -> TransportError {
        match self.0.get() {
            Some(why) => TransportError::new(ErrorKind::Refused, error.operation, &error.peer)
                .because(why.clone()),
            None => error,
        }
    }
}

/// A socket that notes what speaks for a refusal.
struct Noting<S> {
    socket: S,
    /// Whether the next bytes are the first ones of a plain socket.
    at_first: bool,
    /// How much was read without a break.
    read: usize,
    clue: Clue,
}

impl<S: Io> AsyncRead for Noting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.read >= AT_ONCE {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(read) = Pin::new(&mut self.socket).poll_read(cx, buffer) else {
            self.read = 0;
            return Poll::Pending;
        };
        self.read += buffer.filled().len() - before;
        let why = match &read {
            Err(error) => error::refusal(error),
            Ok(()) if mem::take(&mut self.at_first) => {
                let first = buffer.filled().get(before);
                let tls = first.is_some_and(|first| [ALERT, HANDSHAKE].contains(first));
                tls.then(|| "the peer speaks TLS, and this node has no certificate".to_owned())
            }
            Ok(()) => None,
        };
        if let Some(why) = why {
            // The first one counts.
            let _known = self.clue.0.set(why);
        }
        Poll::Ready(read)
    }
}

impl<S: Io> AsyncWrite for Noting<S> {
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
