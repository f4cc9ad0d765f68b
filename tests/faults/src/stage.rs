//! A cluster of actors, and what can be done to it.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use dchan_conformance::cluster::{Cluster, Kind, Oracle, Spot};
use dchan_core::{Addr, Ledger, Membership, NodeId};
use dchan_raft::{DataDir, RaftConfig, RaftMembership};
use tempfile::TempDir;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::{
    Ground, Order, Over, Score, Switch, Tempo, actor,
    player::{Life, Notes, Player},
    sockets,
};

/// How long a stage waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often a stage says what it waits for.
const SAY_AFTER: Duration = Duration::from_secs(5);

/// The port of actors that have an address of their own.
const PORT: u16 = 7001;

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

/// What is between the nodes.
enum Net {
    Within(Arc<Cluster>),
    /// The first three bytes of the addresses.
    Loopback([u8; 3]),
    Switch(Switch),
}

struct Seat {
    addr: Addr,
    founder: bool,
    spot: Option<Spot>,
    player: Option<Player>,
}

/// A sender that sends.
#[derive(Clone)]
struct Flow {
    seat: usize,
    namespace: String,
    /// Something of it must come whenever all is well.
    endless: bool,
}

impl Stage {
    /// A stage without nodes. `actor`: the program for those that have a process.
    pub fn new(over: Over, tempo: Tempo, actor: &str) -> Self {
        let real = crate::transport(over.transport_name());
        let net = match over.ground {
            Ground::Within => {
                let real = real.unwrap_or_else(|| Arc::new(dchan_conformance::tcp::TcpTransport));
                Net::Within(Arc::new(Cluster::new(over.kind, real)))
            }
            // An address of one's own: nobody takes a port there between two lives.
            Ground::Processes => {
                Net::Loopback([fastrand::u8(1..255), fastrand::u8(..), fastrand::u8(..)])
            }
            Ground::Namespaces => Net::Switch(Switch::new().expect("network namespaces")),
        };
        Self {
            over,
            tempo,
            oracle: Arc::new(Oracle::new()),
            net,
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
        let at = self.seats.len();
        let mut spot = None;
        let addr = match &mut self.net {
            Net::Within(cluster) => spot.insert(cluster.spot()).addr().clone(),
            Net::Loopback([a, b, c]) => {
                format!("127.{a}.{b}.{c}:{}", PORT + at as u16).parse().expect("an address")
            }
            Net::Switch(switch) => {
                switch.add().expect("a network namespace");
                format!("{}:{PORT}", switch.ip(at)).parse().expect("an address")
            }
        };
        self.seats.push(Seat { addr, founder, spot, player: None });
    }

    fn founders(&self) -> Vec<Addr> {
        let founders = self.seats.iter().filter(|seat| seat.founder);
        founders.map(|seat| seat.addr.clone()).collect()
    }

    fn data(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("node-{at}"))
    }

    // ---- lives ----

    /// Starts a node, anew if it was there before. It may not be part of the cluster yet.
    pub fn start(&mut self, at: usize) {
        assert!(self.seats[at].player.is_none(), "{at} is there already");
        let notes = Notes::new(&self.oracle);
        let life = match &self.net {
            Net::Within(cluster) => self.start_within(at, cluster.clone(), notes.clone()),
            Net::Loopback(_) | Net::Switch(_) => {
                let log = self.dir.path().join(format!("node-{at}.log"));
                let process = crate::process::Process::start(self.command(at), &log, notes.clone());
                Life::Process(process)
            }
        };
        self.seats[at].player = Some(Player { life, notes });
    }

