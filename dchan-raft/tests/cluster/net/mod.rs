//! Nodes of one process, and a network between them that can be cut.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use dchan_core::{
    Addr, Ask, Boot, Call, Change, Context, ErrorKind, Identify, Links, Me, Membership,
    MembershipError, Namespace, NodeId, PeerInfo, Question, ReceiverId, RequestError, Requests,
    Timers, View,
};
use dchan_raft::{DataDir, DataDirError, NewError, RaftConfig, RaftMembership, Writes};
use imbl::OrdMap;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
pub struct Net {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    nodes: HashMap<Addr, Station>,
    cuts: HashSet<Addr>,
    round_trip: Duration,
}

struct Station {
    me: Me,
    questions: mpsc::Sender<Question>,
    view: watch::Receiver<Arc<View>>,
}

impl Net {
    /// Cuts a node off from all others.
    pub fn cut(&self, node: &Node) {
        self.state.lock().unwrap().cuts.insert(node.addr.clone());
    }

    /// Lets every answer take that long.
    pub fn slow(&self, round_trip: Duration) {
        self.state.lock().unwrap().round_trip = round_trip;
    }

    /// Asks a node something that no node would ask. `None` if there is no answer.
    pub async fn nonsense(&self, node: &Node, body: Vec<u8>) -> Option<Bytes> {
        let (reply, answered) = oneshot::channel();
        let asking = self.state.lock().unwrap().nodes[&node.addr].questions.clone();
        let question = Question { from: NodeId(666), body: body.into(), reply };
        asking.send(question).await.unwrap();
        answered.await.ok()
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().cuts.clear();
    }

    fn reaches(&self, from: &Addr, to: &Addr) -> bool {
        let cuts = &self.state.lock().unwrap().cuts;
        from == to || !(cuts.contains(from) || cuts.contains(to))
    }

    fn identify(&self, from: &Addr, call: Identify) {
        let found = self.reaches(from, &call.at).then(|| {
            let state = self.state.lock().unwrap();
            let station = state.nodes.get(&call.at)?;
            let cluster = station.view.borrow().cluster;
            let Me { id, boot, incarnation, addr, .. } = station.me.clone();
            Some(PeerInfo { id, boot, incarnation, addr, cluster })
        });
        let _ = call.reply.send(found.flatten().ok_or_else(|| unreachable(&call.at)));
    }

    fn ask(&self, from: &Me, call: Ask) {
        let Ask { to, at, body, deadline, reply } = call;
        if !self.reaches(&from.addr, &at) {
            // Like a network that swallows packets.
            tokio::spawn(async move {
                tokio::time::sleep_until(deadline).await;
                let _ = reply.send(Err(RequestError::TimedOut));
            });
            return;
        }
        let (answer, answered) = oneshot::channel();
        let question = Question { from: from.id, body, reply: answer };
        let asked = {
            let state = self.state.lock().unwrap();
            match state.nodes.get(&at) {
                None => Err(unreachable(&at)),
                Some(station) if station.me.id != to => Err(RequestError::OtherNode {
                    at: at.clone(),
                    expected: to,
                    found: station.me.id,
                }),
                Some(station) => {
                    station.questions.try_send(question).map_err(|_| RequestError::Busy)
                }
            }
        };
        if let Err(error) = asked {
            let _ = reply.send(Err(error));
            return;
        }
        let (net, from) = (self.clone(), from.addr.clone());
        let round_trip = self.state.lock().unwrap().round_trip;
        tokio::spawn(async move {
            if !round_trip.is_zero() {
                tokio::time::sleep(round_trip).await;
            }
            let answer = match timeout_at(deadline, answered).await {
                Ok(Ok(answer)) if net.reaches(&from, &at) => Ok(answer),
                Ok(Err(_)) => Err(RequestError::Broken),
                _ => {
                    tokio::time::sleep_until(deadline).await;
                    Err(RequestError::TimedOut)
                }
            };
            let _ = reply.send(answer);
        });
    }

    async fn serve(self, me: Me, mut calls: mpsc::Receiver<Call>) {
        while let Some(call) = calls.recv().await {
            match call {
                Call::Identify(call) => self.identify(&me.addr, call),
                Call::Ask(call) => self.ask(&me, call),
            }
        }
    }
}

fn unreachable(at: &Addr) -> RequestError {
    RequestError::Unreachable {
        at: at.clone(),
        kind: ErrorKind::Unreachable,
        reason: "nobody there".into(),
    }
}

pub fn addr(port: u16) -> Addr {
    format!("127.0.0.1:{port}").parse().unwrap()
}

/// The settings of a cluster whose founders have the ports from 1 on.
pub fn config(founders: u16) -> RaftConfig {
    let mut config = RaftConfig::new("test", (1..=founders).map(addr));
    config.seed = 7;
    config.writes = Writes::Inline;
    config
}

