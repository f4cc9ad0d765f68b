use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dchan_core::{
    Change, ClusterId, Context, Membership, MembershipError, MembershipStatus, NodeId, Version,
    View,
};
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tokio::{
    sync::{SetOnce, mpsc, watch},
    time::Instant,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    DataDir, NewError, RaftConfig, founding, leader, leave,
    network::Network,
    presence, proposals, server,
    shared::{Peers, Published, Room, Shared},
    store::{self, Belonging, Machine, Store},
    telemetry::{Telemetry, sample},
    types::{Fatal, Founding, Metrics, Raft},
};

/// How long a snapshot that came in part is kept.
const STALE: Duration = Duration::from_secs(30);

/// Keeps the list by Raft.
///
/// A majority of the founders must keep their directories: a founder that lost its own comes back as a
/// new node, which gets the old one's vote once the others have agreed. If a majority is lost, then so
/// is the cluster.
///
/// A founder that leaves stays a voter, so that it can come back; while it is away it counts as one
/// that is down. Other nodes leave without a trace.
#[derive(Debug)]
pub struct RaftMembership {
    config: RaftConfig,
    view: Published,
    tasks: TaskTracker,
    // Ends everything when the membership is dropped, though without waiting for it.
    stop: DropGuard,
    // Until it is started, and after it has left, the directory is nobody else's business.
    store: Mutex<Option<Store>>,
    shared: SetOnce<Arc<Shared>>,
    telemetry: Arc<Telemetry>,
}

impl RaftMembership {
    /// A membership for the node whose directory that is. Nobody is asked before it is started.
    ///
    /// The view names the cluster already if the node was in one before.
    ///
    /// # Errors
    ///
    /// A setting is out of range, or what is stored cannot be read.
    pub fn new(dir: DataDir, config: RaftConfig) -> Result<Self, NewError> {
        let backend = store::backend(&dir)?;
        Self::on_backend(dir, config, backend)
    }

    /// With a log that is not necessarily in the directory.
    pub(crate) fn on_backend(
        dir: DataDir,
        config: RaftConfig,
        backend: impl redb::StorageBackend,
    ) -> Result<Self, NewError> {
        let config = config.validated()?;
        let store = Store::open(Arc::new(dir), config.writes, backend)?;
        let cluster = store.belonging().cluster;
        let view = cluster.map_or_else(View::default, View::of_cluster);
        Ok(Self {
            config,
            view: Arc::new(watch::Sender::new(Arc::new(view))),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new().drop_guard(),
            store: Mutex::new(Some(store)),
            shared: SetOnce::new(),
            telemetry: Arc::default(),
        })
    }

    fn share(
        &self,
        context: &mut Option<Context>,
    ) -> Result<(Arc<Shared>, Context, mpsc::Receiver<proposals::Proposal>), MembershipError> {
        let again = || MembershipError::Refused("a membership is started once".into());
        let context = context.take().ok_or_else(again)?;
        let store = self.store.lock().take().ok_or_else(again)?;
        let (sender, waiting) = mpsc::channel(self.config.limits.waiting);
        let peers = Peers {
            requests: context.requests.clone(),
            view: self.view.clone(),
            store: store.clone(),
            telemetry: self.telemetry.clone(),
        };
        let seed = self.config.seed ^ context.me.id.0;
        let shared = Arc::new(Shared {
            config: self.config.clone(),
            me: context.me.clone(),
            peers,
            links: context.links.clone(),
            timers: context.timers.clone(),
            store,
            raft: SetOnce::new(),
            proposals: sender,
            room: Room::new(seed, self.stop.token().clone(), self.tasks.clone()),
        });
        self.shared.set(shared.clone()).map_err(|_| again())?;
        Ok((shared, context, waiting))
    }
}

