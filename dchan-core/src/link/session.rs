//! The three tasks of a connection: one reads, one writes, and one watches over it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;

use super::{
    Outbox, ProtocolError, Verdict,
    beats::Beats,
    flow::TELL_AFTER,
    liveness::Liveness,
    outbox::{Asleep, Urgent},
};
use crate::{
    Breach, ErrorKind, Frame, FrameBatch, LaneId, Received, Timers, TransportError,
    config::Times,
    lane::Epoch,
    metrics::PeerCounters,
    transport::{FrameSink, FrameStream},
    wire::{Beat, Control},
};

/// After so many batches, whoever drives the writer has done its share: it may be a sender that was alone with
/// one message, while others send all the time.
const TURNS: usize = 2;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("the peer ended the connection")]
    Ended,
    #[error("the peer was not heard from for too long")]
    Silent,
    #[error("the peer does not read what is sent to it")]
    Overflow,
    #[error("another connection to the same peer took its place")]
    Superseded,
    #[error("this node closed the connection")]
    Closed,
}

impl Cut {
    /// Of which kind it is, if the peer broke the protocol.
    pub(crate) fn breach(&self) -> Option<Breach> {
        match self {
            Self::Protocol(error) => Some(error.kind),
            Self::Transport(error) if error.kind == ErrorKind::Protocol => Some(Breach::Malformed),
            Self::Overflow => Some(Breach::Unread),
            _ => None,
        }
    }

    /// One word for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Transport(_) => "transport",
            Self::Protocol(_) => "protocol",
            Self::Ended => "ended",
            Self::Silent => "silent",
            Self::Overflow => "overflow",
            Self::Superseded => "superseded",
            Self::Closed => "closed",
        }
    }
}

/// What a connection serves.
pub(crate) trait Endpoint: Send + Sync + 'static {
    /// A frame has come in. Returns how many messages end in it.
    fn on_frame(&self, epoch: Epoch, frame: Frame) -> Result<u64, ProtocolError>;
    /// One heartbeat has passed: whether the peer was heard from.
    ///
    /// # Errors
    ///
    /// The peer owes something for too long.
    fn on_verdict(&self, epoch: Epoch, verdict: Verdict) -> Result<(), ProtocolError>;
    /// What to say in a heartbeat.
    fn beat(&self) -> Beat;
    /// Adds the credit of incoming lanes whose senders should be told of it.
    fn credit(&self, epoch: Epoch, lanes: &[LaneId], told: &mut VecDeque<Control>);
}

/// Which end of a connection a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Knows that the other end has read its hello: may write at once.
    Dialler,
    /// Writes once it has heard from the dialler, who may still be reading the welcome.
    Listener,
}

/// A connection that stands, and the tasks that serve it.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) epoch: Epoch,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) endpoint: Arc<dyn Endpoint>,
    pub(crate) times: Times,
    pub(crate) timers: Timers,
    pub(crate) heard: Arc<Heard>,
    pub(crate) counters: Arc<PeerCounters>,
}

/// How the reader tells the others that there are signs of life.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    lately: AtomicBool,
    /// For the writer, who may have to wait for the first of all.
    first: Notify,
    /// For who sends heartbeats, and looks whether there were any since the last one.
    again: Notify,
}

impl Heard {
    fn note(&self) {
        if !self.lately.swap(true, Relaxed) {
            self.first.notify_one();
            self.again.notify_one();
        }
    }
}

impl Session {
    /// Reads until the connection ends.
    pub(crate) async fn read(self, mut stream: Box<dyn FrameStream>) -> Cut {
        let mut batch = FrameBatch::new();
        // Bytes of data that came in, and how many of them the peer has been told of.
        let (mut arrived, mut told) = (0, 0);
        loop {
            match stream.recv(&mut batch).await {
                Err(error) => return error.into(),
                Ok(Received::End) => return Cut::Ended,
                Ok(Received::Frames) => {}
            }
            self.outbox.on_heard(batch.len());
            self.heard.note();
            self.counters.received.add_frames(batch.len(), batch.bytes());
            let mut messages = 0;
            while let Some(frame) = batch.pop() {
                if frame.lane.is_data() {
                    arrived += frame.payload.len() as u64;
                }
                match self.endpoint.on_frame(self.epoch, frame) {
                    Ok(count) => messages += count,
                    Err(error) => return error.into(),
                }
            }
            self.counters.received.add_messages(messages);
            if arrived - told >= TELL_AFTER {
                told = arrived;
                self.outbox.control(Control::Received(arrived));
            }
        }
    }

