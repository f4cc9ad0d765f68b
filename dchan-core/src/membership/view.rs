use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::Change;
use crate::{Addr, Boot, ClusterId, Incarnation, Namespace, NodeId, ReceiverId};

/// How many changes a view has seen. Views of one cluster with the same version are the same.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Version(pub u64);

/// The list, as one node knows it at one time.
///
/// Its maps share what they have in common with those of older views: a clone costs nothing, and
/// [`OrdMap::diff`] costs as much as there are differences.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// How many changes it has seen.
    pub version: Version,
    /// The cluster, once it is founded.
    pub cluster: Option<ClusterId>,
    /// Who leads, if that is known here. Not part of what nodes agree on.
    #[serde(skip)]
    pub leader: Option<NodeId>,
    /// All nodes.
    pub nodes: OrdMap<NodeId, NodeEntry>,
    /// All receivers, and the node that each is on.
    pub receivers: OrdMap<(Namespace, ReceiverId), NodeId>,
    /// The same, by node: who goes when a node goes.
    by_node: OrdMap<NodeId, OrdSet<(Namespace, ReceiverId)>>,
}

/// What the list says of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Where it can be reached.
    pub addr: Addr,
    /// Its process.
    pub boot: Boot,
    /// Which of its lives it is in.
    pub incarnation: Incarnation,
    /// Labels that its user gave it.
    pub tags: OrdMap<String, String>,
}

impl View {
    /// The empty list of a cluster.
    pub fn of_cluster(cluster: ClusterId) -> Self {
        Self { cluster: Some(cluster), ..Self::default() }
    }

    /// Whether a view that somebody sent is one that changes can lead to: each receiver is of the process
    /// that its node is.
    pub fn is_sound(&self) -> bool {
        let listed = |((_, id), node): (&(Namespace, ReceiverId), &NodeId)| {
            self.nodes.get(node).is_some_and(|entry| entry.boot == id.boot)
        };
        let by_node = |(node, keys): (&NodeId, &OrdSet<(Namespace, ReceiverId)>)| {
            keys.iter().all(|key| self.receivers.get(key) == Some(node))
        };
        let counted: usize = self.by_node.values().map(OrdSet::len).sum();
        self.receivers.iter().all(listed)
            && self.by_node.iter().all(by_node)
            && counted == self.receivers.len()
            && self.version.0 < u64::MAX / 2
    }

    /// The receivers of a namespace, and the node that each is on.
    pub fn receivers_of(
        &self,
        namespace: &Namespace,
    ) -> impl Iterator<Item = (ReceiverId, NodeId)> {
        let first = ReceiverId { boot: Boot(0), counter: 0 };
        self.receivers
            .range((namespace.clone(), first)..)
            .take_while(move |((name, _), _)| name == namespace)
            .map(|((_, id), node)| (*id, *node))
    }

    /// The receivers on a node, with their namespaces.
    pub fn receivers_on(&self, node: NodeId) -> impl Iterator<Item = &(Namespace, ReceiverId)> {
        self.by_node.get(&node).into_iter().flatten()
    }

    /// Makes changes as [`Change`] describes them, and counts them as one version.
    ///
    /// Every membership that keeps a list should use this, so that they all mean the same.
    pub fn apply(&mut self, changes: &[Change]) {
        self.version.0 += 1;
        for change in changes {
            self.apply_one(change);
        }
    }

    fn apply_one(&mut self, change: &Change) {
        match change {
            Change::Node { id, entry } => self.put_node(*id, entry),
            Change::NodeGone { id, incarnation } => {
                if self.nodes.get(id).is_some_and(|known| known.incarnation <= *incarnation) {
                    self.nodes.remove(id);
                    self.drop_receivers(*id, |_| true);
                }
            }
            Change::Receiver { namespace, id, node } => {
                if self.nodes.get(node).is_some_and(|known| known.boot == id.boot) {
                    let key = (namespace.clone(), *id);
                    // Nodes that claim the same boot do not share a receiver: the last one has it.
                    if let Some(before) = self.receivers.insert(key.clone(), *node)
                        && let Some(keys) = self.by_node.get_mut(&before)
                    {
                        keys.remove(&key);
                    }
                    self.by_node.entry(*node).or_default().insert(key);
                }
            }
            Change::ReceiverGone { namespace, id } => {
                let key = (namespace.clone(), *id);
                if let Some(node) = self.receivers.remove(&key)
                    && let Some(keys) = self.by_node.get_mut(&node)
                {
                    keys.remove(&key);
                }
            }
        }
    }

