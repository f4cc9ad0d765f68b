//! Clusters that keep their list by Raft.

use std::{sync::Arc, time::Duration};

use dchan_conformance::cluster::{Cluster, Message, Oracle, stop, until};
use tokio::time::Instant;

use crate::founders::{leader, stop_all, three};

dchan_conformance::cluster_tests![
    a_cold_cluster_is_quick,
    anyone_sees_a_receiver_of_anyone,
    channels_flow_on_without_the_leader,
    a_removed_node_comes_back,
];

async fn a_cold_cluster_is_quick(cluster: Arc<Cluster>) {
    let begun = Instant::now();
    let nodes = three(&cluster).await;
    let started = begun.elapsed();
    leader(&nodes).await;
    let led = begun.elapsed();
    println!("{:?}: three nodes started in {started:?}, a leader in {led:?}", cluster.kind);
    assert!(led < Duration::from_secs(20), "{led:?}");
    stop_all(nodes).await;
}

async fn anyone_sees_a_receiver_of_anyone(cluster: Arc<Cluster>) {
    let nodes = three(&cluster).await;
    for (on, node) in nodes.iter().enumerate() {
        let name = format!("n{on}");
        let oracle = Oracle::new();
        let _receiving = oracle.receive(node.receiver(&name).await.unwrap());
        for (handle, from) in (0..).zip(&nodes) {
            let sender = from.sender::<Message>(&name).await.unwrap();
            sender.wait_for_receivers(1).await.unwrap();
            oracle.send(&sender, handle, 0..200, |n| n as usize).await.unwrap();
            sender.flush().await.unwrap();
        }
        // What counts as taken is about to be returned.
        until("all is in", || oracle.received() == 600).await;
    }
    stop_all(nodes).await;
}

async fn channels_flow_on_without_the_leader(cluster: Arc<Cluster>) {
    let mut nodes = three(&cluster).await;
    let leads = leader(&nodes).await;
    let leading = nodes.remove(leads);
    let (a, b) = (&nodes[0], &nodes[1]);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver("n").capacity(100).await.unwrap());
    let sender = a.sender::<Message>("n").await.unwrap();
    let sending = oracle.send(&sender, 0, 0..5000, |n| n as usize % 50);
    until("it flows", || oracle.received() > 500).await;
    stop(leading).await;
    let last = oracle.received();
    until("it flows on", || oracle.received() > last + 100 || oracle.received() == 5000).await;
    sending.await.unwrap();
    oracle.settle(a, "n").await;
    // There is another leader: opening works again.
    let late = b.receiver::<Message>("late").await.unwrap();
    drop(late);
    stop_all(nodes).await;
}

async fn a_removed_node_comes_back(cluster: Arc<Cluster>) {
    let nodes = three(&cluster).await;
    let leads = leader(&nodes).await;
    let (on, from) = ((leads + 1) % 3, (leads + 2) % 3);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(nodes[on].receiver("n").capacity(100).await.unwrap());
    let sender = nodes[from].sender::<Message>("n").await.unwrap();
    let id = nodes[on].id();
    let mut next = 0;
    for _ in 0..2 {
        oracle.send(&sender, 0, next..next + 500, |_| 50).await.unwrap();
        next += 500;
        // Parted from the leader only: it is taken off the list, and what it has goes on.
        cluster.black_hole(leads, on);
        cluster.black_hole(on, leads);
        let view = nodes[from].view();
        until("it is off the list", || !view.borrow().nodes.contains_key(&id)).await;
        cluster.heal(leads, on);
        let back = || view.borrow().receivers.values().any(|node| *node == id);
        until("it is on the list again", back).await;
        oracle.send(&sender, 0, next..next + 500, |_| 50).await.unwrap();
        next += 500;
        oracle.settle(&nodes[from], "n").await;
        let listed = nodes[leads].view().borrow().receivers.len();
        assert_eq!(listed, 1, "a ghost is on the list");
    }
    sender.flush().await.unwrap();
    stop_all(nodes).await;
}
