//! What the lock of an inbox holds.

mod arrive;
mod close;
mod credit;
mod lanes;
mod take;

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use litemap::LiteMap;

use super::{Batch, Inbox, LocalSender, Source, Upstream};
use crate::{
    LaneId, NodeId,
    lane::{Amount, AnyQueue, Epoch, Inbound, Ledger, SlotId, Window},
    wire::{Closed, Resumed},
};

/// What the lock of an inbox holds.
pub(crate) struct Core {
    /// Whose lock holds this.
    inbox: Weak<Inbox>,
    window: Window,
    /// Few, as a rule.
    lanes: LiteMap<SlotId, InLane>,
    queue: VecDeque<Batch>,
    /// An empty queue of values, for the next sender in this process that needs one.
    spare: Option<Box<dyn AnyQueue>>,
    present: Option<Present>,
    /// How many messages of the batch that the receiver was in counted as taken when everything was handed
    /// back. That may happen more than once before the receiver hears of it: the first time counts.
    counted: Option<u64>,
    state: State,
    max_message: u64,
    report_lost: bool,
    lost: VecDeque<NodeId>,
    /// Lanes whose sender is told when the application comes for more.
    untold: Vec<SlotId>,
    /// Somebody will look soon how far the receiver is in its batch.
    watched: bool,
    notices: Vec<Notice>,
    /// Somebody delivers notices: who has more leaves them to that one, so that they keep their order.
    telling: bool,
    /// The receiver came for more and found nothing: who brings some wakes it.
    idle: bool,
    wake: bool,
}

/// A lane that leads here.
struct InLane {
    source: Source,
    inbound: Inbound,
    /// Its sender is gone for good, or has said that nothing more comes.
    ended: bool,
    /// The sender was asked to be told how it ended.
    wants_end: bool,
}

/// The batch that the receiver works through.
struct Present {
    slot: SlotId,
    accounted: Amount,
    all: Amount,
}

/// Whether messages may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// No new messages; what is on its way still comes.
    Closing,
    /// Nothing comes any more, and nothing is here.
    Closed,
    /// The node has stopped.
    Stopped,
}

/// What the receiver gets next.
pub(crate) enum Next {
    Batch(Batch),
    Lost(NodeId),
    Empty,
    Closed,
    Stopped,
}

/// Something that others are told once the lock is free.
pub(crate) enum Notice {
    Resumed(Arc<dyn Upstream>, Epoch, Resumed),
    Owe(Arc<dyn Upstream>, Epoch, LaneId),
    OweWithMore(Arc<dyn Upstream>, Epoch, LaneId),
    Reclaim(Arc<dyn Upstream>, Epoch, LaneId),
    Stop(Arc<dyn Upstream>, LaneId),
    Closed(Arc<dyn Upstream>, Closed),
    Granted(Arc<dyn LocalSender>),
    StopLocal(Arc<dyn LocalSender>),
    Returned(Arc<dyn LocalSender>, Vec<Batch>),
    Settled(Arc<dyn LocalSender>, Ledger),
}

impl Notice {
    pub(crate) fn deliver(self) {
        match self {
            Self::Resumed(upstream, epoch, resumed) => upstream.resumed(epoch, resumed),
            Self::Owe(upstream, epoch, lane) => upstream.owe(epoch, lane),
            Self::OweWithMore(upstream, epoch, lane) => upstream.owe_with_more(epoch, lane),
            Self::Reclaim(upstream, epoch, lane) => upstream.reclaim(epoch, lane),
            Self::Stop(upstream, lane) => upstream.stop(lane),
            Self::Closed(upstream, closed) => upstream.closed(closed),
            Self::Granted(sender) => sender.granted(),
            Self::StopLocal(sender) => sender.stop(),
            Self::Returned(sender, batches) => sender.returned(batches),
            Self::Settled(sender, ledger) => sender.settled(ledger),
        }
    }
}

impl Core {
    pub(crate) fn new(
        inbox: Weak<Inbox>,
        capacity: Amount,
        max_message: u64,
        report_lost: bool,
    ) -> Self {
        Self {
            inbox,
            window: Window::new(capacity).largest(max_message),
            lanes: LiteMap::new(),
            queue: VecDeque::new(),
            spare: None,
            present: None,
            counted: None,
            state: State::Open,
            max_message,
            report_lost,
            lost: VecDeque::new(),
            untold: Vec::new(),
            watched: false,
            notices: Vec::new(),
            telling: false,
            idle: false,
            wake: false,
        }
    }

    /// The notices to be delivered now, unless somebody else delivers them. Who gets some comes back
    /// for more with `again`, until there are none.
    pub(crate) fn take_notices(&mut self, again: bool) -> Vec<Notice> {
        if self.telling && !again {
            return Vec::new();
        }
        self.telling = !self.notices.is_empty();
        std::mem::take(&mut self.notices)
    }

    pub(crate) fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.wake)
    }

    /// What is here and not taken, with the receiver that far in its present batch.
    pub(crate) fn queued(&self, progress: Amount) -> Amount {
        let batches = self.queue.iter().map(|batch| Amount::new(batch.count, batch.bytes));
        let left = self.present.as_ref().map(|present| present.all.saturating_sub(progress));
        batches.chain(left).fold(Amount::default(), |sum, amount| sum + amount)
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }
}
