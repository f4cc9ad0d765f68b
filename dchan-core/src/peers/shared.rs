use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, Span, info_span};

use super::Peer;
use crate::{
    Addr, Config, Incarnation, LaneId, LinkState, Links, LogLimit, Me, NodeId, Question,
    ReceiverId, Timers, Transport, View,
    budget::Budget,
    inbox::{InPlace, Inbox},
    metrics::NodeCounters,
    wire::{Hello, VERSION},
};

/// What all links of a node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) me: Me,
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) links: watch::Sender<Links>,
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) timers: Timers,
    pub(crate) tasks: TaskTracker,
    /// Set when the node stops taking part: no new links, no dialling.
    pub(crate) stopping: CancellationToken,
    pub(crate) started: Instant,
    /// For lines about strangers: whoever can reach the port can provoke them.
    pub(crate) log: LogLimit,
    pub(crate) counters: NodeCounters,
    pub(crate) span: Span,
    /// A task that the node cannot do without, and that has ended all the same.
    ended: Mutex<Option<&'static str>>,
    /// What the lanes to all peers may hold.
    pub(crate) budget: Arc<Budget>,
    pub(crate) in_place: InPlace,
    /// Something of a peer is gone: perhaps it can be forgotten.
    pub(crate) idle: Notify,
    pub(crate) inboxes: Mutex<HashMap<ReceiverId, Arc<Inbox>>>,
    next_lane: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        me: Me,
        config: Config,
        transport: Arc<dyn Transport>,
        view: watch::Receiver<Arc<View>>,
        questions: mpsc::Sender<Question>,
    ) -> Self {
        let span = info_span!("node", id = %me.id);
        Self {
            me,
            budget: Budget::new(config.limits.retained),
            in_place: InPlace::default(),
            config,
            transport,
            view,
            links: watch::Sender::new(Links::new()),
            questions,
            timers: Timers::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            started: Instant::now(),
            log: LogLimit::default(),
            counters: NodeCounters::default(),
            span,
            ended: Mutex::new(None),
            idle: Notify::new(),
            inboxes: Mutex::new(HashMap::new()),
            next_lane: AtomicU64::new(LaneId::FIRST.0),
        }
    }

    /// Runs a task of the node.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn(task.instrument(self.span.clone()))
    }

    /// Runs a task that the node cannot do without: if it ends before the node stops, by itself or by
    /// a panic, then the node is not live any more.
    pub(crate) fn spawn_vital(
        self: &Arc<Self>,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let vital = Vital { shared: self.clone(), name };
        self.spawn(async move {
            let _vital = vital;
            task.await;
        });
    }

    /// The first vital task that has ended.
    pub(crate) fn ended_task(&self) -> Option<&'static str> {
        *self.ended.lock()
    }

    /// A lane id that this process has not used.
    pub(crate) fn next_lane(&self) -> LaneId {
        LaneId(self.next_lane.fetch_add(1, Ordering::Relaxed))
    }

    /// How this node introduces itself.
    pub(crate) fn hello(&self, attempt: u64) -> Hello {
        let view = self.view.borrow();
        Hello {
            version: VERSION,
            cluster_name: self.config.cluster_name.clone(),
            cluster: view.cluster,
            transport: self.transport.name().into(),
            node: self.me.id,
            incarnation: self.incarnation(&view),
            boot: self.me.boot,
            addr: self.me.addr.clone(),
            attempt,
        }
    }

    /// The list may have this node in a later life than it started in.
    fn incarnation(&self, view: &View) -> Incarnation {
        let listed = view.nodes.get(&self.me.id).filter(|entry| entry.boot == self.me.boot);
        listed.map_or(self.me.incarnation, |entry| entry.incarnation.max(self.me.incarnation))
    }

    /// The receiver of this process with that id.
    pub(crate) fn inbox(&self, id: &ReceiverId) -> Option<Arc<Inbox>> {
        self.inboxes.lock().get(id).cloned()
    }

    /// Microseconds since the node started.
    pub(crate) fn now_micros(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// Whether this process has ever opened a lane with that number.
    pub(crate) fn has_opened(&self, lane: LaneId) -> bool {
        lane.is_data() && lane.0 < self.next_lane.load(Ordering::Relaxed)
    }

    pub(crate) fn random(&self) -> fastrand::Rng {
        // Forked by the lane counter, so that tasks that start in any order differ all the same.
        let salt = self.next_lane.fetch_add(1, Ordering::Relaxed);
        fastrand::Rng::with_seed(self.config.seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn publish(&self, peer: NodeId, state: LinkState) {
        self.links.send_if_modified(|links| {
            if links.get(&peer) == Some(&state) {
                return false;
            }
            links.insert(peer, state);
            true
        });
    }
}

/// Notes when a task ends.
struct Vital {
    shared: Arc<Shared>,
    name: &'static str,
}

impl Drop for Vital {
    fn drop(&mut self) {
        if !self.shared.stopping.is_cancelled() {
            self.shared.ended.lock().get_or_insert(self.name);
        }
    }
}

/// All peers that this node has had something to do with.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) shared: Arc<Shared>,
    map: Mutex<HashMap<NodeId, Arc<Peer>>>,
}

impl Peers {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared, map: Mutex::new(HashMap::new()) })
    }

    /// The peer with that id. `addr`: where it can be reached, if that is known better than before.
    pub(crate) fn peer(&self, id: NodeId, addr: Option<&Addr>) -> Arc<Peer> {
        let mut map = self.map.lock();
        let peer = map.entry(id).or_insert_with(|| Peer::new(id, self.shared.clone())).clone();
        drop(map);
        if let Some(addr) = addr {
            peer.set_addr(addr);
        }
        peer
    }

    /// The peer with that id, which has come by itself. `None` if it is not on the list, and too many
    /// such are here. One that is gone makes room: of the lanes it had, only their ends are left.
    pub(crate) fn admit(&self, id: NodeId) -> Option<Arc<Peer>> {
        let view = self.shared.view.borrow().clone();
        let mut map = self.map.lock();
        let strangers =
            || map.iter().filter(|entry: &(&NodeId, &Arc<Peer>)| !view.nodes.contains_key(entry.0));
        let most = self.shared.config.limits.strangers;
        if map.contains_key(&id) || view.nodes.contains_key(&id) || strangers().count() < most {
            drop(map);
            return Some(self.peer(id, None));
        }
        let fell = |(id, peer): (&NodeId, &Arc<Peer>)| Some((peer.gone_since()?, *id));
        let (_, gone) = strangers().filter_map(fell).min()?;
        let peer = map.remove(&gone);
        drop(map);
        if let Some(peer) = peer {
            peer.bury_incoming();
        }
        self.shared.links.send_modify(|links| {
            links.remove(&gone);
        });
        Some(self.peer(id, None))
    }

    /// A peer with a link, by its address.
    pub(crate) fn at(&self, addr: &Addr) -> Option<Arc<Peer>> {
        self.all().into_iter().find(|peer| peer.is_up_at(addr))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        self.map.lock().values().cloned().collect()
    }

    /// Forgets peers of which nothing is left: not listed, not linked, no lanes. Returns whether some
    /// are still in somebody's hands, who may be about to use them: look again soon.
    pub(crate) fn forget_idle(&self) -> bool {
        let view = self.shared.view.borrow().clone();
        let (mut gone, mut held) = (Vec::new(), false);
        self.map.lock().retain(|id, peer| {
            if view.nodes.contains_key(id) || peer.is_in_use() {
                return true;
            }
            // Nobody can get hold of it while the map is locked.
            let idle = Arc::strong_count(peer) == 1;
            held |= !idle;
            if idle {
                gone.push(*id);
            }
            !idle
        });
        if !gone.is_empty() {
            self.shared.links.send_modify(|links| {
                for id in gone {
                    links.remove(&id);
                }
            });
        }
        held
    }
}
