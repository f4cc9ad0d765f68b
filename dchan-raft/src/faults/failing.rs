//! Nodes whose disk fails while they run.

use std::{io, time::Duration};

use dchan_core::{Membership, MembershipError};

use super::cluster::Founders;
use crate::net::{leader, receivers};

async fn a_disk_fails(of_leader: bool, how: io::ErrorKind) {
    let mut founders = Founders::start().await;
    let witness = founders.learner().await;
    let led = leader(&founders.nodes, None).await;
    let at = if of_leader { led } else { (led + 1) % 3 };
    let id = founders.nodes[at].id();
    founders.nodes[at].raft.apply(vec![founders.nodes[at].receiver(1)]).await.unwrap();
    assert_eq!(founders.nodes[at].raft.status().fault, None);
    founders.disks[at].fail_after(3, how);
    // The others decide on without it.
    for counter in 0..20 {
        witness.raft.apply(vec![witness.receiver(counter)]).await.unwrap();
    }
    let failed = &founders.nodes[at];
    let refused = failed.raft.apply(vec![failed.receiver(2)]).await;
    assert!(matches!(refused, Err(MembershipError::Storage(_))), "{refused:?}");
    let fault = failed.raft.status().fault.unwrap();
    assert!(fault.contains("until it is restarted"), "{fault}");
    assert!(failed.view().leader.is_none());
    // It has no vote: with one of the others down, nothing is decided.
    let other = (0..3).find(|other| *other != at && *other != led).unwrap();
    founders.kill(other);
    let stuck = witness.raft.apply(vec![witness.receiver(100)]);
    assert!(tokio::time::timeout(Duration::from_secs(8), stuck).await.is_err());
    founders.start_again(other).await;
    // Nor does it go off the list: its channels flow on.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let view = witness.view();
    assert!(view.nodes.contains_key(&id));
    assert_eq!(receivers(&view), 21 + 1, "its own, and those of the witness");
    // It recovers when it is restarted with a disk that works, and knows all that it acknowledged.
    founders.disks[at].mend();
    founders.kill(at);
    founders.start_again(at).await;
    let back = &founders.nodes[at];
    back.raft.apply(vec![back.receiver(3)]).await.unwrap();
    assert_eq!(back.raft.status().fault, None);
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_disk_is_full_does_not_vote_and_stays_on_the_list() {
    a_disk_fails(false, io::ErrorKind::StorageFull).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_disk_fails_is_replaced_and_stays_on_the_list() {
    a_disk_fails(true, io::ErrorKind::Other).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_with_a_failed_disk_leaves_in_good_order() {
    let founders = Founders::start().await;
    founders.disks[0].fail_after(0, io::ErrorKind::StorageFull);
    let failed = &founders.nodes[0];
    let id = failed.id();
    assert!(failed.raft.apply(vec![failed.receiver(1)]).await.is_err());
    failed.raft.leave(Duration::from_secs(10)).await.unwrap();
    founders.nodes[1].sees("it gone", |view| !view.nodes.contains_key(&id)).await;
}
