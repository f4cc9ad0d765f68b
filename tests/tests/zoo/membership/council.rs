use std::{collections::BTreeSet, sync::Arc};

use dchan_core::{Change, ClusterId, Namespace, NodeId, ReceiverId, Version, View};
use tokio::sync::watch;

use super::beast::Beast;

/// A list that is kept in one place, which a node reaches unless it is cut off.
#[derive(Debug)]
pub(crate) struct Council {
    beast: Beast,
    list: watch::Sender<Arc<View>>,
    cut: watch::Sender<BTreeSet<usize>>,
}

impl Council {
    pub(crate) fn new(beast: Beast) -> Arc<Self> {
        let list = Arc::new(View::of_cluster(ClusterId(1)));
        Arc::new(Self { beast, list: watch::Sender::new(list), cut: watch::Sender::default() })
    }

    pub(crate) fn cut_off(&self, place: usize, is_cut: bool) {
        self.cut.send_modify(|cut| {
            if is_cut {
                cut.insert(place)
            } else {
                cut.remove(&place)
            };
        });
    }

    pub(crate) fn is_cut(&self, place: usize) -> bool {
        self.cut.borrow().contains(&place)
    }

    /// Waits until that node is not cut off.
    pub(crate) async fn reached(&self, place: usize) {
        let mut cut = self.cut.subscribe();
        cut.wait_for(|cut| !cut.contains(&place)).await.expect("the council is there");
    }

    pub(crate) fn list(&self) -> watch::Receiver<Arc<View>> {
        self.list.subscribe()
    }

    /// Makes changes, perhaps not as they are meant.
    pub(crate) fn change(&self, changes: &[Change]) -> Version {
        let mut version = Version::default();
        self.list.send_modify(|list| {
            let list = Arc::make_mut(list);
            let before = list.clone();
            let changes: Vec<_> =
                changes.iter().map(|change| self.mistaken(list, change)).collect();
            list.apply(&changes);
            self.spoil(&before, list, &changes);
            version = list.version;
        });
        version
    }

    /// Takes one change for another.
    fn mistaken(&self, list: &View, change: &Change) -> Change {
        let mut change = change.clone();
        match &mut change {
            Change::Node { id, entry } if self.beast == Beast::ForgetsIncarnations => {
                let known = list.nodes.get(id).map(|known| known.incarnation);
                entry.incarnation = entry.incarnation.max(known.unwrap_or_default());
            }
            Change::NodeGone { incarnation, .. } if self.beast == Beast::ForgetsWhoIsMeant => {
                incarnation.0 = u64::MAX;
            }
            _ => {}
        }
        change
    }

    /// Leaves on the list what should not be there.
    fn spoil(&self, before: &View, list: &mut View, changes: &[Change]) {
        let stays = |((_, id), node): &(&(Namespace, ReceiverId), &NodeId)| {
            let there = list.nodes.contains_key(*node);
            match self.beast {
                Beast::KeepsOldBoots => there && !changes.iter().any(|change| goes(change, id)),
                Beast::KeepsReceiversOfTheGone => !there,
                _ => false,
            }
        };
        let kept: Vec<_> = before.receivers.iter().filter(stays).collect();
        list.receivers.extend(kept.into_iter().map(|(key, node)| (key.clone(), *node)));
        for change in changes {
            if let Change::Receiver { namespace, id, node } = change
                && self.beast == Beast::TakesStrays
            {
                list.receivers.insert((namespace.clone(), *id), *node);
            }
        }
    }
}

fn goes(change: &Change, receiver: &ReceiverId) -> bool {
    matches!(change, Change::ReceiverGone { id, .. } if id == receiver)
}
