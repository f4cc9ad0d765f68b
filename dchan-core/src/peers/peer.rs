//! One peer: its connection, if there is one, and the lanes between it and this node.

mod connection;
mod control;
mod lanes;
mod metrics;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info_span};

use super::{OutLane, Shared, asks::Asks, in_lanes::InLanes};
use crate::{
    Addr, Held, LaneId, LinkState, LogLimit, Namespace, NodeId, PeerInfo, ReceiverId, Version,
    inbox::Inbox,
    lane::Epoch,
    link::{Outbox, Ranks},
    metrics::PeerCounters,
    wire::{Control, Hello},
};

pub(crate) use lanes::stop_lane;

/// One peer.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(super) shared: Arc<Shared>,
    pub(super) state: Mutex<PeerState>,
    /// Held while a connection comes or goes: everything that follows from it is done in one step.
    passage: Mutex<()>,
    outbox: ArcSwapOption<Outbox>,
    /// The epoch of the connection that stands, or 0: for those who wait for a link.
    up: watch::Sender<Epoch>,
    pub(super) incoming: Mutex<InLanes>,
    /// A lane is over, and nothing of it is left.
    pub(super) fewer_lanes: Notify,
    pub(super) asks: Mutex<Asks>,
    watched: Mutex<Vec<Weak<Inbox>>>,
    /// Lanes that may have nothing to do.
    resting: Mutex<Vec<Weak<OutLane>>>,
    pub(super) counters: Arc<PeerCounters>,
    /// For lines that this peer can provoke.
    pub(crate) log: LogLimit,
    span: Span,
}

/// What the lock of a peer holds.
#[derive(Default)]
pub(super) struct PeerState {
    addr: Option<Addr>,
    pub(super) ranks: Ranks,
    hello: Option<Hello>,
    epoch: Epoch,
    standing: Option<CancellationToken>,
    /// When the last connection ended.
    fell: Option<Instant>,
    outs: BTreeMap<LaneId, Arc<OutLane>>,
    /// Lanes that were given up while the link was down: the other end does not know yet.
    given_up: HashMap<LaneId, (Namespace, ReceiverId)>,
    suspect: bool,
    /// The link has been down for so long that the lanes were given up.
    lost: bool,
    pub(super) dialling: bool,
    /// Why the last dial failed, since there was a connection.
    pub(super) dial_failed: Option<&'static str>,
    heard: Heard,
}

/// What the last heartbeat said.
#[derive(Debug, Default)]
struct Heard {
    version: Version,
    round_trip: Option<Duration>,
    /// Its time of sending, by the other side's clock, and its time of arrival, by ours.
    last: Option<(u64, u64)>,
}

/// A connection that may be served now.
pub(super) struct Installed {
    epoch: Epoch,
    outbox: Arc<Outbox>,
    cancel: CancellationToken,
}

/// Which end of a connection this is, and what is still to be said there.
pub(super) enum Role {
    Dialler,
    /// The dialler waits for this welcome.
    Listener(Box<Hello>),
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Peer {
    pub(super) fn new(id: NodeId, shared: Arc<Shared>) -> Arc<Self> {
        let span = info_span!(parent: &shared.span, "peer", %id);
        Arc::new(Self {
            id,
            shared,
            state: Mutex::default(),
            passage: Mutex::default(),
            outbox: ArcSwapOption::empty(),
            up: watch::Sender::new(0),
            incoming: Mutex::default(),
            fewer_lanes: Notify::new(),
            asks: Mutex::default(),
            watched: Mutex::default(),
            resting: Mutex::default(),
            counters: Arc::default(),
            log: LogLimit::default(),
            span,
        })
    }

    /// Runs a task that has to do with the peer.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.shared.tasks.spawn(task.instrument(self.span.clone()))
    }

    /// Whether a line of that kind may be written. Those who are not on the list share one limit, as
    /// anybody can come under any number of ids.
    pub(super) fn may_log(&self, kind: &'static str) -> Option<Held> {
        let listed = self.shared.view.borrow().nodes.contains_key(&self.id);
        let limit = if listed { &self.log } else { &self.shared.log };
        limit.pass(kind)
    }

    pub(super) fn set_addr(&self, addr: &Addr) {
        self.state.lock().addr = Some(addr.clone());
    }

