//! Which lane takes the next message of a namespace.
//!
//! All senders of a namespace on a node share one router. A message goes to the next lane, in turn,
//! that has credit; the semaphore holds as many permits as there is credit on offer over all lanes, so
//! that senders wait fairly and a dropped wait costs nothing.
//!
//! A permit only says that *some* lane had credit. A lane that dies leaves permits behind that stand
//! for nothing: whoever holds one and finds no lane throws it away and waits again. There may be too
//! many permits for a moment, never too few.

mod homeless;
mod ledger;
mod local;
mod metrics;
mod offer;
mod routes;

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    Namespace, ReceiverId,
    lane::{EncodeFault, Epoch, Ledger, ReceiptCell, RecordWriter},
    peers::{LaneOwner, Out, OutLane, Peers, TakeBack},
    wire::Flags,
};

use homeless::Queue;
use local::Claim;
pub(crate) use local::{LocalItem, LocalLane, Values};
use routes::Forgotten;

/// Assigns the messages of one namespace.
pub(crate) struct Router {
    pub(crate) namespace: Namespace,
    peers: Arc<Peers>,
    me: Weak<Router>,
    permits: Semaphore,
    /// Counts how often credit was put on offer: a scan that saw none is valid if it has not changed.
    offers: AtomicU64,
    routes: ArcSwap<Vec<Route>>,
    next: AtomicUsize,
    /// How many senders wait for credit.
    waiting: AtomicUsize,
    state: Mutex<State>,
    has_homeless: AtomicBool,
    settled: Notify,
    receivers: watch::Sender<usize>,
    max_message: u64,
}

/// A way to a receiver.
#[derive(Clone)]
pub(crate) enum Route {
    Remote(Arc<OutLane>),
    Local(Arc<LocalLane>),
}

struct State {
    /// All ways, those that take no more messages included.
    lanes: HashMap<ReceiverId, Route>,
    /// Ways to receivers that are off the list, until the last message on them is settled.
    draining: Vec<Route>,
    homeless: Queue,
    /// The account of lanes that are over.
    retired: Ledger,
    handles: usize,
    /// Somebody waits for the last message, to let go of the router if there is no handle then.
    retiring: bool,
}

/// Why a message was not assigned.
#[derive(Debug)]
pub(crate) enum Unassigned {
    /// No lane has credit now.
    Full,
    /// It cannot be encoded, or is too large.
    Fault(EncodeFault),
}

/// Credit for one message on one lane, taken out of the offer.
pub(crate) struct Reserved {
    route: Route,
    epoch: Epoch,
}

impl Router {
    pub(crate) fn new(namespace: Namespace, peers: Arc<Peers>) -> Arc<Self> {
        let start = peers.shared.random().usize(..);
        let max_message = peers.shared.config.limits.message;
        let homeless = Queue::new(peers.shared.budget.clone());
        let (lanes, draining, retired) = Default::default();
        let (handles, retiring) = (0, false);
        let state = State { lanes, draining, homeless, retired, handles, retiring };
        Arc::new_cyclic(|me| Self {
            namespace,
            peers,
            me: me.clone(),
            permits: Semaphore::new(0),
            offers: AtomicU64::new(0),
            routes: ArcSwap::default(),
            next: AtomicUsize::new(start),
            waiting: AtomicUsize::new(0),
            state: Mutex::new(state),
            has_homeless: AtomicBool::new(false),
            settled: Notify::new(),
            receivers: watch::Sender::new(0),
            max_message,
        })
    }

    /// No message will be accepted any more.
    pub(crate) fn close(&self) {
        self.permits.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// How many receivers the list has.
    pub(crate) fn receivers(&self) -> watch::Receiver<usize> {
        self.receivers.subscribe()
    }

    pub(crate) fn has_receivers(&self) -> bool {
        *self.receivers.borrow() > 0
    }

    // ---- one message ----

    /// Waits until some lane has credit, and takes a permit. `false` if the router is closed.
    pub(crate) async fn wait_for_credit(&self) -> bool {
        // Counted before lanes are asked: one that gives its credit back later asks by itself.
        let _waiting = Waiting::begin(&self.waiting);
        self.ask_for_credit();
        self.permits.acquire().await.is_ok_and(|permit| {
            permit.forget();
            true
        })
    }

    /// Takes a permit, if there is one.
    #[inline]
    pub(crate) fn take_credit(&self) -> bool {
        self.permits.try_acquire().is_ok_and(|permit| {
            permit.forget();
            true
        })
    }

    /// The same. If there is none, lanes are asked for credit.
    pub(crate) fn take_or_ask(&self) -> bool {
        let taken = self.take_credit();
        if !taken {
            self.ask_for_credit();
        }
        taken
    }

    /// Whether somebody waits for credit.
    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0 || self.has_homeless.load(Ordering::Acquire)
    }

