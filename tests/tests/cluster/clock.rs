//! Clusters whose clock jumps by an hour while messages move: a machine that was suspended.

use std::{sync::Arc, time::Duration};

use dchan_conformance::{
    cluster::{Cluster, Kind, Message, Oracle, stop, until},
    tcp::TcpTransport,
};
use dchan_core::Faults;
use tokio::time::{advance, sleep};

use crate::founders::{leader, stop_all, three};

const HOUR: Duration = Duration::from_secs(3600);

/// Only paused time can be moved. The hours are more than other tests are given.
fn in_memory() -> Cluster {
    let cluster = Cluster::new(Kind::Memory, Arc::new(TcpTransport));
    println!("repeat with DCHAN_SEED={}", cluster.seed);
    cluster
}

/// Everything is an hour late at once, for both ends: nothing is lost, nothing is unknown.
#[tokio::test(start_paused = true)]
async fn nothing_goes_astray_when_everything_is_an_hour_late() {
    let cluster = in_memory();
    let (a, b) = (cluster.node().await, cluster.node().await);
    let delay = Duration::ZERO..Duration::from_millis(5);
    cluster.set_faults(Faults { delay, ..Faults::default() });
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver("n").capacity(100).await.unwrap());
    let sender = a.sender::<Message>("n").await.unwrap();
    let sending = oracle.send(&sender, 0, 0..20_000, |n| n as usize % 500);
    for jump in 1..=5 {
        until("it flows", || oracle.received() > jump * 1000).await;
        // Between any two beats of a heart.
        sleep(Duration::from_millis(jump * 53)).await;
        advance(HOUR).await;
    }
    sending.await.unwrap();
    oracle.settle(&a, "n").await;
    let ledger = a.ledger("n");
    assert_eq!((ledger.taken, ledger.unknown), (20_000, 0), "{ledger}");
    stop(a).await;
    stop(b).await;
}

/// Leases, elections and looks after silent nodes: nobody is taken off the list, and it can be changed.
#[tokio::test(start_paused = true)]
async fn nobody_is_taken_off_the_list_when_everything_is_an_hour_late() {
    let cluster = in_memory();
    let nodes = three(&cluster).await;
    leader(&nodes).await;
    let oracle = Oracle::new();
    let _receiving = oracle.receive(nodes[2].receiver("n").capacity(100).await.unwrap());
    let before = nodes[0].view().borrow().nodes.clone();
    let sender = nodes[1].sender::<Message>("n").await.unwrap();
    let delay = Duration::ZERO..Duration::from_millis(5);
    cluster.set_faults(Faults { delay, ..Faults::default() });
    let sending = oracle.send(&sender, 0, 0..20_000, |n| n as usize % 500);
    for jump in 1..=5 {
        until("it flows", || oracle.received() > jump * 1000).await;
        // Between any two heartbeats, leases and looks at them.
        sleep(Duration::from_millis(jump * 137)).await;
        advance(HOUR).await;
        drop(nodes[0].receiver::<Message>("late").await.unwrap());
    }
    sending.await.unwrap();
    oracle.settle(&nodes[1], "n").await;
    // Whoever is taken off is so soon after.
    sleep(Duration::from_secs(5)).await;
    for node in &nodes {
        assert_eq!(node.view().borrow().nodes, before, "nobody went, or came back");
    }
    stop_all(nodes).await;
}