#[async_trait]
impl Membership for RaftMembership {
    async fn start(&self, context: Context) -> Result<(), MembershipError> {
        let (shared, context, waiting) = self.share(&mut Some(context))?;
        let known = shared.store.dir().node_id();
        if context.me.id != known {
            let reason = format!("the data directory is node {known}'s, not {}'s", context.me.id);
            return Err(MembershipError::Refused(reason));
        }
        shared.spawn(server::run(shared.clone(), context.questions));
        founding::check_alone(&shared).await?;
        let belonging = founding::belong(&shared).await?;
        shared.scope(launch(&shared, belonging)).await?;
        shared.spawn(proposals::run(shared.clone(), waiting));
        shared.spawn(presence::run(shared.clone()));
        shared.spawn(leader::run(shared.clone()));
        shared.spawn(keep_house(shared.clone()));
        listed(&shared).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Version, MembershipError> {
        let shared = tokio::select! {
            shared = self.shared.wait() => shared,
            () = self.stop.token().cancelled() => return Err(MembershipError::Stopped),
        };
        shared.apply(changes).await
    }

    fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// There is a quorum if a leader with a majority has renewed this node's lease lately.
    ///
    /// A node whose disk has failed, or whose identity another process has, keeps a fault until it is
    /// restarted: it has no vote and opens no channels. Those that are open flow on.
    fn status(&self) -> MembershipStatus {
        let telemetry = &self.telemetry;
        let times = &self.config.times;
        let mut status = MembershipStatus::default();
        status.quorum = telemetry.was_led_within(times.lease * 2 + times.election_max * 2);
        status.leader_changes = telemetry.leader_changes();
        status.stopped = self.stop.token().is_cancelled();
        status.samples = telemetry.samples();
        let shared = self.shared.get();
        status.fault = shared.and_then(|shared| shared.fault());
        let raft = shared.and_then(|shared| shared.metrics());
        status.term = raft.as_ref().map_or(0, |raft| raft.current_term);
        let last = raft.and_then(|raft| raft.last_log_index).unwrap_or(0);
        let log = shared.map_or(0, |shared| shared.store.log_bytes());
        status.samples.extend([
            sample("dchan_raft_last_entry", "The number of the last log entry.", last as f64),
            sample(
                "dchan_raft_log_bytes",
                "The size of the log, in memory and on disk.",
                log as f64,
            ),
            sample("dchan_raft_tasks", "Tasks of the membership.", self.tasks.len() as f64),
        ]);
        status
    }

    /// Besides what the trait says: a leader hands over first. If the time is up, the error is
    /// [`MembershipError::Unknown`], and everything has ended all the same.
    async fn leave(&self, within: Duration) -> Result<(), MembershipError> {
        let mut left = Ok(());
        if let Some(shared) = self.shared.get()
            && !self.stop.token().is_cancelled()
        {
            shared.room.leaving.cancel();
            left = shared.scope(leave::take_off(shared, within)).await;
        }
        self.stop.token().cancel();
        self.tasks.close();
        self.tasks.wait().await;
        left
    }
}

/// Starts Raft, which then runs until the membership stops.
async fn launch(shared: &Arc<Shared>, belonging: Belonging) -> Result<(), MembershipError> {
    let Some(cluster) = belonging.cluster else { return Err(MembershipError::Stopped) };
    show_cluster(shared, cluster);
    let config = shared.config.for_openraft();
    let config = config.map_err(|error| MembershipError::Storage(Box::new(error)))?;
    let tasks = &shared.room.tasks;
    let network = Network {
        peers: shared.peers.clone(),
        within: shared.config.times.request,
        chunk: shared.config.limits.snapshot_chunk,
        _token: tasks.token(),
    };
    let view = shared.peers.view.clone();
    let telemetry = shared.telemetry().clone();
    let machine = Machine::new(&shared.store, cluster, view, telemetry, Some(tasks.token()));
    let (id, store) = (shared.me.id.0, shared.store.clone());
    let raft = Raft::new(id, Arc::new(config), network, store, machine).await;
    let raft = raft.map_err(|error| MembershipError::Storage(Box::new(error)))?;
    let (stop, running) = (shared.room.stop.clone(), raft.clone());
    let end = async move {
        stop.cancelled().await;
        if running.shutdown().await.is_err() {
            tracing::error!("Raft did not stop in good order");
        }
    };
    tasks.spawn(shared.scope(end));
    // It is set only here, once.
    let _ = shared.raft.set(raft.clone());
    if let Some(founding) = belonging.founding {
        shared.spawn(initialise(shared.clone(), raft, founding));
    }
    Ok(())
}

fn show_cluster(shared: &Shared, cluster: ClusterId) {
    shared.peers.view.send_modify(|view| Arc::make_mut(view).cluster = Some(cluster));
}

/// Tells Raft who the voters are, unless it knows.
///
/// All founders would say the same, so any of them may. The proposer does it at once; the others only
/// if it does not get to it, as each would stand for election.
async fn initialise(shared: Arc<Shared>, raft: Raft, founding: Founding) {
    if matches!(raft.is_initialized().await, Ok(true) | Err(_)) {
        return;
    }
    if founding.founders.keys().next() == Some(&shared.me.addr) {
        founding::announce(&shared, &founding).await;
    } else {
        let patience = shared.config.times.request + shared.config.times.election_max * 2;
        tokio::time::sleep(shared.jittered(patience)).await;
    }
    if matches!(raft.is_initialized().await, Ok(false))
        && let Err(error) = raft.initialize(founding.members()).await
    {
        tracing::debug!(%error, "initialised meanwhile");
    }
}

/// Waits until this node sees itself on the list.
async fn listed(shared: &Shared) -> Result<(), MembershipError> {
    let (mut view, mut refused) = (shared.peers.view.subscribe(), shared.room.refused.subscribe());
    let here = |view: &Arc<View>| {
        let life = shared.life();
        let entry = view.nodes.get(&shared.me.id);
        entry.is_some_and(|e| e.boot == life.boot && e.incarnation == life.incarnation)
    };
    tokio::select! {
        shown = view.wait_for(here) => shown.map(|_| ()).map_err(|_| MembershipError::Stopped),
        reason = refused.wait_for(Option::is_some) => {
            let reason = reason.ok().and_then(|reason| reason.clone());
            Err(MembershipError::Refused(reason.unwrap_or_default()))
        }
        fault = shared.room.fault.wait() => Err(shared.faulty(fault)),
        () = shared.room.stop.cancelled() => Err(MembershipError::Stopped),
    }
}

/// Shows who leads, counts, and keeps the log and what came in part small.
async fn keep_house(shared: Arc<Shared>) {
    let raft = shared.raft.wait().await;
    let mut metrics = raft.metrics();
    let mut compacted = Instant::now();
    loop {
        let now = metrics.borrow_watched().clone();
        if now.running_state.is_err() {
            return failed(&shared, &now);
        }
        show_leader(&shared, now.current_leader.map(NodeId), now.current_term);
        let bytes = shared.store.log_bytes();
        if bytes > shared.config.limits.log_bytes && compacted.elapsed() > Duration::from_secs(1) {
            compacted = Instant::now();
            compact(raft, now.last_applied.map(|at| at.index)).await;
        }
        let stale = |a: &mut crate::transfer::Assembly| a.touched.elapsed() > STALE;
        shared.room.assembly.lock().take_if(stale);
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() {
                // It says last why it ends.
                let last = metrics.borrow_watched().clone();
                return failed(&shared, &last);
            },
            () = shared.timers.sleep(STALE) => {}
        }
    }
}

