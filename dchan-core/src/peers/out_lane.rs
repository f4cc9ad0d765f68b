mod place;

use std::{
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, MutexGuard};

use self::place::Place;
use super::Peer;
use crate::{
    FrameBatch, LaneId, NodeId, ReceiverId,
    budget::{Allowance, Borrower, Loan},
    lane::{Epoch, Homeless, Outbound},
    link::{Outbox, Polled, ReadyLane},
};

/// The outbox hears of it when so many bytes more wait in a lane, or half of those that did.
const NOTE: u64 = 4096;

/// Whoever assigns messages to lanes.
pub(crate) trait LaneOwner: Send + Sync {
    /// The lane may have more credit, or less.
    fn recount(&self, lane: &Arc<OutLane>);
    /// Takes messages back from a lane, which is over then if `ended`, and gives them other lanes. The
    /// account of the namespace balances before and after.
    fn take_back(&self, lane: &Arc<OutLane>, take: TakeBack<'_>, ended: bool);
    /// Messages were settled.
    fn settled(&self);
    /// The lane was given up, though its receiver may be there still.
    fn lost(&self, lane: &OutLane);
}

/// Takes messages out of the sending side of a lane.
pub(crate) type TakeBack<'a> = &'a mut dyn FnMut(&mut Outbound) -> Vec<Homeless>;

/// The sending side of a lane, and who it belongs to.
///
/// What a message touches comes first here, and in what this is made of, side by side: who sends over ten thousand lanes
/// finds none of it in the cache.
#[repr(C)]
pub(crate) struct OutLane {
    out: Mutex<Out>,
    pub(crate) id: LaneId,
    pub(crate) receiver: ReceiverId,
    pub(crate) node: NodeId,
    /// It has the lane, and must not be kept alive by it.
    peer: Weak<Peer>,
    owner: Weak<dyn LaneOwner>,
}

/// What the lock of a lane holds.
#[repr(C)]
pub(crate) struct Out {
    sure: Sure,
    /// How many messages of its credit are on offer to senders that wait.
    pub(crate) offered: u64,
    place: Place,
    pub(crate) lane: Outbound,
    /// Its peer is silent: it is not chosen.
    suspended: bool,
    allowance: Allowance,
    me: Weak<OutLane>,
    /// It is among those that are looked at with the next heartbeat, as it may have nothing to do.
    pub(super) resting: bool,
}

/// Credit that is known to be there, without counting it all again. Good until anything but a message that
/// uses it changes the lane.
#[derive(Clone, Copy, Debug, Default)]
struct Sure {
    messages: u64,
    /// While the lane holds less than so many bytes.
    below: u64,
}

impl fmt::Debug for OutLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutLane").field("id", &self.id).field("node", &self.node).finish()
    }
}

impl Out {
    /// How many new messages may be assigned to the lane now.
    pub(crate) fn credit(&self) -> u64 {
        if self.place.is_full() { 0 } else { self.affordable() }
    }

    /// How many there is room for in this node.
    fn affordable(&self) -> u64 {
        if self.allowance.has_room(self.lane.held()) { self.granted() } else { 0 }
    }

    /// Whether there is some for certain, without counting it all again.
    #[inline]
    pub(crate) fn is_sure_of_credit(&self) -> bool {
        self.sure.messages > 0 && self.lane.held() < self.sure.below
    }

    /// Whether there is any. What there is can be used without counting it again.
    pub(crate) fn count_credit(&mut self) -> bool {
        let noted = self.place.note(self.lane.waiting_bytes());
        let held = self.lane.held();
        let granted = held.saturating_add(self.lane.granted_bytes());
        let below = granted.min(self.allowance.limit()).min(held + NOTE.max(noted / 2));
        // What is on offer was promised before.
        let messages = if self.offered > 0 { self.affordable() } else { self.credit() };
        self.sure = Sure { messages, below };
        self.sure.messages > 0
    }

    /// One message of credit was used.
    #[inline]
    pub(crate) fn on_used(&mut self) {
        self.sure.messages = self.sure.messages.saturating_sub(1);
    }

    /// The same for messages that this node holds anyway.
    pub(crate) fn granted(&self) -> u64 {
        if self.suspended { 0 } else { self.lane.credit() }
    }

    /// Messages came in.
    #[inline]
    pub(crate) fn on_more(&mut self) {
        let held = self.lane.held();
        // Below that it has room for certain, and its allowance, which lies far off, need not be looked at.
        if held >= self.sure.below {
            self.allowance.on_more(held);
        }
    }

    /// Messages may have gone.
    pub(crate) fn on_less(&mut self) {
        self.allowance.on_less(self.lane.held());
    }

    /// Asks for what is missing, as a message waits: the receiver, unless it is room in this node.
    pub(crate) fn ask(&mut self) {
        if self.credit_or_wait() > 0 || self.granted() == 0 {
            self.lane.ask();
        }
    }

    /// As [`credit`](Self::credit), for a message that waits: if nothing but room in this node is missing, then the
    /// lane waits for that.
    ///
    /// One look decides both. The writer makes room all the time: who found none, and then does not wait as there is
    /// some, would never hear of it.
    pub(crate) fn credit_or_wait(&mut self) -> u64 {
        if self.lacks_room() {
            self.allowance.wait();
        }
        let affordable = self.affordable();
        if affordable > 0 && self.place.is_full() {
            self.place.wait(self.me.clone());
            return 0;
        }
        affordable
    }

