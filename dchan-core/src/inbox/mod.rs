//! What has arrived for one receiver and has not been taken.
//!
//! One lock holds the credit, the lanes that lead here, and the messages. The receiver takes whole
//! batches out of it and works through them without the lock.

mod core;
mod in_place;

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};

use crate::{
    LaneId, Namespace, NodeId, ReceiverId,
    lane::{Amount, AnyQueue, Epoch, Ledger, ReceiptCell, SlotId},
    wire::{Closed, Flags, Records, Resumed},
};

pub(crate) use self::{
    core::{Core, Next, State},
    in_place::InPlace,
};

/// What has arrived for one receiver.
pub(crate) struct Inbox {
    pub(crate) id: ReceiverId,
    pub(crate) namespace: Namespace,
    core: Mutex<Core>,
    waker: AtomicWaker,
    /// How far the receiver is in its present batch. Only the receiver writes it; anyone may look.
    progress: Progress,
}

/// How far a receiver is in a batch.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Taken, of this batch.
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Returned to the application, of this batch.
    returned: AtomicU64,
    /// Everything was handed back: nothing more may be returned.
    stopped: AtomicBool,
}

impl Progress {
    fn get(&self) -> Amount {
        let messages = self.messages.load(Ordering::Acquire);
        Amount::new(messages, self.bytes.load(Ordering::Relaxed))
    }

    fn set(&self, amount: Amount) {
        self.bytes.store(amount.bytes, Ordering::Relaxed);
        self.messages.store(amount.messages, Ordering::Release);
    }
}

/// The way back to the sender of a lane.
pub(crate) trait Upstream: Send + Sync {
    /// Answer the introduction of a lane, in the connection that it came through.
    fn resumed(&self, epoch: Epoch, resumed: Resumed);
    /// Tell the sender of its credit, soon, in the connection that the lane is in.
    fn owe(&self, epoch: Epoch, lane: LaneId);
    /// The same with the next thing that is sent there.
    fn owe_with_more(&self, epoch: Epoch, lane: LaneId);
    /// Ask the sender for credit that it does not need, in the connection that the lane is in.
    fn reclaim(&self, epoch: Epoch, lane: LaneId);
    /// Tell the sender to hand nothing more.
    fn stop(&self, lane: LaneId);
    /// The lane is over.
    fn closed(&self, closed: Closed);
    /// [Look](Inbox::look) at how far the receiver is within a heartbeat or so. `false`: there is no connection,
    /// nor anybody to tell.
    fn watch(&self, inbox: &Weak<Inbox>) -> bool;
}

/// How soon a sender hears that its message was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Haste {
    /// Together with others, or with the next heartbeat.
    #[default]
    None,
    /// With what is sent to it next, or when the application comes for more.
    Soon,
    /// Somebody waits for it.
    Now,
}

impl From<Flags> for Haste {
    fn from(flags: Flags) -> Self {
        if flags.has(Flags::TRACKED) {
            Self::Now
        } else if flags.has(Flags::AT_LEAST_ONCE) {
            // What its sender does not know would be sent again if this process died.
            Self::Soon
        } else {
            Self::None
        }
    }
}

/// The sender of a lane when it is in this very process: no network, no encoding.
pub(crate) trait LocalSender: Send + Sync {
    /// There is more credit, or less.
    fn granted(&self);
    /// How many messages of credit are promised to permits.
    fn reserved(&self) -> u64;
    /// Whether somebody waits for credit.
    fn is_waiting(&self) -> bool;
    /// Assign nothing more.
    fn stop(&self);
    /// Messages that were here and go back to the sender, oldest first.
    fn returned(&self, batches: Vec<Batch>);
    /// Messages were settled.
    fn settled(&self, settled: Ledger);
}

/// Where a lane comes from.
#[derive(Clone)]
pub(crate) enum Source {
    Remote { node: NodeId, lane: LaneId, upstream: Arc<dyn Upstream> },
    Local { node: NodeId, sender: Arc<dyn LocalSender> },
}

impl Source {
    pub(crate) fn node(&self) -> NodeId {
        match self {
            Self::Remote { node, .. } | Self::Local { node, .. } => *node,
        }
    }
}

/// Messages of one lane, oldest first.
pub(crate) struct Batch {
    pub(crate) slot: SlotId,
    pub(crate) from: NodeId,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    pub(crate) body: Body,
}

/// How messages lie in an inbox.
pub(crate) enum Body {
    Records(Records),
    /// One message in pieces: a large one, or one that had another receiver before.
    Single {
        flags: Flags,
        pieces: Vec<Bytes>,
        receipt: Option<Arc<ReceiptCell>>,
    },
    /// Values of a sender in this process.
    Values(Box<dyn AnyQueue>),
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("id", &self.id).field("namespace", &self.namespace).finish()
    }
}

