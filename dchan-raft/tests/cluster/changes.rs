//! Changes: from any node, through changes of the leader, all or none.

use std::{sync::Arc, time::Duration};

use dchan_core::{Change, Membership, MembershipError};
use futures::future::join_all;
use tokio::time::Instant;

use crate::net::{Cluster, config, leader, receivers};

#[tokio::test(start_paused = true)]
async fn every_node_can_register() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    nodes.push(cluster.start(4).await);
    for node in &nodes {
        let version = node.raft.apply(vec![node.receiver(1), node.receiver(2)]).await.unwrap();
        let view = node.view();
        assert!(view.version >= version && view.receivers.values().any(|id| *id == node.id()));
    }
    for node in &nodes {
        node.sees("all receivers", |view| receivers(view) == 8).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_becomes_few_entries_and_leaves_the_leader_alone() {
    let cluster = Cluster::new(config(3));
    let nodes = cluster.founders().await;
    let (before, led) = (nodes[0].view().version.0, leader(&nodes, None).await);
    let calls = (0..1000).map(|counter| {
        let node = &nodes[counter % 3];
        node.raft.apply(vec![node.receiver(counter as u64)])
    });
    for done in join_all(calls).await {
        done.unwrap();
    }
    let entries = nodes[0].sees("all", |view| receivers(view) == 1000).await.version.0 - before;
    println!("1,000 calls from three nodes became {entries} entries");
    assert!(entries <= 20, "{entries}");
    assert_eq!(leader(&nodes, None).await, led);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_is_replaced_and_nothing_is_lost() {
    let cluster = Cluster::new(config(3));
    let nodes = cluster.founders().await;
    let old = leader(&nodes, None).await;
    let id = nodes[old].id();
    cluster.net.cut(&nodes[old]);
    let cut = Instant::now();
    let other = &nodes[(old + 1) % 3];
    let calls: Vec<_> = [other, &nodes[old]]
        .into_iter()
        .map(|node| {
            let (raft, change) = (node.raft.clone(), node.receiver(1));
            tokio::spawn(async move { raft.apply(vec![change]).await })
        })
        .collect();
    leader(&nodes, Some(id)).await;
    let took = cut.elapsed();
    println!("another leader after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    other.sees("its own change", |view| receivers(view) == 1).await;
    cluster.net.heal();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    for node in &nodes {
        node.sees("both changes", |view| receivers(view) == 2).await;
    }
    assert_eq!(nodes[0].view().version, nodes[1].view().version);
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_node_are_made_in_order_whatever_happens() {
    let cluster = Cluster::new(config(3));
    let nodes = Arc::new(cluster.founders().await);
    for round in 0..5 {
        let old = leader(&nodes, None).await;
        let node = &nodes[(old + 1) % 3];
        let Change::Receiver { namespace, id, .. } = node.receiver(round) else { unreachable!() };
        let come = node.raft.apply(vec![node.receiver(round)]);
        let go = node.raft.apply(vec![Change::ReceiverGone { namespace, id }]);
        let cut = async {
            cluster.net.cut(&nodes[old]);
            tokio::time::sleep(Duration::from_secs(3)).await;
            cluster.net.heal();
        };
        let (come, go, ()) = tokio::join!(come, go, cut);
        assert!(come.is_ok() && go.is_ok());
    }
    for node in nodes.iter() {
        node.sees("nothing left", |view| receivers(view) == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused() {
    let cluster = Cluster::new(config(1));
    let nodes = cluster.founders().await;
    let many = (0..20_000).map(|counter| nodes[0].receiver(counter)).collect();
    let error = nodes[0].raft.apply(many).await.unwrap_err();
    assert!(matches!(error, MembershipError::TooLarge { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_ignored() {
    let cluster = Cluster::new(config(3));
    let nodes = cluster.founders().await;
    let mut chance = fastrand::Rng::with_seed(1);
    for _ in 0..5_000 {
        let len = chance.usize(..120);
        let mut body: Vec<u8> = (0..len).map(|_| chance.u8(..)).collect();
        if let Some(first) = body.first_mut() {
            // Some get past the envelope.
            *first = chance.u8(..2);
        }
        cluster.net.nonsense(&nodes[0], body).await;
    }
    nodes[0].raft.apply(vec![nodes[0].receiver(1)]).await.unwrap();
    for node in &nodes {
        node.sees("the change", |view| receivers(view) == 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_of_large_entries_is_compacted_too() {
    let mut config = config(3);
    config.limits.entry = 4 << 10;
    config.limits.log_bytes = 16 << 10;
    config.limits.log_entries = 1_000_000;
    let cluster = Cluster::new(config);
    let nodes = cluster.founders().await;
    for counter in 0..100 {
        let many = (0..100).map(|one| nodes[0].receiver(counter * 100 + one)).collect();
        nodes[0].raft.apply(many).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for node in &nodes {
        node.sees("everything", |view| receivers(view) == 10_000).await;
    }
    assert!((1..=3).all(|port| cluster.path(port).join("snapshot").exists()));
    let late = cluster.start(4).await;
    late.sees("everything", |view| receivers(view) == 10_000).await;
}
