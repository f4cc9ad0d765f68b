use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use dchan_core::{Frame, FrameBatch};
use futures::{Stream, task::AtomicWaker};
use tokio::sync::Notify;
use tonic::Status;

use crate::codec::Frames;

/// How many bytes of payload wait for HTTP/2 to take them, at most (and one frame more).
const QUEUE_BYTES: usize = 256 * 1024;
/// How many frames wait, at most.
const QUEUE_FRAMES: usize = Frames::MAX_FRAMES;
/// A message is complete from here on. It has at most one frame more: see [`Frames::MAX_BYTES`].
const MESSAGE_BYTES: usize = 128 * 1024;

/// What a sink has taken and HTTP/2 has not: bounded, which tonic's own buffers are not.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Wakes the HTTP/2 side: there is something to send.
    filled: AtomicWaker,
    /// Wakes the sink: there is room, or nobody takes anything any more.
    taken: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The sink has closed: the stream ends behind the last frame.
    closed: bool,
    /// The HTTP/2 side is through: at the end, or because the connection broke.
    over: bool,
}

/// The HTTP/2 side has ended: nothing more can be sent.
#[derive(Debug)]
pub(crate) struct Over;

impl Queue {
    /// A queue, and the stream of messages that comes out of it.
    pub(crate) fn new() -> (Arc<Self>, Outgoing) {
        let queue = Arc::new(Self::default());
        (queue.clone(), Outgoing { queue })
    }

    /// Takes frames, waiting for room for the first.
    pub(crate) async fn push(&self, batch: &mut FrameBatch) -> Result<(), Over> {
        loop {
            if self.try_push(batch)? {
                self.filled.wake();
                return Ok(());
            }
            self.taken.notified().await;
        }
    }

    fn try_push(&self, batch: &mut FrameBatch) -> Result<bool, Over> {
        let mut state = self.lock();
        if state.over {
            return Err(Over);
        }
        let mut pushed = false;
        while state.bytes < QUEUE_BYTES && state.frames.len() < QUEUE_FRAMES {
            let Some(frame) = batch.pop() else { break };
            state.bytes += frame.payload.len();
            state.frames.push_back(frame);
            pushed = true;
        }
        Ok(pushed)
    }

    /// Whether HTTP/2 still takes anything.
    pub(crate) fn check(&self) -> Result<(), Over> {
        if self.lock().over { Err(Over) } else { Ok(()) }
    }

    /// Waits until HTTP/2 has taken everything.
    async fn drained(&self) -> Result<(), Over> {
        loop {
            {
                let state = self.lock();
                match (state.frames.is_empty(), state.over) {
                    (true, _) => return Ok(()),
                    (false, true) => return Err(Over),
                    (false, false) => {}
                }
            }
            self.taken.notified().await;
        }
    }

    /// Ends the stream behind what has been pushed, and waits until HTTP/2 has taken all of it, the
    /// end too.
    pub(crate) async fn close(&self) -> Result<(), Over> {
        self.lock().closed = true;
        self.filled.wake();
        while !self.lock().over {
            self.taken.notified().await;
        }
        self.drained().await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The messages that come out of a [`Queue`].
#[derive(Debug)]
pub(crate) struct Outgoing {
    queue: Arc<Queue>,
}

impl Outgoing {
    fn next(&self) -> Poll<Option<Frames>> {
        let mut state = self.queue.lock();
        if state.frames.is_empty() {
            state.over |= state.closed;
            return if state.closed { Poll::Ready(None) } else { Poll::Pending };
        }
        let mut frames = Vec::with_capacity(state.frames.len());
        let mut bytes = 0;
        while bytes < MESSAGE_BYTES && frames.len() < Frames::MAX_FRAMES {
            let Some(frame) = state.frames.pop_front() else { break };
            bytes += frame.payload.len();
            frames.push(frame);
        }
        state.bytes -= bytes;
        Poll::Ready(Some(Frames(frames)))
    }
}

impl Stream for Outgoing {
    type Item = Frames;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
        let mut next = self.next();
        if next.is_pending() {
            self.queue.filled.register(cx.waker());
            next = self.next();
        }
        if next.is_ready() {
            self.queue.taken.notify_one();
        }
        next
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.queue.lock().over = true;
        self.queue.taken.notify_one();
    }
}

/// The same for a server, whose messages may be refusals.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) Outgoing);

impl Stream for Answer {
    type Item = Result<Frames, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|next| next.map(Ok))
    }
}
