//! The same again and again, with other seeds: what happens one time in twenty counts too.

use std::time::Duration;

use dchan_core::Membership;
use tokio::time::Instant;

use crate::net::{Cluster, config, leader};

const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn leaders_come_and_are_replaced_in_time() {
    let (mut slowest_start, mut slowest_change) = (Duration::ZERO, Duration::ZERO);
    for seed in 0..30 {
        let mut config = config(3);
        config.seed = seed * 1000;
        let cluster = Cluster::new(config);
        cluster.net.slow(Duration::from_millis(20));
        let start = Instant::now();
        let mut nodes = cluster.founders().await;
        let led = leader(&nodes, None).await;
        slowest_start = slowest_start.max(start.elapsed());
        let (killed, id) = (Instant::now(), nodes[led].id());
        nodes.remove(led).kill();
        leader(&nodes, Some(id)).await;
        slowest_change = slowest_change.max(killed.elapsed());
        nodes[0].raft.apply(vec![nodes[0].receiver(1)]).await.unwrap();
    }
    println!("at worst: cold start {slowest_start:?}, another leader {slowest_change:?}");
    assert!(slowest_start < LIMIT && slowest_change < LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_leader_stays_for_as_long_as_it_works() {
    let cluster = Cluster::new(config(3));
    cluster.net.slow(Duration::from_millis(60));
    let nodes = cluster.founders().await;
    let led = leader(&nodes, None).await;
    let changes = {
        let mut view = nodes[0].raft.view();
        tokio::spawn(async move {
            let (mut leader, mut changes) = (view.borrow().leader, 0);
            while view.changed().await.is_ok() {
                let now = view.borrow().leader;
                changes += usize::from(std::mem::replace(&mut leader, now) != now);
                if changes > 0 {
                    break;
                }
            }
            changes
        })
    };
    for counter in 0..300 {
        let node = &nodes[counter % 3];
        node.raft.apply(vec![node.receiver(counter as u64)]).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!changes.is_finished(), "another leader without a reason");
    assert_eq!(leader(&nodes, None).await, led);
}
