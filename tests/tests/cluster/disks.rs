//! Clusters whose founders' data directories are damaged, copied or wiped while messages flow.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use dchan_conformance::cluster::{Cluster, Message, Oracle, Spot, message, stop, until};
use dchan_core::{MembershipError, Node, NotReady, OpenError, Receiver, Sender, StartError};
use dchan_raft::{DataDir, DataDirError, NewError, RaftConfig, RaftMembership};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::founders::{
    disk::{Disk, start_on},
    home, leader, open, quick, start, stop_all,
};

dchan_conformance::cluster_tests![
    a_founder_with_a_damaged_log_is_refused_and_replaced,
    a_copied_directory_is_refused_and_disturbs_nobody,
    two_of_three_wiped_found_no_other_cluster,
    a_founder_whose_disk_fails_keeps_its_channels,
];

/// Three founders, each with a directory that outlives it.
struct Founders {
    cluster: Arc<Cluster>,
    spots: [Spot; 3],
    home: TempDir,
    set: fn(&mut RaftConfig),
}

impl Founders {
    fn new(cluster: &Arc<Cluster>) -> Self {
        let spots = [cluster.spot(), cluster.spot(), cluster.spot()];
        Self { cluster: cluster.clone(), spots, home: home(cluster.kind), set: quick }
    }

    /// Nodes that are missed late: none is taken off the list because the machine is busy.
    fn patient(cluster: &Arc<Cluster>) -> Self {
        let set = |config: &mut RaftConfig| {
            quick(config);
            config.times.removal_after = Duration::from_secs(60);
        };
        Self { set, ..Self::new(cluster) }
    }

    fn path(&self, at: usize) -> PathBuf {
        self.home.path().join(at.to_string())
    }

    async fn start(&self, at: usize) -> Result<Node, StartError> {
        let dir = open(&self.path(at)).await;
        start(&self.cluster, &self.spots[at], &self.spots, dir, self.set).await
    }

    async fn start_all(&self) -> Vec<Node> {
        let started = join_all((0..3).map(|at| self.start(at))).await;
        started.into_iter().map(Result::unwrap).collect()
    }

    /// The directory of a founder whose process has ended is moved away.
    async fn wipe(&self, at: usize, to: &str) {
        drop(open(&self.path(at)).await);
        fs::rename(self.path(at), self.home.path().join(to)).unwrap();
    }
}

/// Messages that flow from one node to another while something happens.
struct Flow {
    oracle: Arc<Oracle>,
    sending: JoinHandle<Sender<Message>>,
    enough: Arc<AtomicBool>,
    receiving: JoinHandle<Receiver<Message>>,
    from: Node,
}

impl Flow {
    async fn between(from: &Node, to: &Node) -> Self {
        let (oracle, enough) = (Arc::new(Oracle::new()), Arc::new(AtomicBool::new(false)));
        let receiving = oracle.receive(to.receiver("flow").capacity(100).await.unwrap());
        let sender = from.sender("flow").await.unwrap();
        let sending = tokio::spawn(send(sender, oracle.clone(), enough.clone()));
        let flow = Self { oracle, sending, enough, receiving, from: from.clone() };
        flow.goes_on().await;
        flow
    }

    async fn goes_on(&self) {
        let last = self.oracle.received();
        until("it flows on", || self.oracle.received() > last + 100).await;
    }

    /// All that was sent has arrived, once and in order.
    async fn end(self) {
        self.goes_on().await;
        self.enough.store(true, Relaxed);
        // The account lasts as long as it.
        let _sender = self.sending.await.unwrap();
        self.oracle.settle(&self.from, "flow").await;
        self.receiving.abort();
    }
}

/// At a pace at which paused time goes on, too.
async fn send(
    sender: Sender<Message>,
    oracle: Arc<Oracle>,
    enough: Arc<AtomicBool>,
) -> Sender<Message> {
    let mut number = 0;
    while !enough.load(Relaxed) {
        sender.send(message(0, number, number as usize % 50)).await.unwrap();
        oracle.note_accepted(0, number);
        number += 1;
        sleep(Duration::from_millis(2)).await;
    }
    sender
}

