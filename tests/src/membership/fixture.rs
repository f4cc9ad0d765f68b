use std::sync::Arc;

use async_trait::async_trait;
use dchan_core::{Addr, Incarnation, Membership, NodeId};

use crate::cluster::Cluster;

/// What the suite needs to know about a membership.
///
/// A fresh fixture is made for each test. Nodes are known by their places: 0, 1, 2…
#[async_trait]
pub trait MembershipFixture: Sync {
    /// The network that the nodes meet on. One is asked for per test.
    fn cluster(&self) -> Cluster;

    /// The next life of the node at a place: first that of a new node, then that of one which comes
    /// back with whatever it kept. The process of the life before is dead by then, or about to be.
    ///
    /// `founders` are the addresses of the places 0 to 2: they are there from the beginning. Others come
    /// later.
    async fn life(&self, place: usize, founders: &[Addr]) -> Life;

    /// Whether changes need a majority. One that needs none is held to that: it makes changes though it
    /// is cut off, and never says that there is no quorum.
    fn needs_quorum(&self) -> bool {
        true
    }

    /// Told when the network of a node is cut off from all others, and when it is back: for a membership
    /// that has roads of its own to other nodes.
    fn cut_off(&self, place: usize, is_cut: bool) {
        let _ = (place, is_cut);
    }
}

/// A node that is about to start.
#[derive(Debug)]
pub struct Life {
    /// The node: the same in each life at one place.
    pub id: NodeId,
    /// Rises with each life.
    pub incarnation: Incarnation,
    /// Its membership, not started.
    pub membership: Arc<dyn Membership>,
}
