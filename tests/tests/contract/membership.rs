//! Both memberships keep the contract.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dchan_conformance::{
    cluster::{Cluster, Kind},
    membership::{Life, MembershipFixture},
    tcp::TcpTransport,
};
use dchan_core::{Addr, Incarnation, NodeId, StaticMembership};
use dchan_raft::{RaftConfig, RaftMembership, Writes};
use tempfile::TempDir;

use crate::founders;

fn cluster(kind: Kind) -> Cluster {
    Cluster::with_seed(kind, Arc::new(TcpTransport), fastrand::u64(..))
}

/// A list that Raft keeps. What a node keeps is in a directory of its own.
struct Raft {
    kind: Kind,
    home: TempDir,
}

fn raft(kind: Kind) -> Raft {
    Raft { kind, home: founders::home(kind) }
}

#[async_trait]
impl MembershipFixture for Raft {
    fn cluster(&self) -> Cluster {
        cluster(self.kind)
    }

    async fn life(&self, place: usize, founders: &[Addr]) -> Life {
        let dir = founders::open(&self.home.path().join(place.to_string())).await;
        let mut config = RaftConfig::new("dchan", founders.iter().cloned());
        config.seed = fastrand::u64(..);
        if self.kind == Kind::Memory {
            config.writes = Writes::Inline;
        } else {
            // Who is cut off knows it the sooner, in real time.
            config.times.lease = Duration::from_millis(300);
        }
        let (id, incarnation) = (dir.node_id(), dir.incarnation());
        let membership = Arc::new(RaftMembership::new(dir, config).unwrap());
        Life { id, incarnation, membership }
    }
}

/// A list in one place, which all nodes reach whatever the network does.
struct Fixed {
    list: Arc<StaticMembership>,
    lives: AtomicU64,
}

fn fixed() -> Fixed {
    Fixed { list: StaticMembership::new(), lives: AtomicU64::new(1) }
}

#[async_trait]
impl MembershipFixture for Fixed {
    fn cluster(&self) -> Cluster {
        cluster(Kind::Memory)
    }

    async fn life(&self, place: usize, _founders: &[Addr]) -> Life {
        let incarnation = Incarnation(self.lives.fetch_add(1, Ordering::Relaxed));
        Life { id: NodeId(place as u64 + 1), incarnation, membership: self.list.member() }
    }

    fn needs_quorum(&self) -> bool {
        false
    }
}

mod raft_in_memory {
    use super::{Kind, raft};
    dchan_conformance::membership_suite!(raft(Kind::Memory), start_paused = true);
}

mod raft_over_tcp {
    use super::{Kind, raft};
    dchan_conformance::membership_suite!(
        raft(Kind::Tcp),
        flavor = "multi_thread",
        worker_threads = 2
    );
}

mod one_list {
    dchan_conformance::membership_suite!(super::fixed(), start_paused = true);
}
