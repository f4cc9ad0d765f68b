//! A sender and a receiver in one process: no network, no encoding, the same semantics.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::Mutex;
use serde::Serialize;

use super::{LocalItem, Router, Values, offer::Used, values::body_of};
use crate::{
    NodeId, ReceiverId,
    inbox::{Batch, Body, Core, Haste, Inbox, LocalSender},
    lane::{Homeless, HomelessBody, Ledger, ReceiptCell, SlotId},
    wire::Flags,
};

/// The way from the senders of a process to a receiver of the same process.
pub(crate) struct LocalLane {
    inbox: Arc<Inbox>,
    slot: SlotId,
    router: Weak<Router>,
    /// Changed only under the lock of the inbox.
    offered: AtomicU64,
    reserved: AtomicU64,
    stopped: AtomicBool,
    account: Mutex<Ledger>,
    settled: AtomicU64,
}

/// What a message is put in with.
pub(super) enum Claim<'a> {
    /// Credit that senders may use.
    Credit { router: &'a Router, has_turn: bool },
    /// Credit that a permit holds, which is used up in any case.
    Permit,
}

impl LocalLane {
    /// `None` if the receiver takes no new messages.
    pub(super) fn open(inbox: Arc<Inbox>, router: Weak<Router>, node: NodeId) -> Option<Arc<Self>> {
        let mut opened = None;
        let lane = Arc::new_cyclic(|me: &Weak<Self>| {
            let sender: Arc<dyn LocalSender> = Arc::new(Handle(me.clone()));
            // Nothing is delivered to the handle before the lane stands: it is not there to upgrade.
            opened = inbox.with(|core| core.open_local(node, sender));
            Self {
                inbox,
                slot: opened.unwrap_or_default(),
                router,
                offered: AtomicU64::new(0),
                reserved: AtomicU64::new(0),
                stopped: AtomicBool::new(opened.is_none()),
                account: Mutex::default(),
                settled: AtomicU64::new(0),
            }
        });
        opened.map(|_| {
            lane.recount();
            lane
        })
    }

    pub(super) fn receiver(&self) -> ReceiverId {
        self.inbox.id
    }

    pub(super) fn is_open(&self) -> bool {
        !self.stopped.load(Ordering::Acquire)
    }

    /// How many messages may be assigned to it now.
    pub(super) fn credit(&self) -> u64 {
        self.inbox.with(|core| self.free(core))
    }

    /// If somebody waits, puts as much on offer as there is credit, else nothing.
    pub(super) fn recount(&self) {
        let Some(router) = self.router.upgrade() else { return };
        self.inbox.with(|core| {
            let waiting = router.waiting.load(Ordering::SeqCst) > 0;
            self.set_offer(&router, if waiting { self.free(core) } else { 0 });
        });
    }

    fn set_offer(&self, router: &Router, now: u64) {
        let before = self.offered.swap(now, Ordering::AcqRel);
        router.change_offer(before, now);
    }

    /// The credit that no permit holds.
    fn free(&self, core: &Core) -> u64 {
        if !self.is_open() {
            return 0;
        }
        core.local_credit(self.slot).saturating_sub(self.reserved.load(Ordering::Acquire))
    }

    /// The same, as if nothing had been on offer before.
    pub(super) fn offer_anew(&self) {
        self.inbox.with(|_| self.offered.store(0, Ordering::Release));
        self.recount();
    }

    pub(super) fn ask(&self) {
        self.inbox.with(|core| core.ask_local(self.slot));
    }

    /// Uses credit for one message, as [`Router::usable`] says for lanes to other processes.
    fn use_credit(&self, core: &Core, router: &Router, has_turn: bool) -> Option<Used> {
        let mut offered = self.offered.load(Ordering::Acquire);
        if offered > 0 && !has_turn {
            if router.is_waited_for() {
                return None;
            }
            self.set_offer(router, 0);
            offered = 0;
        }
        if self.free(core) == 0 {
            // There may be an offer with nothing behind it.
            self.set_offer(router, 0);
            return None;
        }
        if offered == 0 {
            return Some(Used::Free);
        }
        self.offered.store(offered - 1, Ordering::Release);
        Some(Used::Offer)
    }

    /// Takes one message of credit out, for a permit.
    pub(super) fn reserve(&self, router: &Router, has_turn: bool) -> Option<Used> {
        self.inbox.with(|core| {
            let used = self.use_credit(core, router, has_turn)?;
            self.reserved.fetch_add(1, Ordering::AcqRel);
            Some(used)
        })
    }

    /// A permit is about to be used.
    fn unreserve(&self) {
        self.reserved.fetch_sub(1, Ordering::AcqRel);
    }

    /// A permit is dropped.
    pub(super) fn release(&self) {
        self.unreserve();
        self.recount();
        self.inbox.with(Core::released_local);
    }

