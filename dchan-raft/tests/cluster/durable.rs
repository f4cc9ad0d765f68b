//! In real time, with the thread that writes to disk.

use std::time::Duration;

use dchan_core::Membership;
use dchan_raft::Writes;
use futures::future::join_all;
use tokio::time::Instant;

use crate::net::{self, Cluster, config, leader, receivers};

/// How often a machine may be busy with others: what is slow by itself is so each time.
const ATTEMPTS: usize = 10;

fn durable() -> Cluster {
    let mut config = config(3);
    config.writes = Writes::Thread;
    // Nobody is missed, however slow the machine.
    config.times.removal_after = Duration::from_secs(300);
    Cluster::new(config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_starts_fast_and_replaces_its_leader_fast() {
    const LIMIT: Duration = Duration::from_secs(2);
    for attempt in 1.. {
        let (cold, failover) = start_and_replace_the_leader().await;
        if cold < LIMIT && failover < LIMIT {
            break;
        }
        assert!(attempt < ATTEMPTS, "cold start {cold:?}, another leader {failover:?}, at last");
    }
}

/// How long each of the two took.
async fn start_and_replace_the_leader() -> (Duration, Duration) {
    let cluster = durable();
    let start = Instant::now();
    let mut nodes = cluster.founders().await;
    let led = leader(&nodes, None).await;
    let cold = start.elapsed();
    let (killed, id) = (Instant::now(), nodes[led].id());
    nodes.remove(led).kill();
    leader(&nodes, Some(id)).await;
    let failover = killed.elapsed();
    nodes[0].raft.apply(vec![nodes[0].receiver(1)]).await.unwrap();
    println!("cold start {cold:?}, another leader {failover:?}, a change {:?}", killed.elapsed());
    (cold, failover)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_at_once() {
    for attempt in 1.. {
        let (entries, same_leader) = make_ten_thousand_calls().await;
        if entries < 200 && same_leader {
            break;
        }
        let leader = if same_leader { "the same" } else { "another" };
        assert!(attempt < ATTEMPTS, "{entries} entries, and {leader} leader, at last");
    }
}

/// How many entries they became, and whether the leader stayed.
async fn make_ten_thousand_calls() -> (u64, bool) {
    let cluster = durable();
    let nodes = cluster.founders().await;
    let (led, before) = (leader(&nodes, None).await, nodes[0].view().version.0);
    let start = Instant::now();
    let calls = (0..10_000_usize).map(|counter| {
        let node = &nodes[counter % 3];
        let (raft, change) = (node.raft.clone(), node.receiver(counter as u64));
        tokio::spawn(async move { raft.apply(vec![change]).await })
    });
    for done in join_all(calls).await {
        done.unwrap().unwrap();
    }
    let took = start.elapsed();
    let view = nodes[0].sees("all", |view| receivers(view) == 10_000).await;
    let entries = view.version.0 - before;
    println!("10,000 calls: {took:?}, {:.0}/s, {entries} entries", 1e4 / took.as_secs_f64());
    (entries, leader(&nodes, None).await == led)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_after_another() {
    let cluster = durable();
    let nodes = cluster.founders().await;
    for node in &nodes {
        let leads = node.view().leader == Some(node.id());
        let start = Instant::now();
        for counter in 0..200 {
            node.raft.apply(vec![node.receiver(counter)]).await.unwrap();
        }
        let each = start.elapsed() / 200;
        println!("a call {} takes {each:?}", if leads { "on the leader" } else { "elsewhere" });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_all_processes_died() {
    let cluster = durable();
    let nodes = cluster.founders().await;
    for counter in 0..50 {
        nodes[0].raft.apply(vec![nodes[0].receiver(counter)]).await.unwrap();
    }
    let before = nodes[0].view();
    let id = nodes[0].id();
    nodes.into_iter().for_each(net::Node::kill);
    // Without the node that has the receivers: nobody takes them off before its lease runs out.
    let (mut b, mut c) = (cluster.open(2).await, cluster.open(3).await);
    b.up().await;
    c.up().await;
    let after = c.sees("the receivers", |view| receivers(view) == 50).await;
    assert_eq!(after.nodes[&id], before.nodes[&id]);
    assert_eq!(after.cluster, before.cluster);
}
