//! Clusters whose founders' disks fail and lose power.

use std::{io, time::Duration};

use dchan_core::Membership;
use tokio::time::timeout;

use super::{disk::Disk, rounds};
use crate::{
    NewError, RaftMembership,
    net::{Cluster, Node, config, receivers},
};

/// Three founders, each with a disk of its own for its log.
pub(super) struct Founders {
    cluster: Cluster,
    pub(super) disks: [Disk; 3],
    pub(super) nodes: Vec<Node>,
}

impl Founders {
    pub(super) async fn start() -> Self {
        let mut founders = Self::none(7);
        for at in 0..3 {
            let node = founders.open(at).await.unwrap();
            founders.nodes.push(node);
        }
        founders.are_up().await;
        founders
    }

    fn none(seed: u64) -> Self {
        let mut config = config(3);
        config.seed = seed;
        Self { cluster: Cluster::new(config), disks: Default::default(), nodes: Vec::new() }
    }

    async fn are_up(&mut self) {
        for node in &mut self.nodes {
            node.up().await;
        }
        for node in &self.nodes {
            node.sees("all founders", |view| view.nodes.len() >= 3).await;
        }
    }

    /// A node without a vote, whose disk works.
    pub(super) async fn learner(&self) -> Node {
        self.cluster.start(4).await
    }

    /// Begins to start a node.
    async fn open(&self, at: usize) -> Result<Node, NewError> {
        let (port, disk) = (at as u16 + 1, self.disks[at].attach());
        let mut config = self.cluster.config.clone();
        config.seed += u64::from(port);
        let made = |dir| RaftMembership::on_backend(dir, config, disk);
        Node::open_with(&self.cluster.net, port, &self.cluster.path(port), made).await
    }

    /// Ends the process of a node, whose place the next one has until it is started again.
    pub(super) fn kill(&mut self, at: usize) {
        self.nodes.remove(at).kill();
    }

    pub(super) async fn start_again(&mut self, at: usize) {
        let mut node = self.open(at).await.unwrap();
        node.up().await;
        self.nodes.insert(at, node);
    }
}

/// What was committed stays on the list, whoever loses power at whatever step, and all at once.
#[tokio::test(start_paused = true)]
async fn nothing_committed_is_forgotten_when_founders_lose_power() {
    for seed in 0..rounds(2) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut founders = Founders::start().await;
        let witness = founders.learner().await;
        let (mut counter, mut committed, mut round) = (0, 0, 0);
        // A round in which two founders die at once commits little, so how many it takes varies.
        while round < 6 || committed <= 20 {
            round += 1;
            assert!(round <= 60, "seed {seed}: only {committed} committed in 60 rounds");
            let dying: Vec<usize> = (0..3).filter(|_| rng.u8(0..3) > 0).collect();
            for at in &dying {
                founders.disks[*at].fail_after(rng.u64(0..80), io::ErrorKind::Other);
            }
            for _ in 0..10 {
                counter += 1;
                let change = vec![witness.receiver(counter)];
                let made = timeout(Duration::from_secs(1), witness.raft.apply(change)).await;
                committed += usize::from(matches!(made, Ok(Ok(_))));
            }
            for at in dying.iter().rev() {
                founders.kill(*at);
                founders.disks[*at].lose_power(&mut rng);
            }
            for at in &dying {
                let node = founders.open(*at).await.unwrap();
                founders.nodes.insert(*at, node);
            }
            for at in &dying {
                founders.nodes[*at].up().await;
            }
            let view = witness.view();
            assert!(
                receivers(&view) >= committed,
                "seed {seed}: {} of {committed}",
                receivers(&view)
            );
            for node in &founders.nodes {
                let same = node.sees("the same list", |seen| seen.version >= view.version).await;
                assert!(
                    receivers(&same) >= committed,
                    "seed {seed}: {} of {committed}",
                    receivers(&same)
                );
            }
        }
    }
}

/// One of three, or all of them, end after so many steps of the first one's disk while the cluster is
/// being founded.
async fn founding_is_interrupted(victim: usize, after: u64, all: bool, power: bool) -> bool {
    let what = format!("founder {victim} ended after {after} steps, all: {all}, power: {power}");
    let mut rng = fastrand::Rng::with_seed(after);
    let mut founders = Founders::none(after);
    founders.disks[victim].fail_after(after, io::ErrorKind::Other);
    let mut begun = Vec::new();
    for at in 0..3 {
        begun.push(founders.open(at).await.ok());
    }
    let ended = async {
        while !founders.disks[victim].has_failed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let interrupted = timeout(Duration::from_secs(5), ended).await.is_ok();
    for (at, node) in begun.iter_mut().enumerate().filter(|(at, _)| all || *at == victim) {
        if let Some(node) = node.take() {
            node.kill();
        }
        if power {
            founders.disks[at].lose_power(&mut rng);
        }
        founders.disks[at].mend();
    }
    for (at, node) in begun.into_iter().enumerate() {
        let node = match node {
            Some(node) => node,
            None => founders.open(at).await.unwrap_or_else(|error| panic!("{what}: {error}")),
        };
        founders.nodes.push(node);
    }
    founders.are_up().await;
    let clusters: Vec<_> = founders.nodes.iter().map(|node| node.view().cluster).collect();
    assert!(clusters[0].is_some() && clusters.iter().all(|one| *one == clusters[0]), "{what}");
    let node = &founders.nodes[victim];
    node.raft.apply(vec![node.receiver(1)]).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    interrupted
}

#[tokio::test(start_paused = true)]
async fn a_founding_that_is_interrupted_at_any_step_goes_on_and_founds_one_cluster() {
    let (mut interrupted, mut round, rounds) = (0, 0, rounds(12));
    // Some are founded before the disk fails.
    while round < rounds || interrupted <= rounds / 2 {
        assert!(round < 4 * rounds, "only {interrupted} of {round} were interrupted");
        let mut rng = fastrand::Rng::with_seed(round);
        let (victim, after) = (round as usize % 3, rng.u64(0..90));
        interrupted +=
            u64::from(founding_is_interrupted(victim, after, rng.bool(), rng.bool()).await);
        round += 1;
    }
    eprintln!("{interrupted} of {round} foundings were interrupted");
}
