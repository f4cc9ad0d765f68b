use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    flow::{FRAME, Flow},
    turns::Turns,
};
use crate::{Frame, FrameBatch, LaneId, lane::Epoch, metrics::QueueMetrics, wire::Control};

/// The most bytes that one batch is filled with.
const BATCH: usize = 256 * 1024;
/// The most frames and control messages that may wait. They are answers to what the peer sends: one
/// that asks without listening is cut off.
const WAITING: usize = 64 * 1024;
/// The same in bytes of frames: room for a dozen of the largest questions and answers.
const WAITING_BYTES: usize = 64 << 20;

/// A lane with something to send.
pub(crate) trait ReadyLane: Send + Sync {
    /// Puts frames into the batch until it holds `budget` bytes.
    fn poll(&self, epoch: Epoch, batch: &mut FrameBatch, budget: usize) -> Polled;
}

/// What became of asking a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Polled {
    /// It has more to send.
    pub(crate) more: bool,
    /// How many messages end in what it put into the batch.
    pub(crate) messages: u64,
}

/// What waits to go out through one connection. Any task puts things in; the writer takes them out.
pub(crate) struct Outbox {
    pub(crate) epoch: Epoch,
    began: Instant,
    queues: Mutex<Queues>,
    wake: Notify,
}

struct Queues {
    control: VecDeque<Control>,
    /// Lanes coming in whose sender should be told of credit.
    owed: Vec<LaneId>,
    /// Whole frames: requests, and last words of lanes that are gone.
    frames: FrameBatch,
    ready: Turns<Arc<dyn ReadyLane>>,
    flow: Flow,
    asleep: bool,
    finishing: bool,
    overflow: bool,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Outbox {
    /// `ceiling`: how many bytes of data may be on their way at most.
    pub(crate) fn new(epoch: Epoch, ceiling: u64) -> Self {
        let queues = Queues {
            control: VecDeque::new(),
            owed: Vec::new(),
            frames: FrameBatch::new(),
            ready: Turns::new(),
            flow: Flow::new(ceiling),
            asleep: false,
            finishing: false,
            overflow: false,
        };
        Self { epoch, began: Instant::now(), queues: Mutex::new(queues), wake: Notify::new() }
    }

    pub(crate) fn control(&self, control: Control) {
        self.put(|queues| queues.control.push_back(control));
    }

    /// The sender of an incoming lane should be told of its credit. The caller asks once until it is.
    pub(crate) fn owe(&self, lane: LaneId) {
        self.put(|queues| queues.owed.push(lane));
    }

    pub(crate) fn frames(&self, frames: impl IntoIterator<Item = Frame>) {
        self.put(|queues| frames.into_iter().for_each(|frame| queues.frames.push(frame)));
    }

    /// A lane has something to send. The caller asks once until it is polled.
    pub(crate) fn ready(&self, lane: Arc<dyn ReadyLane>) {
        self.put(|queues| queues.ready.push(lane));
    }

    /// Nothing more will be put in: the writer says `Bye` when all is out, and closes.
    pub(crate) fn finish(&self) {
        self.put(|queues| queues.finishing = true);
    }

    /// The peer says how much data it has. `false` if it cannot have that much.
    pub(crate) fn on_received(&self, total: u64) -> bool {
        let (mut plausible, now) = (true, self.began.elapsed());
        self.put(|queues| plausible = queues.flow.on_received(total, now));
        plausible
    }

    /// A heartbeat and its answer took so long.
    pub(crate) fn on_heartbeat(&self, took: Duration) {
        let now = self.began.elapsed();
        self.put(|queues| queues.flow.on_heartbeat(took, now));
    }

    fn put(&self, put: impl FnOnce(&mut Queues)) {
        let mut queues = self.queues.lock();
        put(&mut queues);
        let waiting = queues.control.len() + queues.frames.len();
        if waiting > WAITING || queues.frames.bytes() > WAITING_BYTES {
            queues.overflow = true;
            queues.control.clear();
            queues.frames = FrameBatch::new();
        }
        let wake = std::mem::take(&mut queues.asleep);
        drop(queues);
        if wake {
            self.wake.notify_one();
        }
    }

    /// What waits.
    pub(crate) fn metrics(&self) -> QueueMetrics {
        let queues = self.queues.lock();
        QueueMetrics {
            unconfirmed: queues.flow.unconfirmed(),
            window: queues.flow.window(),
            control: queues.control.len() + queues.owed.len(),
            frames: queues.frames.len(),
            lanes: queues.ready.len(),
        }
    }

    // ---- the writer's side ----

    /// Waits until something may have been put in.
    pub(crate) async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Whether the peer let too much pile up.
    pub(crate) fn has_overflown(&self) -> bool {
        self.queues.lock().overflow
    }

    /// Takes out what belongs before all data. Returns the lanes that are owed credit, too.
    pub(crate) fn take_urgent(&self) -> (VecDeque<Control>, Vec<LaneId>) {
        let mut queues = self.queues.lock();
        let mut owed = std::mem::take(&mut queues.owed);
        owed.sort_unstable();
        owed.dedup();
        (std::mem::take(&mut queues.control), owed)
    }

    /// Fills the batch: whole frames first, then lanes in turn. Returns how many messages end in it.
    pub(crate) fn fill(&self, batch: &mut FrameBatch) -> u64 {
        let mut messages = 0;
        let mut queues = self.queues.lock();
        let now = self.began.elapsed();
        while batch.bytes() < BATCH
            && let Some(frame) = queues.frames.pop()
        {
            if frame.lane.is_data() {
                queues.flow.on_sent(frame.payload.len() as u64, now);
            }
            batch.push(frame);
        }
        let before = batch.bytes();
        while batch.bytes() < BATCH {
            let room = queues.flow.room((batch.bytes() - before) as u64);
            let Some(turn) = queues.ready.next(room) else {
                if queues.ready.is_empty() && room >= FRAME {
                    queues.flow.on_idle();
                }
                break;
            };
            drop(queues);
            let held = batch.bytes();
            let polled = turn.lane.poll(self.epoch, batch, held + turn.budget);
            messages += polled.messages;
            queues = self.queues.lock();
            queues.ready.done(turn, batch.bytes() - held, polled.more);
        }
        queues.flow.on_sent((batch.bytes() - before) as u64, now);
        messages
    }

    /// Goes to sleep, if there is nothing to do: the next one who puts something in wakes the writer.
    pub(crate) fn fall_asleep(&self) -> Asleep {
        let mut queues = self.queues.lock();
        let quiet = queues.control.is_empty() && queues.owed.is_empty() && queues.frames.is_empty();
        if !quiet || queues.ready.has_next(queues.flow.room(0)) {
            return Asleep::No;
        }
        if queues.finishing && queues.ready.is_empty() {
            return Asleep::Finished;
        }
        queues.asleep = true;
        Asleep::Yes
    }

    /// While a send is under way: asks to be woken by the next thing that is put in.
    pub(crate) fn listen(&self) {
        let mut queues = self.queues.lock();
        if queues.control.is_empty() && queues.owed.is_empty() {
            queues.asleep = true;
        } else {
            drop(queues);
            self.wake.notify_one();
        }
    }
}

/// Whether the writer may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asleep {
    Yes,
    No,
    /// All is out, and nothing more will come.
    Finished,
}

/// Frames that hold these control messages, as few as possible.
pub(crate) fn control_frames(controls: impl IntoIterator<Item = Control>) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut payload = Vec::new();
    for control in controls {
        let before = payload.len();
        payload = control.encode(payload);
        if payload.len() > Frame::MAX / 2 {
            let rest = if before > 0 { payload.split_off(before) } else { Vec::new() };
            frames.push(Bytes::from(std::mem::replace(&mut payload, rest)));
        }
    }
    if !payload.is_empty() {
        frames.push(payload.into());
    }
    frames.into_iter().map(|payload| Frame::new(LaneId::CONTROL, payload)).collect()
}
