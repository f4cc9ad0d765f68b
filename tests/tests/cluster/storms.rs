//! Storms: everybody wants something at once. Elections and times are shown.
//!
//! `DCHAN_STORM=1` runs them in full; otherwise they are short enough for each run of all tests.

use std::{sync::Arc, time::Duration};

use dchan_conformance::cluster::{Cluster, Kind, Message, Oracle, Spot, until};
use dchan_core::{Namespace, Node};
use dchan_raft::DataDir;
use futures::future::{join_all, try_join_all};
use tokio::{task::JoinHandle, time::Instant};

use crate::founders::{home, leader, open, start, stop_all};

dchan_conformance::cluster_tests![
    a_burst_of_registrations,
    opened_and_closed_all_the_time,
    everyone_dials_everyone,
    all_restart_together,
];

/// The short form, or the full one.
fn size(short: usize, full: usize) -> usize {
    if std::env::var_os("DCHAN_STORM").is_some() { full } else { short }
}

async fn three(cluster: &Cluster) -> Vec<Node> {
    let spots = [cluster.spot(), cluster.spot(), cluster.spot()];
    let start = |spot| start(cluster, spot, &spots, DataDir::temporary().unwrap(), |_| {});
    try_join_all(spots.iter().map(start)).await.expect("the nodes start")
}

/// Counts how often the leader is another one, as one node sees it.
struct Elections {
    counting: JoinHandle<()>,
    seen: Arc<std::sync::atomic::AtomicUsize>,
}

