//! Wiring: what a node is made of, and in which order it starts and stops.

#[cfg(test)]
mod cuts_tests;
#[cfg(test)]
mod full_tests;
mod health;
mod observe;
mod open;
mod reconcile;
mod shutdown;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod told_tests;
#[cfg(test)]
mod turns_tests;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use imbl::OrdMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tracing::{Instrument, info, warn};

use crate::{
    Addr, Boot, Config, ConfigError, Context, Incarnation, Ledger, Links, Me, Membership,
    MembershipError, Namespace, NodeId, ReceiverId, Requests, Transport, TransportError, View,
    inbox::Inbox,
    peers::{Peers, Shared, serve_calls, serve_listener},
    router::Router,
};

pub use health::{Health, NotReady};
pub use open::{OpenReceiver, OpenSender};
pub use shutdown::ShutdownError;

/// How many calls of the membership wait for the links, and how many questions for the membership.
const QUEUE: usize = 1024;

/// A node of a cluster. Cheap to clone.
///
/// It lives until [`shutdown`](Self::shutdown), or until the last clone and the last sender and
/// receiver that it opened are gone: that is an abrupt stop, which says nothing to anybody.
#[derive(Clone)]
pub struct Node {
    alive: Arc<Alive>,
}

/// What a node is started with.
#[derive(Debug)]
pub struct NodeOptions {
    /// Its id: the same for as long as its data directory lives.
    pub id: NodeId,
    /// Which of its lives this is.
    pub incarnation: Incarnation,
    /// Where it listens. Port 0 asks for a free port.
    pub listen: Addr,
    /// Where others can reach it, if that is not where it listens.
    pub advertise: Option<Addr>,
    /// Labels that others see.
    pub tags: OrdMap<String, String>,
    /// Settings.
    pub config: Config,
}

