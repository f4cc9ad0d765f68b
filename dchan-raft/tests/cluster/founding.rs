//! How clusters come to be, and how nodes join them.

use std::time::Duration;

use dchan_core::{Addr, Membership};
use tokio::time::Instant;

use crate::net::{self, Cluster, addr, config, leader, receivers};

#[tokio::test(start_paused = true)]
async fn three_nodes_found_a_cluster() {
    let cluster = Cluster::new(config(3));
    let start = Instant::now();
    let nodes = cluster.founders().await;
    leader(&nodes, None).await;
    let took = start.elapsed();
    println!("a cold cluster of three was up after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let first = nodes[0].view();
    assert!(nodes.iter().all(|node| node.view().cluster == first.cluster));
    let addrs: Vec<Addr> = first.nodes.values().map(|node| node.addr.clone()).collect();
    assert!((1..=3).all(|port| addrs.contains(&addr(port))));
}

#[tokio::test(start_paused = true)]
async fn a_founder_alone_founds_alone() {
    let cluster = Cluster::new(config(1));
    let nodes = cluster.founders().await;
    nodes[0].raft.apply(vec![nodes[0].receiver(1)]).await.unwrap();
    assert_eq!(receivers(&nodes[0].view()), 1);
}

#[tokio::test(start_paused = true)]
async fn founding_waits_for_every_founder() {
    let cluster = Cluster::new(config(3));
    let (mut a, mut b) = (cluster.open(1).await, cluster.open(2).await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(a.view().cluster.is_none() && b.view().cluster.is_none());
    assert!(!a.started.is_finished() && !b.started.is_finished());
    let last = Instant::now();
    let mut c = cluster.open(3).await;
    for node in [&mut a, &mut b, &mut c] {
        node.up().await;
    }
    println!("{:?} after the last founder came", last.elapsed());
    assert!(last.elapsed() < Duration::from_secs(2));
    c.sees("three nodes", |view| view.nodes.len() == 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_never_founds_again() {
    let cluster = Cluster::new(config(3));
    let nodes = cluster.founders().await;
    let before = nodes[0].view();
    nodes[0].raft.apply(vec![nodes[0].receiver(1)]).await.unwrap();
    let (first, second) = (nodes[0].id(), nodes[1].id());
    nodes.into_iter().for_each(net::Node::kill);
    // Two of three are enough this time.
    let (mut a, mut b) = (cluster.open(1).await, cluster.open(2).await);
    assert_eq!(a.view().cluster, before.cluster, "known before anybody is asked");
    a.up().await;
    b.up().await;
    let after = b
        .sees("the first node in a new life", |view| {
            view.nodes.get(&first).is_some_and(|n| n.boot == a.me.boot)
        })
        .await;
    assert_eq!(after.cluster, before.cluster);
    assert_eq!((a.id(), b.id()), (first, second));
    assert!(after.nodes[&first].incarnation > before.nodes[&first].incarnation);
    assert_eq!(receivers(&after), 0, "what the old boot received is gone");
}

#[tokio::test(start_paused = true)]
async fn others_join_through_any_founder_and_do_not_vote() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    for port in [4, 5] {
        nodes.push(cluster.start(port).await);
    }
    for node in &nodes {
        node.sees("five nodes", |view| view.nodes.len() == 5).await;
    }
    // Whoever is down, another founder lets the next one in.
    nodes.remove(0).kill();
    let late = cluster.start(6).await;
    assert_eq!(late.view().cluster, nodes[0].view().cluster);
    // If these two voted, then two founders would be no quorum of five.
    nodes.retain(|node| node.addr < addr(4));
    let node = &nodes[0];
    node.raft.apply(vec![node.receiver(1)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_late_node_gets_a_snapshot() {
    let mut config = config(3);
    config.limits.log_entries = 20;
    config.limits.kept_entries = 5;
    config.limits.snapshot_chunk = 1024;
    let cluster = Cluster::new(config);
    let nodes = cluster.founders().await;
    for counter in 0..200 {
        let node = &nodes[counter as usize % 3];
        node.raft.apply(vec![node.receiver(counter)]).await.unwrap();
    }
    let late = cluster.start(4).await;
    let view = late.sees("everything", |view| receivers(view) == 200).await;
    assert_eq!(view.nodes.len(), 4);
    assert!(cluster.path(4).join("snapshot").exists());
    // What came as a snapshot outlives a restart.
    late.kill();
    let again = cluster.start(4).await;
    again.sees("everything", |view| receivers(view) == 200).await;
}

#[tokio::test(start_paused = true)]
async fn a_founder_that_lost_its_directory_is_replaced() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    let old = nodes[2].id();
    nodes.pop().unwrap().kill();
    cluster.wipe(3);
    let new = cluster.start(3).await;
    assert_ne!(new.id(), old);
    new.sees("the old id gone", |view| !view.nodes.contains_key(&old)).await;
    assert_eq!(new.view().cluster, nodes[0].view().cluster);
    // It votes: with one of the others down it makes the quorum.
    nodes.pop().unwrap().kill();
    new.raft.apply(vec![new.receiver(1)]).await.unwrap();
    nodes[0].sees("its receiver", |view| receivers(view) == 1).await;
}