pub struct Node {
    pub addr: Addr,
    pub me: Me,
    pub raft: Arc<RaftMembership>,
    pub started: JoinHandle<Result<(), MembershipError>>,
    net: Net,
    served: JoinHandle<()>,
}

impl Node {
    /// Opens the directory and begins to start; does not wait.
    pub async fn open(net: &Net, port: u16, path: &PathBuf, config: RaftConfig) -> Self {
        let made = |dir| RaftMembership::new(dir, config);
        Self::open_with(net, port, path, made).await.unwrap()
    }

    /// The same, with a membership that is made in another way.
    pub async fn open_with(
        net: &Net,
        port: u16,
        path: &PathBuf,
        made: impl FnOnce(DataDir) -> Result<RaftMembership, NewError>,
    ) -> Result<Self, NewError> {
        let dir = loop {
            match DataDir::open(path) {
                Ok(dir) => break dir,
                // The last process of this node is not quite dead.
                Err(DataDirError::InUse { .. }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let me = Me {
            id: dir.node_id(),
            boot: Boot(fastrand::u64(1..)),
            incarnation: dir.incarnation(),
            addr: addr(port),
            tags: OrdMap::new(),
        };
        let raft = Arc::new(made(dir)?);
        let (requests, calls) = Requests::channel(1024);
        let (asking, questions) = mpsc::channel(4096);
        let station = Station { me: me.clone(), questions: asking, view: raft.view() };
        net.state.lock().unwrap().nodes.insert(addr(port), station);
        let served = tokio::spawn(net.clone().serve(me.clone(), calls));
        let (_, links) = watch::channel(Links::new());
        let timers = Timers::default();
        let context = Context { me: me.clone(), requests, questions, links, timers };
        let starting = raft.clone();
        let started = tokio::spawn(async move { starting.start(context).await });
        Ok(Self { addr: addr(port), me, raft, started, net: net.clone(), served })
    }

    pub fn id(&self) -> NodeId {
        self.me.id
    }

    pub fn view(&self) -> Arc<View> {
        self.raft.view().borrow().clone()
    }

    pub async fn up(&mut self) {
        let started = timeout(PATIENCE, &mut self.started).await;
        started.expect("starts in time").unwrap().expect("starts");
    }

    /// Waits until the node's view is as it should be.
    pub async fn sees(&self, what: &str, is: impl Fn(&View) -> bool) -> Arc<View> {
        let mut view = self.raft.view();
        let seen = timeout(PATIENCE, view.wait_for(|view| is(view))).await;
        match seen {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("{} does not see {what}: {:#?}", self.addr, self.view()),
        }
    }

    pub fn receiver(&self, counter: u64) -> Change {
        Change::Receiver {
            namespace: Namespace::new("orders").unwrap(),
            id: ReceiverId { boot: self.me.boot, counter },
            node: self.id(),
        }
    }

    /// Ends the process without a word.
    pub fn kill(self) {
        self.served.abort();
        self.started.abort();
        self.net.state.lock().unwrap().nodes.remove(&self.addr);
    }
}

/// A cluster whose nodes keep their directories.
pub struct Cluster {
    pub net: Net,
    pub config: RaftConfig,
    dirs: tempfile::TempDir,
}

impl Cluster {
    pub fn new(config: RaftConfig) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        Self { net: Net::default(), config, dirs: tempfile::tempdir().unwrap() }
    }

    pub async fn open(&self, port: u16) -> Node {
        let mut config = self.config.clone();
        config.seed += u64::from(port);
        Node::open(&self.net, port, &self.path(port), config).await
    }

    pub async fn start(&self, port: u16) -> Node {
        let mut node = self.open(port).await;
        node.up().await;
        node
    }

    /// All founders, up, and aware of each other.
    pub async fn founders(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        for port in 1..=self.config.founders.len() as u16 {
            nodes.push(self.open(port).await);
        }
        for node in &mut nodes {
            node.up().await;
        }
        let count = nodes.len();
        for node in &nodes {
            node.sees("all founders", |view| view.nodes.len() == count).await;
        }
        nodes
    }

    pub fn path(&self, port: u16) -> PathBuf {
        self.dirs.path().join(port.to_string())
    }

    pub fn wipe(&self, port: u16) {
        std::fs::remove_dir_all(self.path(port)).unwrap();
    }
}

/// Which of the nodes leads, as all of them but `except` agree.
pub async fn leader(nodes: &[Node], except: Option<NodeId>) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let others = nodes.iter().filter(|node| Some(node.id()) != except);
        let leaders: HashSet<_> = others.map(|node| node.view().leader).collect();
        if let [Some(leader)] = leaders.iter().copied().collect::<Vec<_>>()[..]
            && Some(leader) != except
            && let Some(at) = nodes.iter().position(|node| node.id() == leader)
        {
            return at;
        }
        assert!(Instant::now() < deadline, "no leader: {leaders:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn receivers(view: &View) -> usize {
    view.receivers.len()
}