impl NodeOptions {
    /// A new node that listens there, with default settings.
    pub fn new(listen: Addr) -> Self {
        Self {
            id: NodeId(fastrand::u64(..)),
            incarnation: Incarnation(1),
            listen,
            advertise: None,
            tags: OrdMap::new(),
            config: Config::default(),
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot listen.
    #[error("cannot listen")]
    Listen(#[source] TransportError),
    /// It could not become part of the cluster.
    #[error("cannot become part of the cluster")]
    Membership(#[source] MembershipError),
}

/// What tasks of a node share. They do not keep it alive.
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peers: Arc<Peers>,
    membership: Arc<dyn Membership>,
    /// The view that the routers were last brought in step with. Locked before `routers`.
    seen: Mutex<Arc<View>>,
    routers: Mutex<HashMap<Namespace, Arc<Router>>>,
    /// The account of routers that are gone. Changed with `routers` locked.
    retired: Mutex<Ledger>,
    /// Receivers whose registration has returned: they are put back if the list loses them.
    registered: Mutex<HashSet<ReceiverId>>,
    next_receiver: AtomicU64,
    /// Somebody has seen that the list is to be mended.
    mends: Notify,
    /// Nothing is opened any more.
    closing: AtomicBool,
}

/// Keeps a node alive. Dropped without a shutdown, it stops the node abruptly.
pub(crate) struct Alive {
    inner: Arc<Inner>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let me = &self.inner().shared.me;
        f.debug_struct("Node").field("id", &me.id).field("addr", &me.addr).finish()
    }
}

impl Node {
    /// Starts a node, and returns once it is part of the cluster.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Nothing is left running.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops what was started.
    pub async fn start(
        options: NodeOptions,
        transport: Arc<dyn Transport>,
        membership: Arc<dyn Membership>,
    ) -> Result<Self, StartError> {
        options.config.check()?;
        let listener = transport.listen(&options.listen).await.map_err(StartError::Listen)?;
        let local = listener.local_addr();
        let me = Me {
            id: options.id,
            boot: Boot(fastrand::u64(..)),
            incarnation: options.incarnation,
            addr: options.advertise.unwrap_or(local),
            tags: options.tags,
        };
        let (requests, calls) = Requests::channel(QUEUE);
        let (asked, questions) = mpsc::channel(QUEUE);
        let view = membership.view();
        let shared = Arc::new(Shared::new(me.clone(), options.config, transport, view, asked));
        let links = shared.links.subscribe();
        let inner = Inner::new(shared.clone(), membership.clone());
        // From here on, dropping this stops everything.
        let node = Self { alive: Arc::new(Alive { inner: inner.clone() }) };
        shared.spawn_vital("listener", serve_listener(inner.peers.clone(), listener));
        shared.spawn(serve_calls(inner.peers.clone(), calls));
        shared.spawn_vital("look at the list", inner.clone().follow_view());
        shared.spawn_vital("care for the list", inner.clone().keep_list());
        let (serving, stopping) = (shared.budget.clone().serve(), shared.stopping.clone());
        shared.spawn_vital("budget", async move {
            stopping.run_until_cancelled(serving).await;
        });
        let timers = shared.timers.clone();
        let context = Context { me: me.clone(), requests, questions, links, timers };
        let started = membership.start(context).instrument(shared.span.clone());
        if let Err(error) = started.await {
            let _left = membership.leave(Duration::ZERO).await;
            inner.stop_tasks().await;
            return Err(StartError::Membership(error));
        }
        info!(node = %me.id, addr = %me.addr, "node started");
        shared.spawn(inner.observe());
        Ok(node)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.alive.inner
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.inner().shared.me.id
    }

    /// Where others can reach it.
    pub fn addr(&self) -> &Addr {
        &self.inner().shared.me.addr
    }

    /// The list of nodes and receivers, as this node knows it.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.inner().shared.view.clone()
    }

    /// How the links to other nodes are.
    pub fn links(&self) -> watch::Receiver<Links> {
        self.inner().shared.links.subscribe()
    }

    /// What has become of the messages that this node accepted for a namespace. All zero if it has
    /// never had a sender for it, or if nothing of the last one is left.
    pub fn ledger(&self, namespace: &str) -> Ledger {
        let Ok(name) = Namespace::new(namespace) else { return Ledger::default() };
        let router = self.inner().routers.lock().get(&name).cloned();
        router.map(|router| router.ledger()).unwrap_or_default()
    }

    /// How many tasks this node has running: for tests and metrics.
    pub fn tasks(&self) -> usize {
        self.inner().shared.tasks.len()
    }
}

impl Inner {
    fn new(shared: Arc<Shared>, membership: Arc<dyn Membership>) -> Arc<Self> {
        Arc::new(Self {
            peers: Peers::new(shared.clone()),
            shared,
            membership,
            seen: Mutex::default(),
            routers: Mutex::default(),
            retired: Mutex::default(),
            registered: Mutex::default(),
            next_receiver: AtomicU64::new(0),
            mends: Notify::new(),
            closing: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn inboxes(&self) -> Vec<Arc<Inbox>> {
        self.shared.inboxes.lock().values().cloned().collect()
    }

    /// What became of all messages that were accepted here.
    fn account(&self) -> Ledger {
        let routers = self.routers.lock();
        let mut sum = *self.retired.lock();
        routers.values().for_each(|router| sum += router.ledger());
        sum
    }

    fn all_routers(&self) -> Vec<Arc<Router>> {
        self.routers.lock().values().cloned().collect()
    }
}

impl Alive {
    /// Waits until the node stops.
    pub(crate) async fn stopped(&self) {
        self.inner.shared.stopping.cancelled().await;
    }

    /// A sender is gone. The last one of a namespace leaves its router to itself.
    pub(crate) fn release(&self, router: &Arc<Router>) {
        if router.release() && !self.inner.is_closing() {
            let (inner, router) = (self.inner.clone(), router.clone());
            self.inner.shared.spawn(async move { inner.retire(router).await });
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.inner.is_closing() {
            return;
        }
        let me = &self.inner.shared.me;
        warn!(node = %me.id, "node dropped without a shutdown: what was not delivered may be lost");
        self.inner.abort();
    }
}
