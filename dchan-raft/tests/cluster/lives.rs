//! Nodes that fall silent, come back, and leave.

use std::time::Duration;

use dchan_core::{Membership, MembershipError};
use tokio::time::Instant;

use crate::net::{Cluster, Node, config, leader, receivers};

#[tokio::test(start_paused = true)]
async fn a_learner_without_a_lease_is_removed_and_comes_back_in_a_new_life() {
    let cluster = Cluster::new(config(3));
    let nodes = cluster.founders().await;
    let learner = cluster.start(4).await;
    removed_and_back(&cluster, &nodes, &learner).await;
}

#[tokio::test(start_paused = true)]
async fn a_founder_without_a_lease_is_removed_and_comes_back_in_a_new_life() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    let led = leader(&nodes, None).await;
    let founder = nodes.remove((led + 1) % 3);
    removed_and_back(&cluster, &nodes, &founder).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_for_long_comes_back_in_a_new_life() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    let led = leader(&nodes, None).await;
    let old = nodes.remove(led);
    removed_and_back(&cluster, &nodes, &old).await;
}

async fn removed_and_back(cluster: &Cluster, others: &[Node], node: &Node) {
    let before = others[0].view().nodes[&node.id()].clone();
    node.raft.apply(vec![node.receiver(1)]).await.unwrap();
    cluster.net.cut(node);
    let cut = Instant::now();
    let id = node.id();
    let view = others[0].sees("it gone", |view| !view.nodes.contains_key(&id)).await;
    let took = cut.elapsed();
    println!("removed after {took:?}");
    assert!(took > Duration::from_secs(8) && took < Duration::from_secs(16), "{took:?}");
    assert_eq!(receivers(&view), 0);
    cluster.net.heal();
    for other in others {
        let back = |view: &dchan_core::View| {
            view.nodes.get(&id).is_some_and(|entry| {
                entry.incarnation > before.incarnation && entry.boot == before.boot
            })
        };
        other.sees("it back", back).await;
    }
    // The same node works as before.
    node.raft.apply(vec![node.receiver(1)]).await.unwrap();
    others[0].sees("its receiver", |view| receivers(view) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_keeps_its_lease_stays() {
    let cluster = Cluster::new(config(3));
    let nodes = cluster.founders().await;
    let learner = cluster.start(4).await;
    let before = nodes[0].view();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let after = learner.view();
    assert_eq!((&after.nodes, after.version), (&before.nodes, before.version));
}

#[tokio::test(start_paused = true)]
async fn leaving_takes_the_node_off_the_list_and_leaves_no_task() {
    let cluster = Cluster::new(config(3));
    let nodes = cluster.founders().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    settled().await;
    let before = tasks();
    let learner = cluster.start(4).await;
    assert!(tasks() > before);
    learner.raft.leave(Duration::from_secs(5)).await.unwrap();
    let id = learner.id();
    nodes[0].sees("it gone", |view| !view.nodes.contains_key(&id)).await;
    learner.raft.leave(Duration::from_secs(5)).await.unwrap();
    let after = learner.raft.apply(vec![learner.receiver(1)]).await;
    assert!(matches!(after, Err(MembershipError::Stopped)));
    learner.kill();
    settled().await;
    assert!(tasks() <= before, "{} tasks, {before} before", tasks());
}

async fn settled() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_off_the_list_needs_nobody_any_more() {
    let cluster = Cluster::new(config(1));
    let founder = cluster.start(1).await;
    let learner = cluster.start(4).await;
    cluster.net.slow(Duration::from_millis(50));
    let id = founder.id();
    let leaving = learner.raft.clone();
    let leaving = tokio::spawn(async move { leaving.leave(Duration::from_secs(5)).await });
    // Whoever leads may go as soon as the list says that nobody else is there.
    founder.sees("only itself", |view| view.nodes.keys().eq([&id])).await;
    founder.raft.leave(Duration::from_secs(5)).await.unwrap();
    founder.kill();
    leaving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_hands_over_when_it_leaves() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    let old = nodes.remove(leader(&nodes, None).await);
    let start = Instant::now();
    old.raft.leave(Duration::from_secs(10)).await.unwrap();
    println!("the leader left after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    leader(&nodes, Some(old.id())).await;
    nodes[0].sees("it gone", |view| view.nodes.len() == 2).await;
    // It may come back: it is still a voter.
    let port = old.addr.port();
    old.kill();
    let back = cluster.start(port).await;
    back.sees("all three", |view| view.nodes.len() == 3).await;
}

#[tokio::test(start_paused = true)]
async fn leaving_works_without_a_quorum() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    let last = nodes.pop().unwrap();
    nodes.into_iter().for_each(Node::kill);
    settled().await;
    let start = Instant::now();
    let left = last.raft.leave(Duration::from_secs(3)).await;
    assert!(matches!(left, Err(MembershipError::Unknown(_))), "{left:?}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    last.kill();
    settled().await;
    let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(left, 0, "nothing runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_is_free_once_a_node_has_left() {
    let mut config = config(1);
    config.writes = dchan_raft::Writes::Thread;
    let cluster = Cluster::new(config);
    for incarnation in 1..5 {
        let node = cluster.start(1).await;
        assert_eq!(node.me.incarnation.0, incarnation);
        node.raft.leave(Duration::from_secs(5)).await.unwrap();
        node.kill();
    }
    let last = cluster.start(1).await;
    last.raft.leave(Duration::from_secs(5)).await.unwrap();
    last.kill();
    dchan_raft::DataDir::open(cluster.path(1)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn leaving_works_before_there_is_a_cluster() {
    let cluster = Cluster::new(config(3));
    let node = cluster.open(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.raft.leave(Duration::from_secs(1)).await.unwrap();
    assert!(matches!(node.started.await.unwrap(), Err(MembershipError::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_directory_that_restarts_leaves_no_ghost() {
    let cluster = Cluster::new(config(3));
    let nodes = cluster.founders().await;
    let old = cluster.start(4).await;
    let id = old.id();
    old.kill();
    cluster.wipe(4);
    let start = Instant::now();
    let new = cluster.start(4).await;
    assert_ne!(new.id(), id);
    nodes[0].sees("the old one gone", |view| !view.nodes.contains_key(&id)).await;
    println!("the old one was gone after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(nodes[0].view().nodes.contains_key(&new.id()));
}
