//! Readiness and liveness change when they should.

use std::{sync::Arc, time::Duration};

use dchan_conformance::cluster::{run, stop, until};
use dchan_core::{
    Addr, Change, Health, Incarnation, MemoryNetwork, Node, NodeOptions, NotReady, StaticMembership,
};
use dchan_raft::DataDir;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    capture::Capture,
    founders::{leader, quick, start, start_all, stop_all, three},
    memory,
    parts::{Ailing, GoesDeaf},
};

/// As long as it takes at most until a node that is cut off says so, with the times of these tests.
const NOTICED: Duration = Duration::from_secs(5);

fn is_ready(node: &Node) -> bool {
    let Health { live, ready, reasons, .. } = node.health();
    assert!(live, "{reasons:?}");
    assert_eq!(ready, reasons.is_empty());
    ready
}

fn lacks_quorum(node: &Node) -> bool {
    !is_ready(node) && node.health().reasons.contains(&NotReady::NoQuorum)
}

async fn soon(what: &str, is: impl Fn() -> bool) {
    let waited = tokio::time::timeout(NOTICED, until(what, is)).await;
    assert!(waited.is_ok(), "took too long until {what}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_is_not_ready_and_the_others_are() {
    run(memory(), |cluster| async move {
        let nodes = three(&cluster).await;
        assert!(nodes.iter().all(is_ready));
        let leads = leader(&nodes).await;
        let others = [(leads + 1) % 3, (leads + 2) % 3];
        for other in others {
            cluster.black_hole(leads, other);
            cluster.black_hole(other, leads);
        }
        soon("the old leader knows", || lacks_quorum(&nodes[leads])).await;
        let led = || {
            others.iter().all(|at| {
                let list = nodes[*at].metrics().list;
                is_ready(&nodes[*at]) && list.leader.is_some_and(|id| id != nodes[leads].id())
            })
        };
        until("the others have another leader", led).await;
        for other in others {
            cluster.heal(leads, other);
        }
        until("all are ready", || nodes.iter().all(is_ready)).await;
        stop_all(nodes).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_cut_off_is_not_ready_until_it_is_back() {
    run(memory(), |cluster| async move {
        let nodes = three(&cluster).await;
        let leads = leader(&nodes).await;
        let (cut, stays) = ((leads + 1) % 3, (leads + 2) % 3);
        for other in [leads, stays] {
            cluster.black_hole(cut, other);
            cluster.black_hole(other, cut);
        }
        let deadline = tokio::time::Instant::now() + NOTICED;
        while !lacks_quorum(&nodes[cut]) {
            assert!(is_ready(&nodes[leads]) && is_ready(&nodes[stays]), "a majority is enough");
            assert!(tokio::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for other in [leads, stays] {
            cluster.heal(cut, other);
        }
        until("all are ready", || nodes.iter().all(is_ready)).await;
        stop_all(nodes).await;
    })
    .await;
}

/// The leader answers the follower that is left, but leads nobody else.
#[tokio::test(start_paused = true)]
async fn a_leader_without_a_majority_makes_nobody_ready() {
    run(memory(), |cluster| async move {
        let spots = [cluster.spot(), cluster.spot(), cluster.spot()];
        let mut nodes = start_all(&cluster, &spots).await;
        let leads = leader(&nodes).await;
        let leading = nodes.remove(leads);
        let (own, dir) = (cluster.spot(), DataDir::temporary().unwrap());
        let learner = start(&cluster, &own, &spots[leads..=leads], dir, quick).await.unwrap();
        assert!(is_ready(&learner));
        for node in nodes {
            drop(node);
        }
        soon("the leader knows", || lacks_quorum(&leading)).await;
        soon("the learner knows", || lacks_quorum(&learner)).await;
        stop_all(vec![learner, leading]).await;
    })
    .await;
}

fn options(at: &str) -> NodeOptions {
    let mut options = NodeOptions::new(at.parse().unwrap());
    options.config.seed = 7;
    options
}

fn transport(network: &MemoryNetwork, at: &str) -> Arc<dyn dchan_core::Transport> {
    network.transport(&at.parse::<Addr>().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_taken_off_the_list_says_so_until_it_is_back() {
    let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
    let node =
        Node::start(options("a:1"), transport(&network, "a:1"), list.member()).await.unwrap();
    assert!(is_ready(&node));
    let entry = node.view().borrow().nodes[&node.id()].clone();
    list.change(&[Change::NodeGone { id: node.id(), incarnation: Incarnation(1) }]);
    assert_eq!(node.health().reasons, [NotReady::NotListed]);
    list.change(&[Change::Node { id: node.id(), entry }]);
    assert!(is_ready(&node));
    stop(node).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_is_not_ready_first_and_not_live_then() {
    let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
    let node =
        Node::start(options("a:1"), transport(&network, "a:1"), list.member()).await.unwrap();
    let held = node.receiver::<u8>("n").await.unwrap();
    let receiver = Node::start(options("b:1"), transport(&network, "b:1"), list.member());
    let other = receiver.await.unwrap();
    let far = other.receiver::<u8>("far").await.unwrap();
    let sender = node.sender::<u8>("far").await.unwrap();
    sender.send(1).await.unwrap();
    let watched = node.clone();
    let stopping = tokio::spawn(node.shutdown_within(Duration::from_secs(5)));
    // It waits for the message to be taken.
    until("it stops", || watched.health().reasons == [NotReady::Stopping]).await;
    assert!(watched.health().live);
    let mut far = far;
    assert_eq!(far.recv().await.unwrap(), Some(1));
    let taking = tokio::spawn(async move { far.recv().await });
    stopping.await.unwrap().unwrap();
    let Health { live, ready, reasons, .. } = watched.health();
    assert_eq!((live, ready, reasons), (false, false, vec![NotReady::Stopped]));
    assert!(sender.ledger().balances() && sender.ledger().taken == 1);
    drop(held);
    taking.abort();
    let _aborted = taking.await;
    stop(other).await;
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_dies_ends_liveness() {
    let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
    let dies = Arc::new(Notify::new());
    let deaf = GoesDeaf { inner: transport(&network, "a:1"), dies: dies.clone() };
    let (capture, _guard) = Capture::start();
    let node = Node::start(options("a:1"), Arc::new(deaf), list.member()).await.unwrap();
    assert!(is_ready(&node));
    dies.notify_one();
    until("it is noticed", || !node.health().live).await;
    assert_eq!(node.health().reasons, [NotReady::TaskEnded { task: "listener" }]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let said = capture.saying("not live: its listener has ended");
    assert_eq!(said.len(), 1, "{:?}", capture.lines());
    assert_eq!((said[0].level, said[0].target), (tracing::Level::ERROR, "dchan::health"));
    stop(node).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_membership_reports_is_health() {
    let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
    let ailing = Arc::new(Ailing { inner: list.member(), status: Mutex::default() });
    let (capture, _guard) = Capture::start();
    let node =
        Node::start(options("a:1"), transport(&network, "a:1"), ailing.clone()).await.unwrap();
    // Longer than the node takes to look at itself again.
    let enough = Duration::from_secs(3);
    ailing.status.lock().fault = Some("the disk is full".into());
    assert_eq!(node.health().reasons, [NotReady::Fault { what: "the disk is full".into() }]);
    assert!(node.health().live);
    tokio::time::sleep(enough).await;
    ailing.status.lock().fault = None;
    tokio::time::sleep(enough).await;
    assert!(is_ready(&node));
    ailing.status.lock().stopped = true;
    assert!(!node.health().live);
    tokio::time::sleep(enough).await;
    let told: Vec<_> = capture
        .lines()
        .into_iter()
        .filter(|line| line.target == "dchan::health")
        .map(|line| (line.level.to_string(), line.message))
        .collect();
    let expected = [
        ("WARN", "not ready: the disk is full"),
        ("INFO", "ready"),
        ("ERROR", "not live: its membership has ended"),
    ];
    assert_eq!(told, expected.map(|(level, said)| (level.into(), said.into())));
    stop(node).await;
}