    /// Accepts a message, and counts it in the same step. Gives it back if there is no credit, or the
    /// receiver has gone.
    pub(super) fn put<T: Serialize + Send + 'static>(
        &self,
        value: T,
        flags: Flags,
        receipt: Option<Arc<ReceiptCell>>,
        claim: &Claim<'_>,
    ) -> Result<Used, T> {
        self.inbox.with(|core| {
            let used = match *claim {
                Claim::Credit { router, has_turn } => self.use_credit(core, router, has_turn),
                Claim::Permit => {
                    self.unreserve();
                    self.is_open().then_some(Used::Free)
                }
            };
            let Some(used) = used.filter(|_| core.takes_local(self.slot)) else {
                return Err(value);
            };
            {
                let mut account = self.account.lock();
                account.accepted += 1;
                account.in_flight += 1;
            }
            let flags = if receipt.is_some() { flags.with(Flags::TRACKED) } else { flags };
            let item = LocalItem { value, flags, receipt };
            core.put_local(self.slot, size_of::<T>() as u64, |last, spare| {
                if let Some(Body::Values(queue)) = last
                    && let Some(Values(values)) = Values::of_mut(&mut **queue)
                {
                    values.push_back(item);
                    return None;
                }
                let mut values = Values::from_spare(spare.take());
                values.0.push_back(item);
                Some(Body::Values(values))
            });
            Ok(used)
        })
    }

    /// Takes in a message that had another lane before. Gives it back if the receiver has gone.
    pub(super) fn adopt(&self, message: Homeless) -> Result<(), Homeless> {
        self.inbox.with(|core| {
            if !core.takes_local(self.slot) {
                return Err(message);
            }
            self.account.lock().in_flight += 1;
            let (bytes, body) = body_of(message);
            let mut body = Some(body);
            core.put_local(self.slot, bytes, |_, _| body.take());
            Ok(())
        })
    }

    pub(super) fn stop_sending(&self) {
        self.stopped.store(true, Ordering::Release);
        self.recount();
        self.inbox.with(|core| core.finish_local(self.slot));
        self.forget_if_settled();
    }

    /// A lane that takes nothing more is over when the last message on it is settled.
    fn forget_if_settled(&self) {
        if !self.is_open()
            && self.account.lock().in_flight == 0
            && let Some(router) = self.router.upgrade()
        {
            router.forget_local(self, Vec::new());
        }
    }

    pub(super) fn ledger(&self) -> Ledger {
        *self.account.lock()
    }

    /// So many of its messages go elsewhere, and nothing is left. Returns its last account.
    pub(super) fn end(&self, homeless: u64) -> Ledger {
        let mut account = self.account.lock();
        account.rerouted += homeless;
        account.in_flight = 0;
        std::mem::take(&mut account)
    }

    /// Nobody will get what is left. Returns its last account.
    pub(super) fn give_up(&self) -> Ledger {
        let mut account = self.account.lock();
        account.dropped.no_receiver += std::mem::take(&mut account.in_flight);
        std::mem::take(&mut account)
    }

    /// Accounts for what its receiver has taken by now.
    pub(super) fn sync(&self) {
        self.inbox.sync(Haste::Now);
    }

    pub(super) fn settled_and_open(&self) -> (u64, u64) {
        let account = self.account.lock();
        (self.settled.load(Ordering::Acquire), account.in_flight)
    }
}

/// What the inbox knows of a [`LocalLane`].
struct Handle(Weak<LocalLane>);

impl LocalSender for Handle {
    fn granted(&self) {
        if let Some(lane) = self.0.upgrade() {
            let Some(router) = lane.router.upgrade() else { return };
            router.place_homeless();
            lane.recount();
            if lane.credit() == 0 && router.is_waited_for() {
                lane.ask();
            }
        }
    }

    fn reserved(&self) -> u64 {
        self.0.upgrade().map_or(0, |lane| lane.reserved.load(Ordering::Acquire))
    }

    fn is_waiting(&self) -> bool {
        let router = self.0.upgrade().and_then(|lane| lane.router.upgrade());
        router.is_some_and(|router| router.is_waited_for())
    }

    fn stop(&self) {
        if let Some(lane) = self.0.upgrade() {
            lane.stopped.store(true, Ordering::Release);
            lane.recount();
            lane.forget_if_settled();
        }
    }

    fn returned(&self, batches: Vec<Batch>) {
        let Some(lane) = self.0.upgrade() else { return };
        let homeless = batches.into_iter().flat_map(|batch| match batch.body {
            Body::Values(queue) => queue.into_homeless(),
            Body::Single { flags, pieces, receipt } => {
                vec![Homeless { flags, body: HomelessBody::Encoded(pieces), receipt }]
            }
            Body::Records(records) => records
                .map(|record| Homeless {
                    flags: record.flags,
                    body: HomelessBody::Encoded(vec![record.body]),
                    receipt: None,
                })
                .collect(),
        });
        let flagged = homeless
            .map(|message| Homeless { flags: message.flags.with(Flags::REROUTED), ..message })
            .collect();
        if let Some(router) = lane.router.upgrade() {
            router.forget_local(&lane, flagged);
        }
    }

    fn settled(&self, settled: Ledger) {
        let Some(lane) = self.0.upgrade() else { return };
        let count = settled.taken + settled.dropped.total();
        {
            let mut account = lane.account.lock();
            let Some(left) = account.in_flight.checked_sub(count) else {
                // It was given up.
                return;
            };
            *account += settled;
            account.in_flight = left;
            lane.settled.fetch_add(count, Ordering::AcqRel);
        }
        lane.forget_if_settled();
        if let Some(router) = lane.router.upgrade() {
            router.settled.notify_waiters();
        }
    }
}