    /// Lanes that gave their credit back are told that it is needed.
    fn ask_for_credit(&self) {
        for route in self.routes.load().iter() {
            match route {
                Route::Remote(lane) => lane.with(Out::ask),
                Route::Local(lane) => lane.ask(),
            }
        }
    }

    /// Assigns a message to the next lane with credit. The caller has taken a permit, which is used up
    /// if this succeeds, or if no lane has credit after all.
    ///
    /// The value is taken out of `value` if the lane is in this process.
    pub(crate) fn assign<T: Serialize + Send + 'static>(
        &self,
        value: &mut Option<T>,
        flags: Flags,
        receipt: Option<&Arc<ReceiptCell>>,
    ) -> Result<(), Unassigned> {
        if ENCODING.get() {
            // The lock of a lane is held on this thread: a value that sends while it is encoded.
            self.permits.add_permits(1);
            return Err(Unassigned::Fault(EncodeFault::Encode(postcard::Error::SerdeSerCustom)));
        }
        let unused = Unused(&self.permits);
        // Beside the closure, not through it: an error is large, and rare.
        let mut fault = None;
        let found = self.scan(|route| match route {
            Route::Remote(lane) => lane.with_offer(|out| {
                if !self.is_on_offer(out) {
                    self.ask_in_turn(out);
                    return None;
                }
                match self.accept(out, value.as_ref()?, flags, receipt.cloned()) {
                    Ok(()) => self.use_offer(out),
                    Err(error) => fault = Some(error),
                }
                Some(())
            }),
            Route::Local(lane) => {
                put_local(lane, value, flags, receipt, Claim::Offer).then_some(())
            }
        });
        match fault {
            Some(fault) => Err(Unassigned::Fault(fault)),
            None => {
                std::mem::forget(unused);
                found.ok_or(Unassigned::Full)
            }
        }
    }

    /// Takes credit for one message out of the offer. As [`assign`](Self::assign), but for later.
    pub(crate) fn reserve(&self) -> Result<Reserved, Unassigned> {
        self.scan(|route| match route {
            Route::Remote(lane) => lane.with(|out| {
                if !self.is_on_offer(out) {
                    self.ask_in_turn(out);
                    return None;
                }
                let epoch = out.lane.reserve();
                self.use_offer(out);
                Some(Reserved { route: route.clone(), epoch })
            }),
            Route::Local(lane) => {
                lane.reserve().then(|| Reserved { route: route.clone(), epoch: 0 })
            }
        })
        .ok_or(Unassigned::Full)
    }

    /// Visits the lanes, the next in turn first, until one has an answer.
    fn scan<R>(&self, mut visit: impl FnMut(&Route) -> Option<R>) -> Option<R> {
        loop {
            let offers = self.offers.load(Ordering::Acquire);
            let routes = self.routes.load();
            let (before, after) = routes.split_at(self.turn(routes.len()));
            let found = after.iter().chain(before).find_map(&mut visit);
            if found.is_some() || self.offers.load(Ordering::Acquire) == offers {
                return found;
            }
        }
    }

    /// Which of so many lanes is the next in turn. Two threads at a time may come to the same one: an
    /// exact count would cost every message more than that is worth.
    fn turn(&self, of: usize) -> usize {
        if of < 2 {
            return 0;
        }
        let turn = self.next.load(Ordering::Relaxed);
        self.next.store(turn.wrapping_add(1), Ordering::Relaxed);
        turn % of
    }

    /// It is the turn of a lane that gave its credit back. Nobody has to wait for credit to be told that
    /// there is use for it: while other lanes have some, its receiver would get nothing.
    fn ask_in_turn(&self, out: &mut Out) {
        if out.credit() == 0 {
            out.lane.ask();
        }
    }

    /// Sends with credit that was reserved. If the lane is over, then through another one with credit;
    /// `Full` if there is none.
    pub(crate) fn send_reserved<T: Serialize + Send + 'static>(
        &self,
        reserved: &Reserved,
        value: &mut Option<T>,
        flags: Flags,
        receipt: Option<&Arc<ReceiptCell>>,
    ) -> Result<(), Unassigned> {
        if ENCODING.get() {
            return Err(Unassigned::Fault(EncodeFault::Encode(postcard::Error::SerdeSerCustom)));
        }
        let sent = match &reserved.route {
            Route::Remote(lane) => lane.with(|out| {
                out.lane.unreserve(reserved.epoch);
                let open = out.lane.is_open();
                let value = value.as_ref().filter(|_| open)?;
                let accepted = self.accept(out, value, flags, receipt.cloned());
                self.offer(out);
                Some(accepted)
            }),
            Route::Local(lane) => {
                put_local(lane, value, flags, receipt, Claim::Permit).then_some(Ok(()))
            }
        };
        match sent {
            Some(sent) => sent.map_err(Unassigned::Fault),
            None if self.take_or_ask() => self.assign(value, flags, receipt),
            None => Err(Unassigned::Full),
        }
    }

    /// Gives reserved credit back.
    pub(crate) fn unreserve(&self, reserved: &Reserved) {
        match &reserved.route {
            Route::Remote(lane) => lane.with(|out| {
                out.lane.unreserve(reserved.epoch);
                self.offer(out);
            }),
            Route::Local(lane) => lane.release(),
        }
    }

    fn accept<T: Serialize>(
        &self,
        out: &mut Out,
        value: &T,
        flags: Flags,
        receipt: Option<Arc<ReceiptCell>>,
    ) -> Result<(), EncodeFault> {
        out.lane.accept(flags, receipt, self.max_message, |writer| encode(value, writer))?;
        out.on_more();
        Ok(())
    }
}

