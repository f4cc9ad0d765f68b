//! How a node goes.

use std::time::Duration;

use dchan_core::{Change, MembershipError, NodeId};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, timeout_at};

use crate::{
    rpc::{Answer, Ask},
    shared::{Backoff, Shared},
    types::{Metrics, Raft},
};

/// Takes this node off the list. Gives up after `within`.
pub(crate) async fn take_off(shared: &Shared, within: Duration) -> Result<(), MembershipError> {
    let Some(raft) = shared.raft.get() else { return Ok(()) };
    if shared.room.refused.borrow().is_some() {
        // The place on the list is another process's.
        return Ok(());
    }
    let deadline = Instant::now() + within;
    // The time is shared: without a quorum what comes first must not use it up. A leader that was not
    // reached meanwhile drops a learner that it misses by itself.
    let half = Instant::now() + within / 2;
    let first = async {
        hand_over(shared, raft).await;
        drop_learner(shared, raft).await;
    };
    let _ = timeout_at(half, first).await;
    // Last of all: who sees that this node is off the list may take the leader down.
    let incarnation = shared.life().incarnation;
    let gone = vec![Change::NodeGone { id: shared.me.id, incarnation }];
    let left = async { shared.propose(gone).await.map(drop) };
    timeout_at(deadline, left).await.unwrap_or_else(|_| {
        let reason = "no quorum in time to take this node off the list: its lease runs out instead";
        Err(MembershipError::Unknown(reason.into()))
    })
}

/// Lets another voter lead, if this node does.
async fn hand_over(shared: &Shared, raft: &Raft) {
    let mut metrics = raft.metrics();
    let mut backoff = Backoff::new(shared.config.times.election_min);
    loop {
        let now = metrics.borrow_watched().clone();
        if now.current_leader != Some(shared.me.id.0) {
            return;
        }
        let Some(to) = successor(shared, &now) else { return };
        tracing::info!(to = %NodeId(to), "hands leadership over");
        if raft.trigger().transfer_leader(to).await.is_err() {
            return;
        }
        let other = async {
            while metrics.borrow_watched().current_leader == Some(shared.me.id.0) {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        let patience = shared.config.times.election_max + backoff.step(shared);
        let _ = tokio::time::timeout(patience, other).await;
    }
}

/// The voter that is furthest, of those whose link is not known to be down.
fn successor(shared: &Shared, metrics: &Metrics) -> Option<u64> {
    let links = shared.links.borrow().clone();
    let down = |id| links.get(&NodeId(id)).is_some_and(|link| !link.alive);
    let replication = metrics.replication.as_ref()?;
    let voters = metrics.membership_config.voter_ids();
    let others = voters.filter(|id| *id != shared.me.id.0 && !down(*id));
    let matched = |id: &u64| replication.get(id).copied().flatten().map(|at| at.index);
    others.filter(|id| matched(id).is_some()).max_by_key(matched)
}

/// Asks until the leader replicates to this node no more, unless it votes.
async fn drop_learner(shared: &Shared, raft: &Raft) {
    if raft.voter_ids().any(|id| id == shared.me.id.0) {
        return;
    }
    let mut backoff = Backoff::new(shared.config.times.backoff_max);
    while !matches!(shared.ask_leader(Ask::Leave).await, Ok(Answer::Agreed)) {
        tokio::time::sleep(backoff.step(shared)).await;
    }
}
