//! A cluster of actors, and what can be done to it.

mod flows;
mod health;
mod net;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use dchan_conformance::cluster::{Cluster, Kind, Oracle, Spot};
use dchan_core::{Addr, Membership};
use dchan_raft::{DataDir, RaftConfig, RaftMembership};
use tempfile::TempDir;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use self::{flows::Flow, net::Net};
use crate::{
    Order, Over, Tempo, actor,
    player::{Life, Notes, Player},
    process::Process,
};

/// How long a stage waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often a stage says what it waits for.
const SAY_AFTER: Duration = Duration::from_secs(5);

/// How often it looks whether that has happened.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A cluster of actors. The nodes are known by their seats: 0, 1, 2…
pub struct Stage {
    /// What it stands on.
    pub over: Over,
    tempo: Tempo,
    oracle: Arc<Oracle>,
    net: Net,
    dir: TempDir,
    actor: PathBuf,
    seats: Vec<Seat>,
    flows: HashMap<u32, Flow>,
    next_handle: u32,
}

struct Seat {
    addr: Addr,
    founder: bool,
    spot: Option<Spot>,
    player: Option<Player>,
}

impl Stage {
    /// A stage without nodes. `actor`: the program for those that have a process.
    pub fn new(over: Over, tempo: Tempo, actor: &Path) -> Self {
        Self {
            over,
            tempo,
            oracle: Arc::new(Oracle::new()),
            net: Net::new(over),
            dir: tempfile::tempdir().expect("a directory"),
            actor: actor.into(),
            seats: Vec::new(),
            flows: HashMap::new(),
            next_handle: 0,
        }
    }

    /// Starts founders, and others that join them, and waits until the cluster is well.
    pub async fn start_all(&mut self, founders: usize, others: usize) {
        for at in 0..founders + others {
            self.add_seat(at < founders);
        }
        for at in 0..self.seats.len() {
            self.start(at);
        }
        self.well(Instant::now()).await;
    }

    fn add_seat(&mut self, founder: bool) {
        let (addr, spot) = self.net.add(self.seats.len());
        self.seats.push(Seat { addr, founder, spot, player: None });
    }

    fn founders(&self) -> Vec<Addr> {
        let founders = self.seats.iter().filter(|seat| seat.founder);
        founders.map(|seat| seat.addr.clone()).collect()
    }

    fn data(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("node-{at}"))
    }

    /// Starts a node, anew if it was there before. It may not be part of the cluster yet.
    pub fn start(&mut self, at: usize) {
        assert!(self.seats[at].player.is_none(), "{at} is there already");
        let notes = Notes::new(&self.oracle);
        let life = match &self.net {
            Net::Within(cluster) => self.start_within(at, cluster.clone(), notes.clone()),
            Net::Loopback(_) | Net::Switch(_) => {
                let log = self.dir.path().join(format!("node-{at}.log"));
                let process = Process::start(self.command(at), &log, notes.clone());
                Life::Process(process)
            }
        };
        self.seats[at].player = Some(Player { life, notes });
    }

    fn command(&self, at: usize) -> Command {
        let mut command = self.net.command(at, &self.actor);
        let founders: Vec<_> = self.founders().iter().map(ToString::to_string).collect();
        command.args(["actor", "--transport", self.over.transport_name()]);
        command.args(["--listen", self.seats[at].addr.as_str()]);
        command.args(["--founders", &founders.join(",")]).arg("--data").arg(self.data(at));
        command.args(["--lane-millis", &self.tempo.lane.as_millis().to_string()]);
        command
    }

    fn start_within(&self, at: usize, cluster: Arc<Cluster>, notes: Arc<Notes>) -> Life {
        let (orders, taken) = mpsc::channel(64);
        let spot = self.seats[at].spot.clone().expect("a node of this process has a spot");
        let mut config = RaftConfig::new("dchan", self.founders());
        config.seed = cluster.seed.wrapping_add(at as u64);
        match self.over.kind {
            Kind::Memory => self.tempo.of_raft_in_memory(&mut config),
            Kind::Tcp | Kind::Grpc | Kind::Quic => self.tempo.of_raft(&mut config),
        }
        let dir = DataDir::open(self.data(at)).expect("a data directory");
        let id = (dir.node_id(), dir.incarnation());
        let membership: Arc<dyn Membership> =
            Arc::new(RaftMembership::new(dir, config).expect("a membership"));
        let tempo = self.tempo;
        let live = async move {
            let started = cluster.start(&spot, id, membership, |config| tempo.of_node(config));
            let node = started.await.expect("the node starts");
            actor::perform(node, taken, Arc::new(move |said| notes.hear(said))).await;
        };
        Life::Task(tokio::spawn(live).abort_handle(), orders)
    }

    /// Kills a node. The accounts of its senders are gone with it.
    pub fn kill(&mut self, at: usize) {
        let player = self.seats[at].player.take();
        drop(player.unwrap_or_else(|| panic!("{at} is not there")));
        let ended: Vec<u32> =
            self.flows.iter().filter(|(_, flow)| flow.seat == at).map(|(id, _)| *id).collect();
        for handle in ended {
            self.flows.remove(&handle);
            self.oracle.note_orphan(handle);
        }
    }

    /// Stops the process of a node from running.
    pub fn freeze(&self, at: usize) {
        self.player(at).process().freeze();
    }

    /// Lets it run on.
    pub fn thaw(&self, at: usize) {
        self.player(at).process().thaw();
    }

    fn player(&self, at: usize) -> &Player {
        self.seats[at].player.as_ref().unwrap_or_else(|| panic!("{at} is not there"))
    }

    fn order(&mut self, at: usize, order: Order) {
        let player = self.seats[at].player.as_mut();
        player.unwrap_or_else(|| panic!("{at} is not there")).order(order);
    }

    pub(crate) fn notes(&self, at: usize) -> Arc<Notes> {
        self.player(at).notes.clone()
    }

    /// What the processes of that seat have logged.
    pub(crate) fn log(&self, at: usize) -> String {
        self.player(at).process().log()
    }

    fn live(&self) -> impl Iterator<Item = (usize, &Player)> {
        let seats = self.seats.iter().enumerate();
        seats.filter_map(|(at, seat)| Some((at, seat.player.as_ref()?)))
    }
}

/// Waits until something is so. It says why it is not.
pub(crate) async fn eventually(is: impl Fn() -> Result<(), String>) {
    let begun = Instant::now();
    let mut say = begun + SAY_AFTER;
    while let Err(reason) = is() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {reason}");
        if Instant::now() > say {
            tracing::warn!(reason, "waiting for {:.0?}", begun.elapsed());
            say += SAY_AFTER;
        }
        sleep(LOOK_AGAIN).await;
    }
}
