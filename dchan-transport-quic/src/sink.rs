use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use dchan_core::{ErrorKind, Frame, FrameBatch, FrameSink, LaneId, TransportError};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quinn::{StoppedError, StreamId, VarInt, WriteError};

use crate::{
    error,
    link::{Fixed, Link},
    out_stream::OutStream,
    tuning::{RESERVE, SEND_WINDOW},
    unit,
};

/// How much is taken from batches for lanes that turn out to be blocked, in bytes. It is the rest of one
/// frame for each of them.
const BLOCKED: usize = 8 << 20;

/// The way out: a stream for each lane.
pub(crate) struct QuicSink {
    link: Arc<Link>,
    control: OutStream,
    requests: OutStream,
    streams: HashMap<StreamId, OutStream>,
    /// For the lanes that came when no more streams were to be had.
    common: StreamId,
    lanes: HashMap<LaneId, StreamId>,
    /// Streams with something that could not be written, oldest first.
    blocked: VecDeque<StreamId>,
    blocked_bytes: usize,
    /// Streams that are finished, and not yet acknowledged.
    finished: FuturesUnordered<Acknowledged>,
    /// How many streams there have been.
    opened: u64,
}

type Acknowledged = BoxFuture<'static, Result<Option<VarInt>, StoppedError>>;

impl QuicSink {
    pub(crate) fn new(link: Arc<Link>, fixed: Fixed) -> Self {
        let Fixed { control, requests, common } = fixed;
        let mut control = OutStream::new(control);
        control.push(unit::ready());
        let common = OutStream::new(common);
        let id = common.id();
        Self {
            link,
            control,
            requests: OutStream::new(requests),
            streams: HashMap::from([(id, common)]),
            common: id,
            lanes: HashMap::new(),
            blocked: VecDeque::new(),
            blocked_bytes: 0,
            finished: FuturesUnordered::new(),
            opened: 3,
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut FrameBatch,
    ) -> Poll<Result<(), WriteError>> {
        if batch.is_empty() {
            return self.poll_drained(cx);
        }
        self.write_blocked(cx)?;
        let before = batch.len();
        while let Some(frame) = batch.take_where(|frame| self.takes(frame.lane)) {
            self.put(cx, frame)?;
        }
        if batch.len() < before { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Whether a frame of that lane can go now, or at least its beginning.
    fn takes(&self, lane: LaneId) -> bool {
        match lane {
            LaneId::CONTROL => self.control.is_drained(),
            LaneId::REQUESTS => self.requests.is_drained(),
            lane => {
                let stream = self.lanes.get(&lane).and_then(|id| self.streams.get(id));
                self.blocked_bytes < BLOCKED && stream.is_none_or(OutStream::is_drained)
            }
        }
    }

    fn put(&mut self, cx: &mut Context<'_>, frame: Frame) -> Result<(), WriteError> {
        let (lane, last) = (frame.lane, frame.last);
        match lane {
            LaneId::CONTROL => self.control.push_frame(frame),
            LaneId::REQUESTS => self.requests.push_frame(frame),
            lane => {
                let id = self.stream_of(lane);
                let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
                stream.push_frame(frame);
                if last {
                    self.lanes.remove(&lane);
                    stream.finish_when_drained(id != self.common);
                }
                return self.write(cx, id);
            }
        }
        self.write_reserved(cx)
    }

    /// The stream of a lane: one of its own, if there is one to be had.
    fn stream_of(&mut self, lane: LaneId) -> StreamId {
        if let Some(id) = self.lanes.get(&lane) {
            return *id;
        }
        // An error means that the connection is over: whoever writes will hear of it.
        let opened = self.link.connection.open_uni().now_or_never().and_then(Result::ok);
        let id = opened.map_or(self.common, |stream| {
            let stream = OutStream::new(stream);
            let id = stream.id();
            self.streams.insert(id, stream);
            self.opened += 1;
            id
        });
        self.lanes.insert(lane, id);
        id
    }

    /// Writes what could not be written before.
    fn write_blocked(&mut self, cx: &mut Context<'_>) -> Result<(), WriteError> {
        // Who is acknowledged needs no watching any more.
        while let Poll::Ready(Some(_)) = self.finished.poll_next_unpin(cx) {}
        self.write_reserved(cx)?;
        self.blocked_bytes = 0;
        // Each is asked, also after an error: a stream that is blocked stays in the list.
        std::mem::take(&mut self.blocked)
            .into_iter()
            .map(|id| self.write(cx, id))
            .fold(Ok(()), Result::and)
    }

    /// Writes to a stream, and notes if it is blocked.
    fn write(&mut self, cx: &mut Context<'_>, id: StreamId) -> Result<(), WriteError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let written = stream.poll_write(cx);
        if !stream.is_drained() {
            self.blocked_bytes += stream.waiting();
            self.blocked.push_back(id);
        }
        if let Poll::Ready(Err(error)) = written {
            return Err(error);
        }
        if stream.is_finished()
            && let Some(stream) = self.streams.remove(&id)
        {
            self.finished.push(stream.acknowledged().boxed());
        }
        Ok(())
    }

    /// Writes to the streams that have a reserve. QUIC's bound on what is not acknowledged is one for all
    /// streams: only these two go beyond it.
    fn write_reserved(&mut self, cx: &mut Context<'_>) -> Result<(), WriteError> {
        let connection = &self.link.connection;
        for (stream, reserve) in [(&mut self.control, 2 * RESERVE), (&mut self.requests, RESERVE)] {
            if stream.poll_write(cx)?.is_pending() {
                connection.set_send_window(SEND_WINDOW + reserve);
                let written = stream.poll_write(cx);
                connection.set_send_window(SEND_WINDOW);
                // If it is pending still, it wakes the task.
                let _ = written?;
            }
        }
        Ok(())
    }

    /// Whether QUIC has everything that was taken.
    fn is_drained(&self) -> bool {
        self.control.is_drained() && self.requests.is_drained() && self.blocked.is_empty()
    }

    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.write_blocked(cx)?;
        if self.is_drained() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Finishes all streams, and waits until the peer has them.
    async fn finish(&mut self) -> Result<(), TransportError> {
        let link = self.link.clone();
        let error = |error| error::write("close to", &link.peer, error);
        poll_fn(|cx| self.poll_drained(cx)).await.map_err(error)?;
        self.control.push(unit::end(self.opened));
        poll_fn(|cx| self.poll_drained(cx)).await.map_err(error)?;
        for stream in self.streams.values_mut().chain([&mut self.control, &mut self.requests]) {
            stream.finish_when_drained(true);
            self.finished.push(stream.acknowledged().boxed());
        }
        poll_fn(|cx| {
            while let Some(done) = ready!(self.finished.poll_next_unpin(cx)) {
                error::stopped("close to", &link.peer, done)?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

#[async_trait]
impl FrameSink for QuicSink {
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
        if batch.iter().any(|frame| frame.payload.len() > Frame::MAX) {
            return Err(TransportError::new(ErrorKind::Protocol, "send to", &self.link.peer));
        }
        let sent = poll_fn(|cx| self.poll_send(cx, batch)).await;
        sent.map_err(|error| error::write("send to", &self.link.peer, error))
    }

    fn is_flushed(&self) -> bool {
        self.is_drained()
    }

    async fn close(mut self: Box<Self>) -> Result<(), TransportError> {
        self.finish().await?;
        self.link.sent_all();
        Ok(())
    }
}

impl fmt::Debug for QuicSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicSink").field("peer", &self.link.peer).finish_non_exhaustive()
    }
}