    /// Says that this side is there, and listens for the other, until that is silent for too long. A task of its
    /// own, as whoever has something to send or to read would have to look at the time with each message.
    pub(crate) async fn watch(self, side: Side) -> Cut {
        let Times { heartbeat: period, suspect, silence, .. } = self.times;
        let mut beats = Beats::new(period, side, self.timers);
        let mut liveness = Liveness::new(period, suspect, silence);
        let mut speaks = side == Side::Dialler;
        loop {
            if speaks {
                self.outbox.control(Control::Beat(self.endpoint.beat()));
            }
            beats.next(&self.heard.again).await;
            let heard = self.heard.lately.swap(false, Relaxed);
            let verdict = liveness.on_beat(heard);
            if verdict == Verdict::Dead {
                return Cut::Silent;
            }
            if self.outbox.has_overflown() {
                return Cut::Overflow;
            }
            speaks |= heard;
            if speaks && let Err(error) = self.endpoint.on_verdict(self.epoch, verdict) {
                return error.into();
            }
        }
    }

    /// Writes until the connection ends. A sink that is not closed comes back with the reason: where
    /// dropping it ends the connection, the reader would else have a reason of its own before this one
    /// is known.
    pub(crate) async fn write(
        self,
        mut sink: Box<dyn FrameSink>,
        side: Side,
    ) -> (Cut, Option<Box<dyn FrameSink>>) {
        match self.write_all(&mut *sink, side).await {
            Err(cut) => (cut, Some(sink)),
            Ok(()) => match sink.close().await {
                Ok(()) => (Cut::Closed, None),
                Err(error) => (error.into(), None),
            },
        }
    }

    async fn write_all(&self, sink: &mut dyn FrameSink, side: Side) -> Result<(), Cut> {
        if side == Side::Listener {
            self.heard.first.notified().await;
        }
        let (mut batch, mut urgent) = (FrameBatch::new(), Urgent::default());
        let mut turns = 0;
        loop {
            self.put_urgent(&mut urgent, &mut batch);
            self.counters.sent.add_messages(self.outbox.fill(&mut batch));
            if !batch.is_empty() {
                self.send(sink, &mut batch, &mut urgent).await?;
                turns += 1;
                if turns == TURNS {
                    turns = 0;
                    tokio::task::yield_now().await;
                }
            }
            match self.outbox.fall_asleep() {
                Asleep::No => continue,
                Asleep::Finished => {
                    batch.push(bye());
                    return self.send(sink, &mut batch, &mut urgent).await;
                }
                Asleep::Yes => {}
            }
            // What little is still in the transport goes out before the writer rests.
            if !sink.is_flushed() {
                sink.send(&mut batch).await?;
            }
            self.outbox.wait().await;
            self.outbox.gather_credit().await;
            turns = 0;
        }
    }

    /// Sends a batch. What is urgent goes in front of it, also while it waits.
    async fn send(
        &self,
        sink: &mut dyn FrameSink,
        batch: &mut FrameBatch,
        urgent: &mut Urgent,
    ) -> Result<(), Cut> {
        while !batch.is_empty() {
            self.outbox.listen();
            let (frames, bytes) = (batch.len(), batch.bytes());
            tokio::select! {
                biased;
                sent = sink.send(batch) => sent?,
                () = self.outbox.wait() => {}
            }
            // Also of a send that was given up, some may be on its way.
            self.counters.sent.add_frames(frames - batch.len(), bytes - batch.bytes());
            if !batch.is_empty() {
                self.put_urgent(urgent, batch);
            }
        }
        Ok(())
    }

    /// Puts control messages and credit before everything else.
    fn put_urgent(&self, urgent: &mut Urgent, batch: &mut FrameBatch) {
        if !self.outbox.take_urgent(urgent) {
            return;
        }
        self.endpoint.credit(self.epoch, &urgent.owed, &mut urgent.controls);
        // Behind control frames that could not go yet: that lane has its order, too.
        let mut frames = Vec::new();
        while let Some(frame) = batch.take_where(|frame| frame.lane == LaneId::CONTROL) {
            frames.push(frame);
        }
        frames.extend(urgent.frames());
        urgent.clear();
        frames.into_iter().rev().for_each(|frame| batch.push_front(frame));
    }
}

fn bye() -> Frame {
    Frame::new(LaneId::CONTROL, Control::Bye.encode(Vec::new()).into())
}