impl Inbox {
    /// Under what it is on the list.
    pub(crate) fn key(&self) -> (Namespace, ReceiverId) {
        (self.namespace.clone(), self.id)
    }

    pub(crate) fn new(
        id: ReceiverId,
        namespace: Namespace,
        capacity: Amount,
        max_message: u64,
        report_lost: bool,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            id,
            namespace,
            core: Mutex::new(Core::new(me.clone(), capacity, max_message, report_lost)),
            waker: AtomicWaker::new(),
            progress: Progress::default(),
        })
    }

    /// Changes it, then tells everyone who has to know.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.core.lock();
        let result = change(&mut core);
        self.tell(core);
        result
    }

    /// The lock is not held while senders in this process are told: they have locks of their own. Nor
    /// do two threads tell at one time: what was settled must be heard of before what is returned.
    fn tell(&self, mut core: MutexGuard<'_, Core>) {
        let wake = core.take_wake();
        let mut notices = core.take_notices(false);
        drop(core);
        while !notices.is_empty() {
            for notice in notices {
                notice.deliver();
            }
            notices = self.core.lock().take_notices(true);
        }
        if wake {
            self.waker.wake();
        }
    }

    /// Whether new messages may come.
    pub(crate) fn is_open(&self) -> bool {
        self.core.lock().state() == State::Open
    }

    /// What has arrived and is not taken.
    pub(crate) fn queued(&self) -> Amount {
        self.core.lock().queued(self.progress.get())
    }

    /// The node stops: gives everything back that was not returned to the application, and takes nothing more,
    /// while the receiver may be at work.
    pub(crate) fn hand_back_all(&self) {
        // Either the receiver sees this, or the count of what it returned is seen here.
        self.progress.stopped.store(true, Ordering::SeqCst);
        self.with(|core| {
            if core.state() == State::Stopped {
                // The receiver may not have heard of the first time, and still hold what only it can give back.
                return;
            }
            let returned = self.progress.returned.load(Ordering::SeqCst);
            let bytes = self.progress.bytes.load(Ordering::Acquire);
            core.sync(Amount::new(returned, bytes), Haste::None);
            core.hand_back(None, State::Stopped);
        });
    }

    /// The receiver is about to return one more message. `false`: it was handed back.
    #[inline]
    pub(crate) fn claim(&self, so_far: u64) -> bool {
        self.progress.returned.store(so_far, Ordering::SeqCst);
        !self.progress.stopped.load(Ordering::SeqCst) || self.may_return(so_far)
    }

    #[cold]
    fn may_return(&self, so_far: u64) -> bool {
        self.core.lock().may_return(so_far)
    }

    // ---- the receiver's side ----

    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// The receiver has worked through more of its batch. A plain store.
    pub(crate) fn advance(&self, so_far: Amount) {
        self.progress.set(so_far);
    }

    /// Accounts for what the receiver has taken since the last time.
    pub(crate) fn sync(&self, haste: Haste) {
        self.with(|core| core.sync(self.progress.get(), haste));
    }

    /// The next message of the present batch could not be decoded.
    pub(crate) fn skip(&self, bytes: u64) {
        self.with(|core| {
            core.sync(self.progress.get(), Haste::None);
            core.skip(bytes);
        });
        let Amount { messages, bytes: before } = self.progress.get();
        self.progress.set(Amount::new(messages + 1, before + bytes));
    }

    /// The receiver has worked through its batch. Gets the next one, if it is here. `haste`: for its last message.
    /// `spare`: its queue, if it was one of values.
    pub(crate) fn end_batch(
        &self,
        haste: Haste,
        spare: Option<Box<dyn AnyQueue>>,
    ) -> Option<Batch> {
        self.with(|core| {
            core.keep_spare(spare);
            let batch = core.end_batch(self.progress.get(), haste);
            if batch.is_some() {
                self.begin();
            }
            batch
        })
    }

    /// The receiver has come for more.
    pub(crate) fn next(&self) -> Next {
        self.with(|core| {
            core.sync(self.progress.get(), Haste::None);
            let next = core.next();
            if let Next::Batch(_) = next {
                self.begin();
            }
            next
        })
    }

    /// A batch begins.
    fn begin(&self) {
        self.progress.set(Amount::default());
        self.progress.returned.store(0, Ordering::SeqCst);
    }

    /// Somebody looks how far the receiver has come, and senders hear of it.
    pub(crate) fn look(&self) {
        self.with(|core| {
            core.sync(self.progress.get(), Haste::None);
            core.look();
        });
    }
}
