//! Directories that were copied or wiped.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use dchan_core::{Membership, MembershipError};
use tokio::time::{sleep, timeout};
use tracing_subscriber::fmt::MakeWriter;

use crate::net::{self, Cluster, Node, config, leader, receivers};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Why a node did not start.
async fn refusal(node: Node) -> String {
    let started = timeout(net::PATIENCE, node.started).await.unwrap().unwrap();
    assert!(matches!(started, Err(MembershipError::Refused(_))), "{started:?}");
    started.unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_running_node_does_not_start() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    nodes.push(cluster.start(4).await);
    for (at, copied) in [(0, 11), (3, 14)] {
        let original = &nodes[at];
        let before = nodes[1].view();
        copy(&cluster.path(original.addr.port()), &cluster.path(copied));
        let said = refusal(cluster.open(copied).await).await;
        assert!(said.contains(original.addr.as_str()), "{said}");
        assert!(said.contains("was its data directory copied?"), "{said}");
        sleep(Duration::from_secs(20)).await;
        assert_eq!(nodes[1].view().nodes, before.nodes, "the original is not disturbed");
        original.raft.apply(vec![original.receiver(1)]).await.unwrap();
    }
}

/// The copy could not know: then the older process gives way, and votes no more.
#[tokio::test(start_paused = true)]
async fn of_two_founders_with_one_directory_one_gives_way() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    let led = leader(&nodes, None).await;
    for at in [led, (led + 1) % 3] {
        let (id, port) = (nodes[at].id(), nodes[at].addr.port());
        cluster.net.cut(&nodes[at]);
        leader(&nodes, Some(id)).await;
        copy(&cluster.path(port), &cluster.path(port + 10));
        let mut newer = cluster.open(port + 10).await;
        assert_eq!(newer.id(), id);
        newer.up().await;
        cluster.net.heal();
        let older = nodes.remove(at);
        let (boot, newer_boot) = (older.me.boot, newer.me.boot);
        while older.raft.status().fault.is_none() {
            sleep(Duration::from_millis(100)).await;
        }
        let refused = older.raft.apply(vec![older.receiver(1)]).await;
        assert!(matches!(refused, Err(MembershipError::Refused(_))), "{refused:?}");
        nodes.insert(at, newer);
        sleep(Duration::from_secs(30)).await;
        for node in &nodes {
            assert_eq!(node.view().nodes[&id].boot, newer_boot);
            node.raft.apply(vec![node.receiver(1)]).await.unwrap();
        }
        // It takes nothing off the list that is another's.
        older.raft.leave(Duration::from_secs(5)).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(nodes[0].view().nodes[&id].boot, newer_boot);
        assert_ne!(boot, newer_boot);
    }
}

/// Both were started from the same files, so that they are in the same life.
#[tokio::test(start_paused = true)]
async fn of_two_in_the_same_life_the_second_does_not_start() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    let original = nodes.pop().unwrap();
    let id = original.id();
    original.kill();
    copy(&cluster.path(3), &cluster.path(13));
    // The copy comes first; nobody answers where it was.
    let copied = cluster.start(13).await;
    let original = cluster.open(3).await;
    assert_eq!(original.me.incarnation, copied.me.incarnation);
    let said = refusal(original).await;
    assert!(said.contains("was its data directory copied?"), "{said}");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(nodes[0].view().nodes[&id].boot, copied.me.boot);
    copied.raft.apply(vec![copied.receiver(1)]).await.unwrap();
}

/// What a test's nodes log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn contain(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap()).contains(text)
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_lost_two_of_three_founders_says_so_and_founds_no_other() {
    let lines = Lines::default();
    let said = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    // All nodes run on this thread.
    let _logging = tracing::subscriber::set_default(said);
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    nodes[0].raft.apply(vec![nodes[0].receiver(1)]).await.unwrap();
    let before = nodes[0].view();
    for port in [3, 2] {
        nodes.pop().unwrap().kill();
        cluster.wipe(port);
    }
    let wiped = [cluster.open(2).await, cluster.open(3).await];
    sleep(Duration::from_secs(60)).await;
    assert!(wiped.iter().all(|node| !node.started.is_finished()), "there is no quorum");
    for node in &wiped {
        assert_eq!(node.view().cluster, before.cluster, "there is no other cluster");
        let seen = node.view();
        assert!(seen.nodes.is_empty() || seen.nodes == before.nodes, "{seen:?}");
    }
    // What is left knows what it knew, and changes nothing.
    let left = &nodes[0];
    assert_eq!(left.view().receivers, before.receivers);
    let stuck = left.raft.apply(vec![left.receiver(2)]);
    assert!(timeout(Duration::from_secs(60), stuck).await.is_err());
    assert!(lines.contain("2 of 3 founders have lost their data directories"));
    assert!(lines.contain("the cluster cannot recover"));
    // Only when nobody remembers anything is there a new one.
    nodes.pop().unwrap().kill();
    wiped.into_iter().for_each(Node::kill);
    (1..=3).for_each(|port| cluster.wipe(port));
    let anew = cluster.founders().await;
    assert_ne!(anew[0].view().cluster, before.cluster);
    assert_eq!(receivers(&anew[0].view()), 0);
}

#[tokio::test(start_paused = true)]
async fn founders_wiped_one_after_another_are_replaced_while_a_majority_is_healthy() {
    let cluster = Cluster::new(config(3));
    let mut nodes = cluster.founders().await;
    let witness = cluster.start(4).await;
    witness.raft.apply(vec![witness.receiver(1)]).await.unwrap();
    let before = witness.view();
    for port in 1..=3 {
        let old = nodes.remove(0);
        let id = old.id();
        old.kill();
        cluster.wipe(port);
        let new = cluster.start(port).await;
        witness.sees("the old id gone", |view| !view.nodes.contains_key(&id)).await;
        assert_eq!(new.view().cluster, before.cluster);
        nodes.push(new);
        // It has the vote once it decides something with one of the others down.
        let other = nodes.remove(0);
        let down = other.addr.port();
        other.kill();
        witness.raft.apply(vec![witness.receiver(u64::from(port) + 1)]).await.unwrap();
        nodes.insert(0, cluster.start(down).await);
    }
    assert_eq!(receivers(&witness.view()), 4);
}