/// One bit in each place where the file says that.
fn flip(path: &Path, what: &str) {
    let mut bytes = fs::read(path).unwrap();
    let found = |bytes: &[u8]| -> Vec<usize> {
        let windows = bytes.windows(what.len()).enumerate();
        windows.filter(|(_, window)| *window == what.as_bytes()).map(|(at, _)| at).collect()
    };
    let places = found(&bytes);
    assert!(!places.is_empty(), "{what} is not in the log");
    places.iter().for_each(|at| bytes[*at] ^= 1);
    fs::write(path, bytes).unwrap();
}

/// Cut off in the middle of what is in use.
fn cut_off(path: &Path) {
    let bytes = fs::read(path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    fs::write(path, &bytes[..used]).unwrap();
}

async fn a_founder_with_a_damaged_log_is_refused_and_replaced(cluster: Arc<Cluster>) {
    let founders = Founders::new(&cluster);
    let mut nodes = founders.start_all().await;
    let flow = Flow::between(&nodes[1], &nodes[2]).await;
    let before = nodes[1].view().borrow().clone();
    for damage in ["cut off", "flipped"] {
        let victim = nodes.remove(0);
        let id = victim.id();
        drop(victim);
        drop(open(&founders.path(0)).await);
        let log = founders.path(0).join("raft.redb");
        match damage {
            "cut off" => cut_off(&log),
            _ => flip(&log, founders.spots[2].addr().as_str()),
        }
        let dir = open(&founders.path(0)).await;
        let config = RaftConfig::new("dchan", founders.spots.iter().map(|s| s.addr().clone()));
        let error = RaftMembership::new(dir, config).unwrap_err();
        assert!(matches!(error, NewError::DataDir(DataDirError::Damaged { .. })), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("raft.redb") && said.contains("with an empty one"), "{said}");
        // Meanwhile the others are a cluster.
        flow.goes_on().await;
        drop(nodes[0].receiver::<Message>("meanwhile").await.unwrap());
        // What the error says to do.
        founders.wipe(0, damage).await;
        nodes.insert(0, founders.start(0).await.unwrap());
        let view = nodes[1].view();
        until("the old one is off the list", || !view.borrow().nodes.contains_key(&id)).await;
        assert_eq!(nodes[0].view().borrow().cluster, before.cluster, "there is one cluster");
        until("all three are on the list", || view.borrow().nodes.len() == 3).await;
        flow.goes_on().await;
    }
    flow.end().await;
    // The new one has the vote: the list changes with one of the others gone.
    let gone = nodes.pop().unwrap();
    stop(gone).await;
    drop(nodes[0].receiver::<Message>("after").await.unwrap());
    stop_all(nodes).await;
}

/// As it is at one moment: a copy that something was written beside is no copy of anything, and is refused as such.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let files = || fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name());
    let is_same = |file| fs::read(from.join(&file)).unwrap() == fs::read(to.join(&file)).unwrap();
    loop {
        for file in files() {
            fs::copy(from.join(&file), to.join(&file)).unwrap();
        }
        if files().all(is_same) {
            return;
        }
    }
}

async fn a_copied_directory_is_refused_and_disturbs_nobody(cluster: Arc<Cluster>) {
    let founders = Founders::patient(&cluster);
    let nodes = founders.start_all().await;
    let flow = Flow::between(&nodes[0], &nodes[1]).await;
    let before = nodes[2].view().borrow().clone();
    // One that sends, one that receives, and one that does neither.
    for (at, node) in nodes.iter().enumerate() {
        // Opened by two, the directory itself is refused.
        let second = DataDir::open(founders.path(at));
        assert!(matches!(second, Err(DataDirError::InUse { .. })), "{second:?}");
        let copied = founders.home.path().join(format!("copy{at}"));
        copy(&founders.path(at), &copied);
        let (dir, spot) = (open(&copied).await, cluster.spot());
        assert_eq!(dir.node_id(), node.id());
        let started = start(&cluster, &spot, &founders.spots, dir, founders.set).await;
        let Err(StartError::Membership(MembershipError::Refused(said))) = started else {
            panic!("the copy of {at}: {started:?}")
        };
        assert!(said.contains("was its data directory copied?"), "{said}");
        assert!(said.contains(founders.spots[at].addr().as_str()), "{said}");
        flow.goes_on().await;
        drop(node.receiver::<Message>("late").await.unwrap());
    }
    assert_eq!(nodes[2].view().borrow().nodes, before.nodes, "nobody went, or came back");
    flow.end().await;
    stop_all(nodes).await;
}