/// Raft ends by itself only if the disk fails it, or by a bug. The node keeps its place on the list, so
/// that its channels flow on.
fn failed(shared: &Shared, last: &Metrics) {
    let error = last.running_state.as_ref().err().unwrap_or(&Fatal::Stopped);
    let fault = format!(
        "{error}: this node takes no part in keeping the list until it is restarted. See to its disk first"
    );
    if !shared.room.stop.is_cancelled() && shared.room.fault.set(fault).is_ok() {
        tracing::error!(%error, "Raft has failed: this node has no vote, and opens no channels, until it is restarted. Channels that are open flow on");
        show_leader(shared, None, last.current_term);
    }
}

async fn compact(raft: &Raft, upto: Option<u64>) {
    tracing::debug!("the log is compacted for its size");
    let _ = raft.trigger().snapshot().await;
    if let Some(upto) = upto {
        // Done once the snapshot holds it.
        let _ = raft.trigger().purge_log(upto).await;
    }
}

fn show_leader(shared: &Shared, leader: Option<NodeId>, term: u64) {
    shared.peers.view.send_if_modified(|view| {
        let changed = view.leader != leader;
        if changed {
            shared.telemetry().leader_changed();
            log_leader(shared, leader, term);
            Arc::make_mut(view).leader = leader;
        }
        changed
    });
}

fn log_leader(shared: &Shared, leader: Option<NodeId>, term: u64) {
    let Some(held) = shared.telemetry().log.pass("leader") else { return };
    let suppressed = held.lines();
    match leader {
        Some(leader) => tracing::info!(%leader, term, suppressed, "leader elected"),
        None => tracing::info!(term, suppressed, "no leader"),
    }
}