    /// Whether it waited for room for its connection. It does not any more.
    #[cfg(test)]
    pub(crate) fn stops_to_wait(&mut self) -> bool {
        std::mem::take(&mut self.place.outside)
    }

    /// Whether it has something to send, and its connection does not know.
    #[inline]
    fn is_to_be_queued(&self) -> bool {
        !self.place.queued && self.place.epoch != 0 && self.lane.has_business(self.place.epoch)
    }

    fn lacks_room(&self) -> bool {
        !self.allowance.has_room(self.lane.held()) && self.granted() > 0
    }
}

impl OutLane {
    pub(super) fn new(lane: Outbound, peer: &Arc<Peer>, owner: Weak<dyn LaneOwner>) -> Arc<Self> {
        let (id, receiver, node) = (lane.id, lane.receiver, peer.id);
        let shared = &peer.shared;
        let peer = Arc::downgrade(peer);
        Arc::new_cyclic(|me: &Weak<Self>| {
            let allowance = Allowance::new(shared.budget.clone(), me.clone());
            let (offered, sure, suspended, resting) = (0, Sure::default(), false, false);
            let (place, me) = (Place::default(), me.clone());
            let out = Out { lane, offered, sure, suspended, allowance, place, me, resting };
            Self { id, receiver, node, peer, owner, out: Mutex::new(out) }
        })
    }

    pub(super) fn peer(&self) -> Option<Arc<Peer>> {
        self.peer.upgrade()
    }

    pub(crate) fn owner(&self) -> Option<Arc<dyn LaneOwner>> {
        self.owner.upgrade()
    }

    /// Takes messages back for other lanes.
    pub(crate) fn take_back(self: &Arc<Self>, take: TakeBack<'_>, ended: bool) {
        match self.owner() {
            Some(owner) => owner.take_back(self, take, ended),
            None => self.with(|out| {
                let _ownerless = take(&mut out.lane);
                out.on_less();
            }),
        }
    }

    /// Changes the lane. If it has something to send then, its connection is told.
    pub(crate) fn with<R>(self: &Arc<Self>, change: impl FnOnce(&mut Out) -> R) -> R {
        let mut out = self.lock();
        let result = change(&mut out);
        self.queue(&mut out);
        result
    }

    /// As [`with`](Self::with), for a sender that only uses credit, and says so. A lone message has been sent
    /// when this is done, as a rule.
    #[inline]
    pub(crate) fn with_credit<R>(self: &Arc<Self>, accept: impl FnOnce(&mut Out) -> R) -> R {
        self.change_as_sender(self.out.lock(), accept)
    }

    /// The same for a sender that has a permit.
    pub(crate) fn with_permit<R>(self: &Arc<Self>, accept: impl FnOnce(&mut Out) -> R) -> R {
        self.change_as_sender(self.lock(), accept)
    }

    #[inline]
    fn change_as_sender<R>(
        self: &Arc<Self>,
        mut out: MutexGuard<'_, Out>,
        accept: impl FnOnce(&mut Out) -> R,
    ) -> R {
        let result = accept(&mut out);
        if out.is_to_be_queued() {
            self.queue_as_sender(out);
        }
        result
    }

    /// Looks at the lane.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut Out) -> R) -> R {
        look(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        let mut out = self.out.lock();
        out.sure = Sure::default();
        out
    }

    fn queue(self: &Arc<Self>, out: &mut Out) {
        if out.is_to_be_queued()
            && let Some(outbox) = out.place.queue(out.lane.waiting_bytes())
        {
            outbox.ready(self.clone());
        }
    }

    #[inline(never)]
    fn queue_as_sender(self: &Arc<Self>, mut out: MutexGuard<'_, Out>) {
        let waits = out.lane.waiting_bytes();
        let Some(outbox) = out.place.queue(waits) else { return };
        let drives = outbox.ready_from_sender(self.clone(), out.lane.is_lone());
        drop(out);
        if drives {
            outbox.drive();
        }
    }

    /// A new connection stands.
    pub(super) fn on_up(self: &Arc<Self>, outbox: &Arc<Outbox>) {
        let mut out = self.lock();
        if out.place.epoch == outbox.epoch {
            // It was opened while the connection came to stand.
            return;
        }
        out.lane.cut();
        (out.place, out.suspended) = (Place::at(outbox), false);
        self.queue(&mut out);
    }

    /// The connection is gone.
    pub(super) fn on_down(&self) {
        let mut out = self.lock();
        out.lane.cut();
        out.place = Place::default();
    }

    pub(super) fn suspend(&self, suspended: bool) {
        self.lock().suspended = suspended;
    }
}

impl Borrower for OutLane {
    fn lend(self: Arc<Self>, loan: Loan) {
        self.look(|out| {
            let needed = out.lacks_room();
            out.allowance.on_turn(loan, needed);
        });
        if let Some(owner) = self.owner() {
            owner.recount(&self);
        }
    }
}

impl ReadyLane for OutLane {
    fn poll(&self, epoch: Epoch, batch: &mut FrameBatch, budget: usize) -> Polled {
        let mut out = self.lock();
        if out.place.epoch != epoch {
            return Polled::default();
        }
        let before = out.lane.handed();
        let more = out.lane.poll(epoch, batch, budget);
        let waits = if more { out.lane.waiting_bytes() } else { 0 };
        let waited = out.place.on_polled(more, waits);
        Polled { more, messages: out.lane.handed() - before, waited, waits }
    }

    fn on_room(self: Arc<Self>) {
        self.look(|out| out.place.on_room());
        if let Some(owner) = self.owner() {
            owner.recount(&self);
        }
    }
}
