//! Clusters whose list is kept by Raft.
#![allow(dead_code, reason = "not every test needs all of it")]

pub(crate) mod disk;

use std::{path::Path, sync::Arc, time::Duration};

use dchan_conformance::cluster::{Cluster, Kind, PATIENCE, Spot, until};
use dchan_core::{Membership, Node, ShutdownError, StartError};
use dchan_raft::{DataDir, DataDirError, RaftConfig, RaftMembership, Writes};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Starts a node on a data directory.
pub(crate) async fn start(
    cluster: &Cluster,
    spot: &Spot,
    founders: &[Spot],
    dir: DataDir,
    set: impl FnOnce(&mut RaftConfig),
) -> Result<Node, StartError> {
    let id = (dir.node_id(), dir.incarnation());
    let config = config(cluster, spot, founders, set);
    let membership: Arc<dyn Membership> = Arc::new(RaftMembership::new(dir, config).unwrap());
    cluster.start(spot, id, membership, |_| {}).await
}

fn config(
    cluster: &Cluster,
    spot: &Spot,
    founders: &[Spot],
    set: impl FnOnce(&mut RaftConfig),
) -> RaftConfig {
    let mut config = RaftConfig::new("dchan", founders.iter().map(|spot| spot.addr().clone()));
    config.seed = cluster.seed.wrapping_add(spot.index as u64);
    if cluster.kind == Kind::Memory {
        config.writes = Writes::Inline;
    }
    set(&mut config);
    config
}

/// Nodes that are missed soon.
pub(crate) fn quick(config: &mut RaftConfig) {
    config.times.lease = Duration::from_millis(300);
    config.times.removal_after = Duration::from_millis(1500);
}

/// Starts the founders at their places.
pub(crate) async fn start_all(cluster: &Cluster, spots: &[Spot]) -> Vec<Node> {
    let start = |spot| start(cluster, spot, spots, DataDir::temporary().unwrap(), quick);
    let started = join_all(spots.iter().map(start)).await;
    started.into_iter().map(|node| node.expect("the node starts")).collect()
}

/// Starts three founders.
pub(crate) async fn three(cluster: &Cluster) -> Vec<Node> {
    start_all(cluster, &[cluster.spot(), cluster.spot(), cluster.spot()]).await
}

/// Stops all nodes. The last voter has nobody who could take it off the list.
pub(crate) async fn stop_all(nodes: Vec<Node>) {
    for node in nodes {
        let last = node.clone();
        let stopped = node.shutdown_within(Duration::from_secs(2)).await;
        assert!(matches!(stopped, Ok(()) | Err(ShutdownError::Membership(_))), "{stopped:?}");
        assert_eq!(last.tasks(), 0);
    }
}

/// The place of the node that leads, as all say.
pub(crate) async fn leader(nodes: &[Node]) -> usize {
    let found = || {
        let of = |node: &Node| node.view().borrow().leader;
        let first = of(&nodes[0])?;
        nodes.iter().all(|node| of(node) == Some(first)).then_some(())?;
        nodes.iter().position(|node| node.id() == first)
    };
    until("there is a leader", || found().is_some()).await;
    found().unwrap_or_default()
}

/// Where the data directories are. In paused time nothing is learnt from a disk.
pub(crate) fn home(kind: Kind) -> TempDir {
    let memory = Path::new("/dev/shm");
    if kind == Kind::Memory && memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// Opens a data directory as soon as whoever had it has gone.
pub(crate) async fn open(path: &Path) -> DataDir {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match DataDir::open(path) {
            Ok(dir) => return dir,
            Err(DataDirError::InUse { .. }) if Instant::now() < deadline => {
                sleep(Duration::from_millis(2)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
