use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use dchan_core::{ErrorKind, FrameBatch, FrameStream, Received, TransportError};
use futures::{
    StreamExt,
    stream::{self, BoxStream, FuturesUnordered},
};
use quinn::{ConnectionError, ReadError, RecvStream};

use crate::{
    error,
    in_stream::{InStream, Reading},
    link::Link,
    unit::{Malformed, Unit},
};

/// From how many bytes on a call comes back with what it has.
const BATCH: usize = 256 * 1024;
/// How many bytes may wait for the rest of their frames, over all streams. A peer that begins more frames
/// than its own window lets it is cut off.
const PARTS: usize = 32 << 20;

/// The way in: all streams that the peer opens.
pub(crate) struct QuicStream {
    accepting: BoxStream<'static, Result<RecvStream, ConnectionError>>,
    streams: FuturesUnordered<Reading>,
    tally: Tally,
    /// How many bytes wait for the rest of their frames.
    parts: usize,
    /// What has gone wrong. What came before it is handed out first.
    failure: Option<Failure>,
    link: Arc<Link>,
}

/// How many streams the direction has had.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    ended: u64,
    /// All there will ever be, once the peer has said so.
    total: Option<u64>,
}

enum Failure {
    Lost(ConnectionError),
    Read(ReadError),
    Malformed(Malformed),
    /// The direction ended without saying how many streams it had: its sink was dropped.
    Unfinished,
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl QuicStream {
    pub(crate) fn new(link: Arc<Link>, first: Option<RecvStream>) -> Self {
        let accepting = stream::unfold(link.connection.clone(), |connection| async {
            Some((connection.accept_uni().await, connection))
        });
        let mut this = Self {
            accepting: accepting.boxed(),
            streams: FuturesUnordered::new(),
            tally: Tally::default(),
            parts: 0,
            failure: None,
            link,
        };
        first.into_iter().for_each(|first| this.on_accepted(first));
        this
    }

    fn on_accepted(&mut self, stream: RecvStream) {
        // Streams come in the order in which they were opened.
        let first = self.tally.accepted == 0;
        self.streams.push(Reading::new(InStream::new(stream, first)));
        self.tally.accepted += 1;
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut FrameBatch,
    ) -> Poll<Result<Received, TransportError>> {
        let before = batch.len();
        self.read_all(cx, batch);
        if batch.len() > before {
            return Poll::Ready(Ok(Received::Frames));
        }
        if self.tally.is_over() {
            self.link.seen_all();
            return Poll::Ready(Ok(Received::End));
        }
        match &self.failure {
            Some(failure) => Poll::Ready(Err(failure.as_error(&self.link))),
            None => Poll::Pending,
        }
    }

    /// Reads what is there, up to a batch.
    fn read_all(&mut self, cx: &mut Context<'_>, batch: &mut FrameBatch) {
        while batch.bytes() < BATCH {
            if let Poll::Ready(Some(accepted)) = self.accepting.poll_next_unpin(cx) {
                match accepted {
                    Ok(stream) => self.on_accepted(stream),
                    // What came before can still be read.
                    Err(lost) => {
                        self.accepting = stream::pending().boxed();
                        self.failure.get_or_insert(Failure::Lost(lost));
                    }
                }
            } else if let Poll::Ready(Some((stream, read))) = self.streams.poll_next_unpin(cx) {
                if let Err(failure) = self.on_read(stream, read, batch) {
                    self.failure.get_or_insert(failure);
                }
            } else {
                return;
            }
        }
    }

    /// Takes frames out of what was read.
    fn on_read(
        &mut self,
        mut stream: InStream,
        read: Result<bool, ReadError>,
        batch: &mut FrameBatch,
    ) -> Result<(), Failure> {
        let more = read.map_err(|error| match error {
            ReadError::ConnectionLost(lost) => Failure::Lost(lost),
            error => Failure::Read(error),
        })?;
        if !more {
            return self.on_end(&stream);
        }
        while let Some(unit) = stream.next()? {
            match unit {
                Unit::Frame(frame) => batch.push(frame),
                Unit::Ready => {}
                Unit::End(total) => self.tally.total = Some(total),
            }
        }
        let (before, now) = stream.recount();
        self.parts = self.parts - before + now;
        if self.parts > PARTS {
            return Err(Failure::Malformed(Malformed("too many frames were begun")));
        }
        self.streams.push(Reading::new(stream));
        Ok(())
    }

    fn on_end(&mut self, stream: &InStream) -> Result<(), Failure> {
        self.tally.ended += 1;
        if stream.waiting() > 0 || stream.is_first() && self.tally.total.is_none() {
            return Err(Failure::Unfinished);
        }
        Ok(())
    }
}

impl Tally {
    /// Whether everything has come. A total that is not so never comes true.
    fn is_over(&self) -> bool {
        self.total.is_some_and(|total| total == self.accepted && total == self.ended)
    }
}

impl Failure {
    fn as_error(&self, link: &Link) -> TransportError {
        let error = |kind| TransportError::new(kind, "receive from", &link.peer);
        match self {
            Self::Lost(lost) => error::connection("receive from", &link.peer, lost.clone()),
            Self::Read(read) => error(ErrorKind::Broken).because(read.clone()),
            Self::Malformed(malformed) => error(ErrorKind::Protocol).because(*malformed),
            Self::Unfinished => error(ErrorKind::Broken).because("the peer gave its end up"),
        }
    }
}

#[async_trait]
impl FrameStream for QuicStream {
    async fn recv(&mut self, batch: &mut FrameBatch) -> Result<Received, TransportError> {
        poll_fn(|cx| self.poll_recv(cx, batch)).await
    }
}

impl fmt::Debug for QuicStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicStream").field("peer", &self.link.peer).finish_non_exhaustive()
    }
}
