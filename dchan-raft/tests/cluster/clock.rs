//! Clocks that jump: a machine that was asleep finds that everything is an hour late.

use std::time::Duration;

use dchan_core::Membership;
use tokio::time::{Instant, advance, sleep};

use crate::net::{Cluster, config, leader, receivers};

const HOUR: Duration = Duration::from_secs(3600);

/// All slept, so nobody was silent: the leases are not out, and nobody is taken off the list.
#[tokio::test(start_paused = true)]
async fn after_an_hour_that_all_slept_through_everybody_is_still_on_the_list() {
    for seed in 0..3 {
        let mut config = config(3);
        config.seed = seed * 1000;
        let cluster = Cluster::new(config);
        let mut nodes = cluster.founders().await;
        nodes.push(cluster.start(4).await);
        for node in &nodes {
            node.raft.apply(vec![node.receiver(1)]).await.unwrap();
        }
        let before = nodes[0].view();
        // Anywhere between two heartbeats, leases and looks at them.
        sleep(Duration::from_millis(seed * 437)).await;
        advance(HOUR).await;
        let late = Instant::now();
        for node in &nodes {
            node.raft.apply(vec![node.receiver(2)]).await.unwrap();
        }
        println!("seed {seed}: all could change the list again after {:?}", late.elapsed());
        assert!(late.elapsed() < Duration::from_secs(10), "{:?}", late.elapsed());
        sleep(Duration::from_secs(12)).await;
        leader(&nodes, None).await;
        for node in &nodes {
            let view = node.sees("all receivers", |view| receivers(view) == 8).await;
            assert_eq!(view.nodes, before.nodes, "nobody was taken off, or came back");
        }
    }
}

/// One slept: it is taken off the list, and comes back in a new life.
#[tokio::test(start_paused = true)]
async fn a_node_that_alone_slept_for_long_comes_back() {
    let cluster = Cluster::new(config(3));
    let nodes = cluster.founders().await;
    let sleeper = cluster.start(4).await;
    let (id, before) = (sleeper.id(), sleeper.me.incarnation);
    cluster.net.cut(&sleeper);
    nodes[0].sees("it gone", |view| !view.nodes.contains_key(&id)).await;
    sleep(Duration::from_secs(120)).await;
    cluster.net.heal();
    let back = |view: &dchan_core::View| {
        view.nodes.get(&id).is_some_and(|entry| entry.incarnation > before)
    };
    for node in nodes.iter().chain([&sleeper]) {
        node.sees("it back", back).await;
    }
    sleeper.raft.apply(vec![sleeper.receiver(1)]).await.unwrap();
}