impl Elections {
    fn watch(node: &Node) -> Self {
        let mut views = node.view();
        let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = seen.clone();
        let mut leads = views.borrow_and_update().leader;
        let counting = tokio::spawn(async move {
            while views.changed().await.is_ok() {
                let now = views.borrow_and_update().leader;
                if now != leads {
                    leads = now;
                    counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
        });
        Self { counting, seen }
    }

    fn count(self) -> usize {
        self.counting.abort();
        self.seen.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// A storm that leaves the leader alone. On a machine that is busy with others it may not run for so long
/// that it is missed, once or twice.
async fn without_elections(cluster: &Cluster, nodes: &[Node], storm: impl AsyncFn()) {
    for attempt in 1.. {
        leader(nodes).await;
        let elections = Elections::watch(&nodes[0]);
        storm().await;
        let count = elections.count();
        if count == 0 {
            return;
        }
        assert!(attempt < cluster.kind.scale(1, 5), "the leader changed {count} times");
    }
}

async fn a_burst_of_registrations(cluster: Arc<Cluster>) {
    let nodes = three(&cluster).await;
    without_elections(&cluster, &nodes, async || burst(&cluster, &nodes).await).await;
    stop_all(nodes).await;
}

async fn burst(cluster: &Cluster, nodes: &[Node]) {
    let count = size(1000, 10_000);
    let begun = Instant::now();
    let open = |at: usize| {
        let node = &nodes[at % nodes.len()];
        async move { node.receiver::<Message>(&format!("burst.{}", at % 100)).await }
    };
    let receivers = try_join_all((0..count).map(open)).await.unwrap();
    let took = begun.elapsed();
    println!(
        "{:?}: {count} receivers opened in {took:?}, {} a second",
        cluster.kind,
        rate(count, took)
    );
    for node in nodes {
        until("all see all", || node.view().borrow().receivers.len() == count).await;
    }
    drop(receivers);
    for node in nodes {
        until("all are off the list", || node.view().borrow().receivers.is_empty()).await;
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn rate(count: usize, took: Duration) -> u64 {
    (count as f64 / took.as_secs_f64()) as u64
}

/// A hundred handles, each of which opens, uses and closes its receiver again and again.
async fn opened_and_closed_all_the_time(cluster: Arc<Cluster>) {
    let nodes = three(&cluster).await;
    without_elections(&cluster, &nodes, async || open_and_close(&cluster, &nodes).await).await;
    stop_all(nodes).await;
}

async fn open_and_close(cluster: &Cluster, nodes: &[Node]) {
    let rounds = size(1000, 60_000);
    let handles = 100;
    let tasks: Vec<_> = nodes.iter().map(Node::tasks).collect();
    let begun = Instant::now();
    let handle = |number: usize| {
        let node = &nodes[number % nodes.len()];
        async move {
            let name = format!("storm.{number}");
            let mut slowest = Duration::ZERO;
            for _ in 0..rounds / handles {
                let opening = Instant::now();
                let mut receiver = node.receiver::<Message>(&name).await.unwrap();
                slowest = slowest.max(opening.elapsed());
                receiver.close();
            }
            slowest
        }
    };
    let slowest = join_all((0..handles).map(handle)).await.into_iter().max().unwrap_or_default();
    let took = begun.elapsed();
    println!(
        "{:?}: {rounds} rounds in {took:?}, {} a second, the slowest took {slowest:?} to open",
        cluster.kind,
        rate(rounds, took)
    );
    for (node, tasks) in nodes.iter().zip(tasks) {
        until("all are off the list", || node.view().borrow().receivers.is_empty()).await;
        until("no task is left", || node.tasks() <= tasks).await;
    }
}

/// Every node opens a sender to every other at the same moment.
async fn everyone_dials_everyone(cluster: Arc<Cluster>) {
    let count = match cluster.kind {
        Kind::Memory => size(30, 60),
        Kind::Tcp | Kind::Grpc | Kind::Quic => size(8, 20),
    };
    let nodes = join_all((0..count).map(|_| cluster.node())).await;
    let name = |at: u32| format!("to.{at}");
    let oracles: Vec<_> = nodes.iter().map(|_| Oracle::new()).collect();
    let mut receiving = Vec::new();
    for ((at, node), oracle) in (0..).zip(&nodes).zip(&oracles) {
        receiving.push(oracle.receive(node.receiver(&name(at)).await.unwrap()));
    }
    let begun = Instant::now();
    let mut sending = Vec::new();
    for (from, node) in (0..).zip(&nodes) {
        for (to, oracle) in (0..).zip(&oracles).filter(|(to, _)| *to != from) {
            sending.push(async move {
                let sender = node.sender::<Message>(&name(to)).await.unwrap();
                oracle.send(&sender, from, 0..20, |_| 10).await.unwrap();
                sender.flush().await.unwrap();
            });
        }
    }
    join_all(sending).await;
    println!("{:?}: {count} nodes talk to one another after {:?}", cluster.kind, begun.elapsed());
    for oracle in &oracles {
        until("all is in", || oracle.received() == 20 * (count as u64 - 1)).await;
    }
    for a in 0..count {
        for b in a + 1..count {
            until("there is one connection", || cluster.connections(a, b) == 1).await;
        }
    }
    join_all(nodes.into_iter().map(|node| async move {
        let last = node.clone();
        node.shutdown().await.unwrap();
        assert_eq!(last.tasks(), 0);
    }))
    .await;
}

/// All nodes of a large cluster die in the same moment, and are started again in the same moment.
async fn all_restart_together(cluster: Arc<Cluster>) {
    let count = match cluster.kind {
        Kind::Memory => size(12, 200),
        Kind::Tcp | Kind::Grpc | Kind::Quic => size(8, 20),
    };
    let home = home(cluster.kind);
    let spots: Vec<Spot> = (0..count).map(|_| cluster.spot()).collect();
    let path = |spot: &Spot| home.path().join(spot.index.to_string());
    let start_all = || async {
        let founders = &spots[..3];
        let (cluster, path) = (&cluster, &path);
        let start = |spot| async move {
            let dir = open(&path(spot)).await;
            let node = start(cluster, spot, founders, dir, |_| {}).await.unwrap();
            let receiver = node.receiver::<Message>("all").await.unwrap();
            (node, receiver)
        };
        let (nodes, receivers): (Vec<_>, Vec<_>) =
            join_all(spots.iter().map(start)).await.into_iter().unzip();
        for node in &nodes {
            until("all see all", || {
                let view = node.view().borrow().clone();
                view.nodes.len() == count
                    && view.receivers_of(&Namespace::new("all").unwrap()).count() == count
            })
            .await;
        }
        (nodes, receivers)
    };
    let begun = Instant::now();
    let (nodes, receivers) = start_all().await;
    println!("{:?}: {count} nodes started in {:?}", cluster.kind, begun.elapsed());
    drop((nodes, receivers));
    let begun = Instant::now();
    let (nodes, receivers) = start_all().await;
    println!("{:?}: {count} nodes started again in {:?}", cluster.kind, begun.elapsed());
    drop(receivers);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(nodes[0].receiver("after").await.unwrap());
    let sender = nodes[count - 1].sender::<Message>("after").await.unwrap();
    oracle.send(&sender, 0, 0..100, |_| 10).await.unwrap();
    oracle.settle(&nodes[count - 1], "after").await;
    drop(sender);
    join_all(nodes.into_iter().rev().map(|node| stop_all(vec![node]))).await;
}
