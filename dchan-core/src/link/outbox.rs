mod full;
mod urgent;
mod writer;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::{sync::Notify, task::yield_now, time::Instant};

pub(crate) use self::{full::Full, urgent::Urgent, writer::Asleep};

use super::{
    Drive,
    flow::{FRAME, Flow},
    turns::Turns,
};
use crate::{Frame, FrameBatch, LaneId, lane::Epoch, metrics::QueueMetrics, wire::Control};

/// The most frames and control messages that may wait. They are answers to what the peer sends: one
/// that asks without listening is cut off.
const WAITING: usize = 64 * 1024;
/// The same in bytes of frames: room for a dozen of the largest questions and answers.
const WAITING_BYTES: usize = 64 << 20;
/// How many bytes of messages may wait, for each that may be on its way: at least, and at most. In between it is
/// what leaves in [`WAITING_TIME`]. With less, ten thousand lanes have one message at a time, each of which costs
/// both ends as much as several do; with more, a slow path has nothing but a long queue.
const WAITING_DATA: (u64, u64) = (4, 16);
const WAITING_TIME: Duration = Duration::from_millis(100);

/// When so many lanes wait for their sender to let others have a turn, they are sent from at once: it may have
/// thousands more, each of which would fill a buffer of its own.
const LANES: usize = 128;

/// With so many bytes waiting, it is a flood that goes on: what fills a frame.
const FLOOD: u64 = 64 * 1024;

/// A lane with something to send.
pub(crate) trait ReadyLane: Send + Sync {
    /// Puts frames into the batch until it holds `budget` bytes.
    fn poll(&self, epoch: Epoch, batch: &mut FrameBatch, budget: usize) -> Polled;
    /// There is room again for what it would send.
    fn on_room(self: Arc<Self>);
}

/// What became of asking a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Polled {
    /// It has more to send.
    pub(crate) more: bool,
    /// How many messages end in what it put into the batch.
    pub(crate) messages: u64,
    /// The bytes that waited in it as the outbox heard last.
    pub(crate) waited: u64,
    /// The bytes that wait now and can be sent.
    pub(crate) waits: u64,
}

/// What waits to go out through one connection. Any task puts things in; the writer takes them out.
pub(crate) struct Outbox {
    pub(crate) epoch: Epoch,
    began: Instant,
    queues: Mutex<Queues>,
    /// The writer's task.
    waker: AtomicWaker,
    /// For the task that announces.
    opened: Notify,
    writer: OnceLock<Weak<dyn Drive>>,
    /// The peer was heard from since a sender last drove the writer.
    heard: AtomicBool,
    /// It had sent several frames then.
    heard_several: AtomicBool,
    /// Lanes look at it without touching anything else in here.
    full: Arc<Full>,
}

struct Queues {
    control: VecDeque<Control>,
    /// Lanes coming in whose sender should be told of credit.
    owed: Vec<LaneId>,
    /// Whole frames: requests, and last words of lanes that are gone.
    frames: FrameBatch,
    ready: Turns<Arc<dyn ReadyLane>>,
    /// Lanes that are about to be ready: their senders may have more.
    opening: Vec<Arc<dyn ReadyLane>>,
    /// Lanes that would have something to send, if not so much was there already.
    outside: Vec<Weak<dyn ReadyLane>>,
    flow: Flow,
    asleep: bool,
    finishing: bool,
    overflow: bool,
}

impl Queues {
    fn open(&mut self) {
        let Self { opening, ready, .. } = self;
        opening.drain(..).for_each(|lane| ready.push(lane));
    }

    /// Notes it if there is room for more than there is to send, behind `more` bytes that go anyway.
    fn note_idle(&mut self, more: u64) {
        if self.ready.is_empty() && self.flow.room(more) >= FRAME {
            self.flow.on_idle();
        }
    }

    /// How many lanes wait.
    fn lanes(&self) -> usize {
        self.ready.len() + self.opening.len()
    }

    /// Whether the writer would find something to do.
    fn has_work(&self, full: &Full) -> bool {
        !self.control.is_empty()
            || !self.owed.is_empty()
            || !self.frames.is_empty()
            || self.ready.has_next(self.flow.room(0))
            || self.finishing && self.ready.is_empty()
            || !self.outside.is_empty() && full.is_over()
    }

    /// How many senders should be told of credit, if there is nothing else to do.
    fn owes_alone(&self) -> usize {
        let alone = self.control.is_empty()
            && self.frames.is_empty()
            && !self.ready.has_next(self.flow.room(0));
        if alone { self.owed.len() } else { 0 }
    }