    pub(super) fn addr(&self) -> Option<Addr> {
        self.state.lock().addr.clone()
    }

    /// Where things for the present connection are put.
    pub(crate) fn outbox(&self) -> Option<Arc<Outbox>> {
        self.outbox.load_full()
    }

    /// The same, if that is the present connection.
    pub(super) fn outbox_of(&self, epoch: Epoch) -> Option<Arc<Outbox>> {
        self.outbox().filter(|outbox| outbox.epoch == epoch)
    }

    pub(super) fn control(&self, control: Control) {
        if let Some(outbox) = self.outbox() {
            outbox.control(control);
        }
    }

    /// Says it in that connection, or not at all.
    pub(super) fn control_in(&self, epoch: Epoch, control: Control) {
        if let Some(outbox) = self.outbox_of(epoch) {
            outbox.control(control);
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow() != 0
    }

    pub(super) fn is_up_at(&self, addr: &Addr) -> bool {
        self.is_up() && self.state.lock().hello.as_ref().is_some_and(|hello| hello.addr == *addr)
    }

    pub(crate) fn watch_up(&self) -> watch::Receiver<Epoch> {
        self.up.subscribe()
    }

    /// What the peer said of itself when its present, or last, connection was made.
    pub(super) fn info(&self) -> Option<PeerInfo> {
        self.state.lock().hello.as_ref().map(info_of)
    }

    /// Whether a link to it should be made if there is none.
    pub(super) fn is_wanted(&self) -> bool {
        !self.state.lock().outs.is_empty() || self.asks.lock().are_waiting()
    }

    /// Since when it has no connection, if nothing on this side waits for one.
    pub(super) fn gone_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        let idle = state.standing.is_none() && !state.dialling && state.outs.is_empty();
        let fell = state.fell.filter(|_| idle);
        drop(state);
        fell.filter(|_| !self.asks.lock().are_waiting())
    }

    pub(super) fn is_in_use(&self) -> bool {
        let state = self.state.lock();
        let used = state.standing.is_some() || state.dialling || !state.outs.is_empty();
        let lost = state.lost;
        drop(state);
        // How its lanes ended is for a process that may ask. One that is off the list and has been out of
        // reach for so long has given them up, too.
        let incoming = self.incoming.lock();
        let remembered = if lost { incoming.count().0 > 0 } else { !incoming.is_empty() };
        drop(incoming);
        used || remembered || self.asks.lock().are_waiting()
    }

    /// Waits until the lanes to it and from it are over, and both sides know how they ended.
    pub(crate) async fn lanes_ended(&self) {
        let mut up = self.watch_up();
        while self.is_up() {
            // Before it looks, or it might miss the last one.
            let fewer = self.fewer_lanes.notified();
            if self.state.lock().outs.is_empty() && self.incoming.lock().is_empty() {
                return;
            }
            tokio::select! {
                () = fewer => {}
                _ = up.changed() => {}
            }
        }
    }

    /// Nothing more will be sent: say goodbye when all is out.
    pub(crate) fn finish(&self) {
        if let Some(outbox) = self.outbox() {
            outbox.finish();
        }
    }

    pub(super) fn publish(&self) {
        let state = self.state.lock();
        let Some(hello) = &state.hello else { return };
        let link = LinkState {
            boot: hello.boot,
            alive: state.standing.is_some() && !state.suspect,
            version: state.heard.version,
            round_trip: state.heard.round_trip,
        };
        drop(state);
        self.shared.publish(self.id, link);
    }

    /// Messages are taken in there: look after it with the next heartbeat, or when there will be none. `false`:
    /// there is no connection.
    pub(super) fn watch(&self, inbox: &Weak<Inbox>) -> bool {
        let mut watched = self.watched.lock();
        let up = self.outbox().is_some();
        if up {
            watched.push(inbox.clone());
        }
        up
    }

    /// Looks after those, and tells what was taken there.
    pub(super) fn look_after_inboxes(&self) {
        let watched = std::mem::take(&mut *self.watched.lock());
        watched.iter().filter_map(Weak::upgrade).for_each(|inbox| inbox.look());
    }
}

pub(super) fn info_of(hello: &Hello) -> PeerInfo {
    let Hello { node: id, boot, incarnation, addr, cluster, .. } = hello.clone();
    PeerInfo { id, boot, incarnation, addr, cluster }
}