async fn two_of_three_wiped_found_no_other_cluster(cluster: Arc<Cluster>) {
    let founders = Founders::new(&cluster);
    let mut nodes = founders.start_all().await;
    let (own, dir) = (cluster.spot(), DataDir::temporary().unwrap());
    let joined = start(&cluster, &own, &founders.spots, dir, quick).await.unwrap();
    leader(&nodes).await;
    let flow = Flow::between(&joined, &nodes[0]).await;
    let before = nodes[0].view().borrow().clone();
    for at in [2, 1] {
        drop(nodes.pop());
        founders.wipe(at, &format!("wiped{at}")).await;
    }
    let again = Arc::new(founders);
    let starting = [1, 2].map(|at| {
        let founders = again.clone();
        tokio::spawn(async move { founders.start(at).await })
    });
    let left = nodes.pop().unwrap();
    let unled = || left.health().reasons.contains(&NotReady::NoQuorum);
    until("the quorum is missed", unled).await;
    sleep(Duration::from_secs(cluster.kind.scale(60, 10))).await;
    assert!(starting.iter().all(|node| !node.is_finished()), "they have no cluster to be in");
    // What is left knows what it knew, changes nothing, and goes on.
    let late = async { left.receiver::<Message>("late").await };
    assert!(timeout(Duration::from_secs(5), late).await.is_err());
    let (view, health) = (left.view().borrow().clone(), left.health());
    assert_eq!((view.cluster, &view.receivers), (before.cluster, &before.receivers));
    assert!(health.live && !health.ready, "{health}");
    flow.end().await;
    for node in starting {
        node.abort();
        assert!(node.await.is_err());
    }
    stop_all(vec![joined, left]).await;
}

/// A node cannot write any more: it says so and has no vote, until it is started again with a disk that
/// works.
async fn a_founder_whose_disk_fails_keeps_its_channels(cluster: Arc<Cluster>) {
    let founders = Founders::patient(&cluster);
    let disk = Disk::default();
    let first = async || {
        let (dir, spots) = (open(&founders.path(0)).await, &founders.spots);
        start_on(&disk, &cluster, (&spots[0], spots), dir, founders.set).await
    };
    let (a, b, c) = tokio::join!(first(), founders.start(1), founders.start(2));
    let (mut failing, others) = (a.unwrap(), [b.unwrap(), c.unwrap()]);
    for how in [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::Other]
    {
        let flow = Flow::between(&failing, &others[0]).await;
        disk.fail(how);
        // Whether it led or not, the others decide without it.
        drop(others[0].receiver::<Message>("late").await.unwrap());
        leader(&others).await;
        let fault = || {
            let reasons = failing.health().reasons;
            reasons.iter().any(|reason| matches!(reason, NotReady::Fault { .. }))
        };
        until("it says that its disk has failed", fault).await;
        let refused = failing.receiver::<Message>("refused").await;
        let Err(OpenError::Membership(MembershipError::Storage(_))) = refused else {
            panic!("{how}: {refused:?}")
        };
        assert!(others[1].view().borrow().nodes.contains_key(&failing.id()), "it is there still");
        flow.end().await;
        stop_all(vec![failing]).await;
        disk.mend();
        failing = first().await.unwrap();
        until("it is ready again", || failing.health().ready).await;
    }
    let [b, c] = others;
    stop_all(vec![failing, b, c]).await;
}