    /// Whether nothing waits at all.
    fn is_idle(&self) -> bool {
        self.control.is_empty()
            && self.owed.is_empty()
            && self.frames.is_empty()
            && self.ready.is_empty()
    }
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
            opening: Vec::new(),
            outside: Vec::new(),
            flow: Flow::new(ceiling),
            asleep: false,
            finishing: false,
            overflow: false,
        };
        Self {
            epoch,
            began: Instant::now(),
            queues: Mutex::new(queues),
            waker: AtomicWaker::new(),
            opened: Notify::new(),
            writer: OnceLock::new(),
            heard: AtomicBool::new(true),
            heard_several: AtomicBool::new(false),
            full: Arc::new(Full::new(WAITING_DATA.0 * ceiling)),
        }
    }

    pub(crate) fn control(&self, control: Control) {
        self.put(|queues| queues.control.push_back(control));
    }

    /// The sender of an incoming lane should be told of its credit. The caller asks once until it is.
    pub(crate) fn owe(&self, lane: LaneId) {
        self.put(|queues| queues.owed.push(lane));
    }

    /// The same, but that alone is no reason to send anything now.
    pub(crate) fn owe_with_more(&self, lane: LaneId) {
        self.queues.lock().owed.push(lane);
    }

    pub(crate) fn frames(&self, frames: impl IntoIterator<Item = Frame>) {
        self.put(|queues| frames.into_iter().for_each(|frame| queues.frames.push(frame)));
    }

    /// A lane has something to send. The caller asks once until it is polled.
    pub(crate) fn ready(&self, lane: Arc<dyn ReadyLane>) {
        self.put(|queues| {
            queues.ready.push(lane);
            self.full.set_lanes(queues.lanes());
        });
    }

    /// How much waits: lanes that are in the outbox say how much of it is theirs.
    pub(crate) fn full(&self) -> Arc<Full> {
        self.full.clone()
    }

    /// A lane waits until there is room. It asks once until it is told.
    pub(crate) fn wait_outside(&self, lane: Weak<dyn ReadyLane>) {
        self.put(|queues| {
            queues.outside.push(lane);
            self.full.set_outside(queues.outside.len());
        });
    }

    /// As [`ready`](Self::ready), for a sender. `lone`: nothing else of the lane is on its way. If this is true,
    /// then the caller is to [drive](Self::drive) the writer, once it has no lock any more: so a lone message
    /// leaves at once. Else it leaves when the calling task lets others have a turn, together with what that
    /// task still sends.
    #[must_use]
    pub(crate) fn ready_from_sender(&self, lane: Arc<dyn ReadyLane>, lone: bool) -> bool {
        let mut queues = self.queues.lock();
        // One for each time that the peer was heard from: more are a flood, be it over many lanes.
        if lone && queues.opening.is_empty() && self.heard.swap(false, Relaxed) {
            queues.ready.push(lane);
            self.full.set_lanes(queues.lanes());
            return std::mem::take(&mut queues.asleep);
        }
        queues.opening.push(lane);
        self.full.set_lanes(queues.lanes());
        let waiting = queues.opening.len();
        if waiting == LANES {
            queues.open();
            return std::mem::take(&mut queues.asleep);
        }
        drop(queues);
        if waiting == 1 {
            self.opened.notify_one();
        }
        false
    }

    /// So many frames have come in.
    pub(crate) fn on_heard(&self, frames: usize) {
        self.heard.store(true, Relaxed);
        self.heard_several.store(frames > 1, Relaxed);
    }

    /// Sends what can be sent, in the place of the writer's task.
    pub(crate) fn drive(&self) {
        if let Some(writer) = self.writer.get().and_then(Weak::upgrade) {
            writer.drive();
        }
    }

    /// Whoever serves the connection says who drives it.
    pub(crate) fn set_writer(&self, writer: Weak<dyn Drive>) {
        let _once = self.writer.set(writer);
    }

    /// Sees to lanes that senders have put in, when their tasks let others have a turn. For a task of its own: it
    /// has its turn on the thread that called it, wherever the writer was last, unless there is a flood.
    pub(crate) async fn announce(&self) {
        loop {
            self.opened.notified().await;
            if self.full.bytes() >= FLOOD {
                // Behind the sender, where another thread that has nothing to do finds it: one encodes then, and
                // the other writes. If there is none, then it has its turn when the sender stands back again.
                yield_now().await;
            }
            let mut queues = self.queues.lock();
            queues.open();
            let wake = std::mem::take(&mut queues.asleep);
            drop(queues);
            if wake {
                self.drive();
            }
        }
    }

    /// Nothing more will be put in: the writer says `Bye` when all is out, and closes.
    pub(crate) fn finish(&self) {
        self.put(|queues| {
            queues.open();
            queues.finishing = true;
        });
    }

    /// The peer says how much data it has. `false` if it cannot have that much.
    pub(crate) fn on_received(&self, total: u64) -> bool {
        let (mut plausible, now) = (true, self.began.elapsed());
        self.put(|queues| {
            plausible = queues.flow.on_received(total, now);
            let (least, most) = WAITING_DATA;
            let (leave, ceiling) = (queues.flow.leave_in(WAITING_TIME), queues.flow.ceiling());
            self.full.set_most(leave.clamp(least * ceiling, most * ceiling));
        });
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
        let wake = queues.asleep && queues.has_work(&self.full);
        if wake {
            queues.asleep = false;
        }
        drop(queues);
        if wake {
            self.waker.wake();
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
            lanes: queues.lanes(),
            waiting: self.full.bytes(),
        }
    }
}
