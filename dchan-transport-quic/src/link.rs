use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use dchan_core::{Addr, Connection, ErrorKind, FrameBatch, FrameSink, Identity, TransportError};
use futures::FutureExt;
use quinn::{RecvStream, SendStream};

use crate::{
    error::{self, ABORTED, DONE},
    sink::QuicSink,
    socket::Socket,
    stream::QuicStream,
};

/// A connection, as both of its halves hold it. With the last of them it ends.
pub(crate) struct Link {
    pub(crate) connection: quinn::Connection,
    pub(crate) peer: Addr,
    sent_all: AtomicBool,
    seen_all: AtomicBool,
    /// What the connection's packets go through, for as long as it stands.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is held, not read"))]
    pub(crate) socket: Arc<Socket>,
}

/// The streams that each direction has from the beginning.
pub(crate) struct Fixed {
    /// The first stream of its direction: the control lane, and what is said of the direction itself.
    pub(crate) control: SendStream,
    /// The lane of requests.
    pub(crate) requests: SendStream,
    /// For the lanes that cannot have a stream of their own.
    pub(crate) common: SendStream,
}

impl Link {
    pub(crate) fn new(connection: quinn::Connection, peer: Addr, socket: Arc<Socket>) -> Arc<Self> {
        let (sent_all, seen_all) = Default::default();
        Arc::new(Self { connection, peer, sent_all, seen_all, socket })
    }

    /// Opens the streams that are there from the beginning. A peer of our kind has room for them.
    fn open(&self, operation: &'static str) -> Result<Fixed, TransportError> {
        let open = || match self.connection.open_uni().now_or_never() {
            Some(Ok(opened)) => Ok(opened),
            Some(Err(over)) => Err(error::connection(operation, &self.peer, over)),
            None => Err(TransportError::new(ErrorKind::Protocol, operation, &self.peer)
                .because("the peer has no room for the first streams")),
        };
        let (control, requests, common) = (open()?, open()?, open()?);
        // A stream that was just opened is not closed.
        let _ = (control.set_priority(2), requests.set_priority(1));
        Ok(Fixed { control, requests, common })
    }

    /// Puts the halves together, and lets the peer know that it was let in. `first`: the peer's first
    /// stream, if it is here already.
    pub(crate) async fn stand(
        self: Arc<Self>,
        operation: &'static str,
        first: Option<RecvStream>,
        identity: Option<Identity>,
    ) -> Result<Connection, TransportError> {
        let fixed = self.open(operation)?;
        let (peer, stream) = (self.peer.clone(), QuicStream::new(self.clone(), first));
        let mut sink = QuicSink::new(self, fixed);
        sink.send(&mut FrameBatch::new()).await?;
        let connection = Connection::new(sink, stream, peer);
        Ok(match identity {
            Some(identity) => connection.with_identity(identity),
            None => connection,
        })
    }

    /// Everything that this side has sent is acknowledged, the end too.
    pub(crate) fn sent_all(&self) {
        self.sent_all.store(true, Relaxed);
    }

    /// Everything that the peer has sent has been read, the end too.
    pub(crate) fn seen_all(&self) {
        self.seen_all.store(true, Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let done = *self.sent_all.get_mut() && *self.seen_all.get_mut();
        let (code, reason) = if done { (DONE, &b"done"[..]) } else { (ABORTED, &b"aborted"[..]) };
        self.connection.close(code, reason);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("peer", &self.peer).finish_non_exhaustive()
    }
}