    fn command(&self, at: usize) -> Command {
        let mut command = match &self.net {
            Net::Switch(switch) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &switch.namespace(at)]).arg(&self.actor);
                command
            }
            Net::Within(_) | Net::Loopback(_) => Command::new(&self.actor),
        };
        let founders: Vec<_> = self.founders().iter().map(ToString::to_string).collect();
        command.args(["--transport", self.over.transport_name()]);
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

    /// The seat of the leader, as all say who are there.
    pub async fn leader(&self) -> usize {
        let leads = || {
            let seen: BTreeSet<_> =
                self.live().map(|(_, player)| player.notes.with(|told| told.seen.leader)).collect();
            let leader = seen.first().copied().flatten().filter(|_| seen.len() == 1)?;
            self.live().find(|(_, player)| player.id() == Some(leader)).map(|(at, _)| at)
        };
        eventually(|| leads().map(drop).ok_or_else(|| "nobody leads".into())).await;
        leads().expect("a leader")
    }

    // ---- messages ----

    /// Opens a receiver, without waiting for it.
    pub fn open(&mut self, at: usize, namespace: &str, capacity: usize, pause: Duration) {
        let pause_micros = pause.as_micros() as u64;
        self.order(at, Order::Receive { namespace: namespace.into(), capacity, pause_micros });
    }

    /// Opens a receiver, and waits until it is open.
    pub async fn receive(&mut self, at: usize, namespace: &str) {
        self.open(at, namespace, 100, Duration::ZERO);
        self.opened(at, namespace).await;
    }

    /// Waits until a receiver is open.
    pub async fn opened(&self, at: usize, namespace: &str) {
        let notes = self.notes(at);
        eventually(|| match notes.has_opened(namespace) {
            true => Ok(()),
            false => Err(format!("{namespace} is not open on {at}: {:?}", notes.failures())),
        })
        .await;
    }

    /// Sends so many messages by a handle of its own, and returns the handle.
    pub fn send(&mut self, at: usize, namespace: &str, count: u64, pause: Duration) -> u32 {
        let handle = self.next_handle;
        self.next_handle += 1;
        let (namespace, pause_micros) = (namespace.to_owned(), pause.as_micros() as u64);
        let endless = count == u64::MAX;
        self.flows.insert(handle, Flow { seat: at, namespace: namespace.clone(), endless });
        self.order(at, Order::Send { namespace, handle, count, pause_micros });
        handle
    }

    /// Sends without an end, about a thousand messages a second.
    pub fn flow(&mut self, at: usize, namespace: &str) -> u32 {
        self.send(at, namespace, u64::MAX, Duration::from_millis(1))
    }

    /// Sends one message, and waits until it is taken.
    pub async fn mark(&mut self, at: usize, namespace: &str) {
        let handle = self.next_handle;
        self.next_handle += 1;
        self.flows.insert(handle, Flow { seat: at, namespace: namespace.into(), endless: false });
        self.order(at, Order::Mark { namespace: namespace.into(), handle });
        let notes = self.notes(at);
        let taken = || notes.with(|told| told.taken.contains(&handle));
        eventually(|| taken().then_some(()).ok_or_else(|| "the mark is not taken".into())).await;
    }

    /// Waits until a node has received so many more messages.
    pub async fn more(&self, at: usize, count: usize) {
        let notes = self.notes(at);
        let before = notes.received();
        eventually(|| match notes.received() {
            now if now >= before + count => Ok(()),
            now => Err(format!("{at} has received {} of {count}", now - before)),
        })
        .await;
    }

    // ---- the network ----

    /// What goes from one node to another is lost from now on.
    pub fn black_hole(&self, from: usize, to: usize) {
        match &self.net {
            Net::Within(cluster) => cluster.black_hole(from, to),
            Net::Switch(switch) => switch.black_hole(from, to).expect("a black hole"),
            Net::Loopback(_) => panic!("the loopback network cannot be parted"),
        }
    }

    /// Ends all faults of the network between two nodes.
    pub fn heal(&self, a: usize, b: usize) {
        match &self.net {
            Net::Within(cluster) => cluster.heal(a, b),
            Net::Switch(switch) => switch.heal(a, b).expect("the hole is closed"),
            Net::Loopback(_) => {}
        }
    }

    /// How many connections there are between two nodes.
    fn connections(&self, a: usize, b: usize) -> usize {
        match &self.net {
            Net::Within(cluster) => cluster.connections(a, b),
            Net::Loopback(_) | Net::Switch(_) => {
                let process = |at| self.player(at).process().id();
                sockets::connections(process(a), process(b))
            }
        }
    }

    // ---- how it is ----

    /// Waits until all is well, and returns how long after that moment it is: all nodes that are there
    /// see the same leader, themselves and each other and all open receivers, and nothing else; each
    /// sender that sends has got through to each of its receivers; and no two nodes have more than one
    /// connection, nor a sender and its receiver less.
    pub async fn well(&self, since: Instant) -> Duration {
        eventually(|| self.is_well(since)).await;
        since.elapsed()
    }

    fn is_well(&self, since: Instant) -> Result<(), String> {
        let mut nodes = BTreeSet::new();
        let mut receivers = BTreeSet::new();
        for (at, player) in self.live() {
            nodes.insert(player.id().ok_or_else(|| format!("{at} has not started"))?);
            player.notes.with(|told| receivers.extend(told.receivers.iter().cloned()));
        }
        let mut leaders = BTreeSet::new();
        for (at, player) in self.live() {
            player.notes.with(|told| {
                let wrong = |what: &str| Err(format!("{at} sees {:?}: {what}", told.seen));
                match &told.seen {
                    seen if seen.nodes != nodes => wrong("other nodes"),
                    seen if seen.receivers != receivers => wrong("other receivers"),
                    seen if !seen.leader.is_some_and(|id| nodes.contains(&id)) => {
                        wrong("no leader")
                    }
                    seen => {
                        leaders.extend(seen.leader);
                        Ok(())
                    }
                }
            })?;
        }
        if leaders.len() > 1 {
            return Err(format!("several are said to lead: {leaders:?}"));
        }
        self.is_connected(since)
    }

    fn is_connected(&self, since: Instant) -> Result<(), String> {
        let mut linked = BTreeSet::new();
        for (handle, flow) in &self.flows {
            let receives =
                |(_, player): &(usize, &Player)| player.notes.has_opened(&flow.namespace);
            for (at, player) in self.live().filter(receives) {
                let last = player.notes.with(|told| told.last.get(handle).copied());
                if flow.endless && last.is_none_or(|last| last <= since) {
                    return Err(format!("nothing of {handle} has come to {at}"));
                }
                linked.insert((at.min(flow.seat), at.max(flow.seat)));
            }
        }
        let live: Vec<usize> = self.live().map(|(at, _)| at).collect();
        for (first, a) in live.iter().enumerate() {
            for b in &live[first + 1..] {
                let (count, least) = (self.connections(*a, *b), linked.contains(&(*a, *b)));
                if count > 1 || (least && count == 0) {
                    return Err(format!("{a} and {b} have {count} connections"));
                }
            }
        }
        Ok(())
    }

    /// The account of a node for a namespace, as of now.
    pub async fn ledger(&mut self, at: usize, namespace: &str) -> Ledger {
        let notes = self.notes(at);
        let last = || notes.with(|told| told.ledgers.get(namespace).copied().unwrap_or_default());
        let before = last().0;
        self.order(at, Order::Ledger { namespace: namespace.into() });
        eventually(|| match last().0 {
            now if now > before => Ok(()),
            _ => Err(format!("{at} does not say what became of {namespace}")),
        })
        .await;
        last().1
    }

    /// Waits until so many messages of a handle were accepted.
    pub async fn accepted(&self, handle: u32, count: u64) {
        eventually(|| match self.oracle.accepted_of(handle) {
            now if now >= count => Ok(()),
            now => Err(format!("{now} of {count} were accepted")),
        })
        .await;
    }

    /// Waits until a node sees that another one is off the list.
    pub async fn not_listed(&self, sees: usize, at: usize) {
        let (notes, id) = (self.notes(sees), self.player(at).id().expect("it has started"));
        eventually(|| match notes.with(|told| told.seen.nodes.contains(&id)) {
            true => Err(format!("{at} is on the list of {sees}")),
            false => Ok(()),
        })
        .await;
    }

    /// Sends no more, and waits until nothing is in flight.
    pub async fn settle(&mut self) -> Vec<Ledger> {
        let flows: Vec<(u32, Flow)> =
            self.flows.iter().map(|(handle, flow)| (*handle, flow.clone())).collect();
        for (handle, flow) in &flows {
            self.order(flow.seat, Order::Halt { handle: *handle });
        }
        for (handle, flow) in &flows {
            let notes = self.notes(flow.seat);
            eventually(|| match notes.is_halted(*handle) {
                true => Ok(()),
                false => Err(format!("{handle} sends still")),
            })
            .await;
        }
        self.flows.values_mut().for_each(|flow| flow.endless = false);
        let senders: BTreeSet<_> =
            flows.into_iter().map(|(_, flow)| (flow.seat, flow.namespace)).collect();
        let mut ledgers = Vec::new();
        for (at, namespace) in senders {
            let deadline = Instant::now() + PATIENCE;
            let ledger = loop {
                let ledger = self.ledger(at, &namespace).await;
                if ledger.in_flight == 0 {
                    break ledger;
                }
                assert!(Instant::now() < deadline, "{at} does not settle {namespace}: {ledger}");
                sleep(Duration::from_millis(20)).await;
            };
            ledgers.push(ledger);
        }
        ledgers
    }

    /// Sends no more, and holds what was received against what was sent.
    pub async fn score(&mut self, fault: &'static str, heal: Vec<Duration>) -> Score {
        let ledgers = self.settle().await;
        for ledger in &ledgers {
            assert!(ledger.balances() && ledger.dropped.total() == 0, "{fault}: {ledger}");
        }
        for (at, player) in self.live() {
            assert_eq!(player.notes.failures(), [] as [String; 0], "{at}");
        }
        Score::new(fault, self.over, &self.oracle.judge(&ledgers), heal)
    }

    /// The ids of the nodes that are there.
    pub fn ids(&self) -> BTreeSet<NodeId> {
        self.live().filter_map(|(_, player)| player.id()).collect()
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
        sleep(Duration::from_millis(2)).await;
    }
}