    fn put_node(&mut self, id: NodeId, entry: &NodeEntry) {
        if let Some(known) = self.nodes.get(&id) {
            if known.incarnation > entry.incarnation {
                return;
            }
            if known.boot != entry.boot {
                self.drop_receivers(id, |receiver| receiver.boot != entry.boot);
            }
        }
        self.nodes.insert(id, entry.clone());
    }

    fn drop_receivers(&mut self, node: NodeId, gone: impl Fn(&ReceiverId) -> bool) {
        let keys = self.by_node.remove(&node).unwrap_or_default();
        let (gone, kept): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(_, id)| gone(id));
        for key in gone {
            self.receivers.remove(&key);
        }
        if !kept.is_empty() {
            self.by_node.insert(node, kept.into_iter().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, boot: u64, incarnation: u64) -> Change {
        Change::Node {
            id: NodeId(id),
            entry: NodeEntry {
                addr: format!("127.0.0.1:{id}").parse().unwrap(),
                boot: Boot(boot),
                incarnation: Incarnation(incarnation),
                tags: OrdMap::new(),
            },
        }
    }

    fn receiver(name: &str, node: u64, boot: u64, counter: u64) -> Change {
        let namespace = Namespace::new(name).unwrap();
        Change::Receiver {
            namespace,
            id: ReceiverId { boot: Boot(boot), counter },
            node: NodeId(node),
        }
    }

    fn names(view: &View, name: &str) -> Vec<u64> {
        view.receivers_of(&Namespace::new(name).unwrap()).map(|(id, _)| id.counter).collect()
    }

    #[test]
    fn receivers_are_found_by_name() {
        let mut view = View::default();
        view.apply(&[
            node(1, 10, 1),
            receiver("a", 1, 10, 1),
            receiver("b", 1, 10, 2),
            receiver("b", 1, 10, 3),
        ]);
        assert_eq!(
            (names(&view, "a"), names(&view, "b"), names(&view, "c")),
            (vec![1], vec![2, 3], vec![])
        );
    }

    #[test]
    fn a_new_boot_leaves_no_ghost() {
        let mut view = View::default();
        view.apply(&[node(1, 10, 1), receiver("a", 1, 10, 1)]);
        view.apply(&[node(1, 11, 2), receiver("a", 1, 10, 2), receiver("a", 1, 11, 1)]);
        assert_eq!(names(&view, "a"), [1]);
        view.apply(&[node(1, 10, 1)]);
        assert_eq!(view.nodes[&NodeId(1)].boot, Boot(11), "an older incarnation changes nothing");
    }

    #[test]
    fn a_receiver_is_on_one_node() {
        let mut view = View::default();
        view.apply(&[node(1, 10, 1), node(2, 10, 1)]);
        view.apply(&[receiver("a", 1, 10, 1), receiver("a", 2, 10, 1)]);
        assert!(view.is_sound());
        view.apply(&[Change::NodeGone { id: NodeId(1), incarnation: Incarnation(1) }]);
        assert_eq!(names(&view, "a"), [1], "it is on the other one");
    }

    #[test]
    fn a_node_that_came_back_is_not_removed() {
        let mut view = View::default();
        view.apply(&[node(1, 10, 1), node(1, 10, 2), receiver("a", 1, 10, 1)]);
        view.apply(&[Change::NodeGone { id: NodeId(1), incarnation: Incarnation(1) }]);
        assert_eq!(names(&view, "a"), [1]);
        view.apply(&[Change::NodeGone { id: NodeId(1), incarnation: Incarnation(2) }]);
        assert!(view.is_sound());
        assert!(view.nodes.is_empty() && view.receivers.is_empty() && view.by_node.is_empty());
    }
}