/// Puts a value into a lane of this process. Whether the lane took it.
fn put_local<T: Serialize + Send + 'static>(
    lane: &LocalLane,
    value: &mut Option<T>,
    flags: Flags,
    receipt: Option<&Arc<ReceiptCell>>,
    claim: Claim,
) -> bool {
    let Some(taken) = value.take() else { return false };
    match lane.put(taken, flags, receipt.cloned(), claim) {
        Ok(()) => true,
        Err(refused) => {
            *value = Some(refused);
            false
        }
    }
}

/// A sender that waits for credit.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A permit that was taken. Dropped, because a value could not be encoded or panicked, it goes back:
/// the credit is still on offer.
struct Unused<'a>(&'a Semaphore);

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

thread_local! {
    /// Whether this thread is in a user's `Serialize`, with a lane locked.
    static ENCODING: Cell<bool> = const { Cell::new(false) };
}

/// Encodes a value behind what is in the lane already.
pub(crate) fn encode<T: Serialize>(
    value: &T,
    writer: &mut RecordWriter<'_>,
) -> postcard::Result<()> {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            ENCODING.set(false);
        }
    }
    ENCODING.set(true);
    let _reset = Reset;
    crate::codec::encode(value, writer)
}

impl LaneOwner for Router {
    fn recount(&self, lane: &Arc<OutLane>) {
        self.place_homeless();
        lane.with(|out| {
            self.offer(out);
            if out.credit() == 0 && self.is_waited_for() {
                // It may just have given its credit back, or come to stand without any.
                out.ask();
            }
        });
    }

    fn take_back(&self, lane: &Arc<OutLane>, take: TakeBack<'_>, ended: bool) {
        let mut state = self.state.lock();
        let ledger = lane.with(|out| {
            let messages = take(&mut out.lane);
            // They are held all the time, and never free for others to take their room.
            self.take_in_homeless(&mut state, messages);
            out.on_less();
            self.offer(out);
            out.lane.ledger()
        });
        let it = |route: &Route| matches!(route, Route::Remote(known) if Arc::ptr_eq(known, lane));
        let was = if ended { self.forget(&mut state, lane.receiver, it) } else { None };
        if was.is_some() {
            state.retired += ledger;
        }
        drop(state);
        self.place_homeless();
        self.settled.notify_waiters();
        if was == Some(Forgotten::Draining) {
            self.reopen(lane.receiver);
        }
    }

    fn settled(&self) {
        self.settled.notify_waiters();
    }

    fn lost(&self, lane: &OutLane) {
        self.reopen(lane.receiver);
    }
}
