//! Which lane takes the next message of a namespace.
//!
//! All senders of a namespace on a node share one router. A message goes to the next lane, in turn,
//! that has credit. While nobody waits, that is all there is to it: the lane's own lock guards its credit.
//!
//! Who finds none waits in the queue of a semaphore, and stays counted as waiting until the message is
//! assigned. As long as anybody is, lanes put their credit on offer: the semaphore has as many permits as
//! there is credit on offer over all lanes, so that senders wait fairly and a dropped wait costs nothing;
//! and who has not waited stands back. When nobody waits any more, the first one that comes to a lane
//! takes the rest of its credit off offer again.
//!
//! A permit only says that *some* lane had credit. A lane that dies leaves permits behind that stand
//! for nothing: whoever holds one and finds no lane throws it away and waits again. There may be too
//! many permits for a moment, never too few.

mod assign;
mod encode;
mod homeless;
mod ledger;
mod list;
mod local;
mod metrics;
mod offer;
mod routes;
mod values;
mod wait;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    Namespace, ReceiverId,
    lane::Ledger,
    peers::{LaneOwner, OutLane, Peers, TakeBack},
};

pub(crate) use assign::{Outgoing, Reserved, Unassigned};
use homeless::Queue;
use list::List;
pub(crate) use local::LocalLane;
use routes::Forgotten;
pub(crate) use values::{LocalItem, Values};
pub(crate) use wait::Turn;

/// Assigns the messages of one namespace.
///
/// What each message looks at comes first, side by side: who sends over ten thousand channels finds none of it in the
/// cache.
#[repr(C)]
pub(crate) struct Router {
    /// How many senders wait for credit.
    waiting: AtomicUsize,
    next: AtomicUsize,
    /// The most bytes that a message may have.
    pub(crate) max_message: u64,
    has_homeless: AtomicBool,
    /// As `permits` is. To look there would be one more miss of the cache.
    is_closed: AtomicBool,
    routes: List,
    pub(crate) namespace: Namespace,
    peers: Arc<Peers>,
    me: Weak<Router>,
    /// As many as there is credit on offer, for those who wait.
    permits: Semaphore,
    /// Counts how often credit was put on offer: a scan that saw none is valid if it has not changed.
    offers: AtomicU64,
    state: Mutex<State>,
    settled: Notify,
    receivers: watch::Sender<usize>,
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
            routes: List::new(),
            next: AtomicUsize::new(start),
            waiting: AtomicUsize::new(0),
            state: Mutex::new(state),
            has_homeless: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            settled: Notify::new(),
            receivers: watch::Sender::new(0),
            max_message,
        })
    }

    /// No message will be accepted any more.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.permits.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// How many receivers the list has.
    pub(crate) fn receivers(&self) -> watch::Receiver<usize> {
        self.receivers.subscribe()
    }

    pub(crate) fn has_receivers(&self) -> bool {
        *self.receivers.borrow() > 0
    }
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
