use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::{
    MemoryNetwork, Node, NodeEntry, Receiver, StaticMembership, node::tests::node as start,
};

fn name() -> Namespace {
    Namespace::new("n").unwrap()
}

/// Waits until the list has just these receivers.
async fn lists(node: &Node, receivers: &[&Receiver<u64>]) {
    let expected: BTreeSet<_> = receivers.iter().map(|receiver| (name(), receiver.id())).collect();
    let mut view = node.view();
    let is_so = |view: &Arc<View>| view.receivers.keys().eq(expected.iter());
    let found = tokio::time::timeout(Duration::from_secs(10), view.wait_for(is_so)).await;
    assert!(found.is_ok(), "{:?} instead of {expected:?}", node.view().borrow().receivers);
}

#[tokio::test(start_paused = true)]
async fn the_list_is_mended_whatever_was_changed_in_it() {
    let list = StaticMembership::new();
    let node = start(&MemoryNetwork::new(1), &list, "a:1").await;
    let (kept, closed) = (node.receiver("n").await.unwrap(), node.receiver("n").await.unwrap());
    lists(&node, &[&kept, &closed]).await;
    let (me, gone) = (node.id(), closed.id());
    drop(closed);
    lists(&node, &[&kept]).await;

    // One that is open was taken off.
    list.change(&[Change::ReceiverGone { namespace: name(), id: kept.id() }]);
    lists(&node, &[]).await;
    lists(&node, &[&kept]).await;
    // One that is closed was put on.
    list.change(&[Change::Receiver { namespace: name(), id: gone, node: me }]);
    assert_eq!(node.view().borrow().receivers.len(), 2);
    lists(&node, &[&kept]).await;
    // The node was taken off, and put on again.
    let entry: NodeEntry = node.view().borrow().nodes[&me].clone();
    list.change(&[Change::NodeGone { id: me, incarnation: entry.incarnation }]);
    while node.inner().seen.lock().nodes.contains_key(&me) {
        tokio::task::yield_now().await;
    }
    list.change(&[Change::Node { id: me, entry }]);
    lists(&node, &[&kept]).await;

    drop(kept);
    lists(&node, &[]).await;
    node.shutdown().await.unwrap();
}
