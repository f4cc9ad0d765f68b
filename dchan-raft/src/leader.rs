//! What the leader does besides leading: it answers for the list, takes silent nodes off it, and
//! gives a wiped founder's vote to its successor.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use dchan_core::{Addr, Change, NodeEntry, NodeId, View};
use openraft::{BasicNode, ChangeMembers, Instant as _, async_runtime::watch::WatchReceiver};
use tokio::time::{Instant, timeout};

use crate::{
    rpc::{Answer, Ask, Leased, Life},
    shared::Shared,
    stranded::Stranded,
    types::{Command, Metrics, Raft},
};

/// How far behind a node may be that gets a vote, in entries.
const NEARLY: u64 = 64;

/// Answers a question that is for the leader.
pub(crate) async fn answer(shared: &Shared, from: NodeId, question: Ask) -> Answer {
    let Some(raft) = shared.running().filter(|raft| raft.is_leader()) else {
        return Answer::NotLeader(shared.leader());
    };
    match question {
        Ask::Forward(command) => forward(shared, raft, from, command).await,
        Ask::Join { addr } => join(shared, raft, from, addr).await,
        Ask::Lease(_) => {
            shared.room.leases.lock().heard(from, Instant::now());
            if !has_majority(shared, raft) {
                // Whoever asks should go on asking here: nobody else leads, as far as is known.
                return Answer::Later;
            }
            Answer::Lease(leased(shared, raft, from))
        }
        Ask::Leave => leave(shared, raft, from).await,
        _ => Answer::Refused("not a question for the leader".into()),
    }
}

async fn forward(shared: &Shared, raft: &Raft, from: NodeId, command: Command) -> Answer {
    if command.origin.node != from || command.changes.len() > shared.config.limits.entry {
        shared.telemetry().malformed("command", &"it is another node's, or too large");
        return Answer::Refused("a command of another node, or one that is too large".into());
    }
    if let Err(error) = command.changes() {
        shared.telemetry().malformed("command", &error);
        return Answer::Refused("changes that cannot be decoded".into());
    }
    match timeout(shared.config.times.request, raft.client_write(command)).await {
        Ok(Ok(done)) => Answer::Done(done.data),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a command was not logged");
            Answer::NotLeader(shared.leader().filter(|(id, _)| *id != shared.me.id))
        }
        // It may still be committed. A repeat is recognised.
        Err(_) => Answer::Later,
    }
}

async fn join(shared: &Shared, raft: &Raft, from: NodeId, addr: Addr) -> Answer {
    let known = address_in_raft(raft, from);
    if known.as_deref() == Some(addr.as_str()) {
        return Answer::Agreed;
    }
    tracing::info!(peer = %from, %addr, "a node joins");
    let nodes = [(from.0, BasicNode::new(&addr))].into();
    let change = match known {
        Some(_) => ChangeMembers::SetNodes(nodes),
        None => ChangeMembers::AddNodes(nodes),
    };
    change_members(shared, raft, change).await
}

async fn leave(shared: &Shared, raft: &Raft, from: NodeId) -> Answer {
    let learner = raft.learner_ids().any(|id| id == from.0);
    if !learner {
        return Answer::Agreed;
    }
    change_members(shared, raft, ChangeMembers::RemoveNodes([from.0].into())).await
}

async fn change_members(
    shared: &Shared,
    raft: &Raft,
    change: ChangeMembers<u64, BasicNode>,
) -> Answer {
    match timeout(shared.config.times.request, raft.change_membership(change, true)).await {
        Ok(Ok(_)) => Answer::Agreed,
        // One such change at a time: the next attempt comes soon.
        Ok(Err(error)) => {
            tracing::debug!(%error, "the members are not changed yet");
            Answer::Later
        }
        Err(_) => Answer::Later,
    }
}

/// Whether a majority has followed lately. A leader that is cut off does not know that it leads no more.
fn has_majority(shared: &Shared, raft: &Raft) -> bool {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let alone = metrics.membership_config.voter_ids().nth(1).is_none();
    let patience = shared.config.times.election_max * 2;
    alone || metrics.last_quorum_acked.is_some_and(|last| last.elapsed() <= patience)
}

fn leased(shared: &Shared, raft: &Raft, from: NodeId) -> Leased {
    let view = shared.view();
    let listed = view.nodes.get(&from);
    Leased {
        version: view.version,
        listed: listed.map(|node| Life { boot: node.boot, incarnation: node.incarnation }),
        replicated: address_in_raft(raft, from),
    }
}

fn address_in_raft(raft: &Raft, id: NodeId) -> Option<String> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    Some(metrics.membership_config.membership().get_node(&id.0)?.addr.clone())
}

/// Looks after the nodes while this node leads.
pub(crate) async fn run(shared: Arc<Shared>) {
    let limit = shared.config.times.removal_after;
    let pause = (limit / 10).clamp(Duration::from_millis(10), Duration::from_millis(500));
    let raft = shared.raft.wait().await;
    let mut stranded = Stranded::new();
    loop {
        shared.timers.sleep(pause).await;
        if !raft.is_leader() {
            stranded.led();
            continue;
        }
        let metrics = raft.metrics().borrow_watched().clone();
        match metrics.last_quorum_acked {
            Some(last) if last.elapsed() > limit => stranded.unled(&shared).await,
            _ => stranded.led(),
        }
        remove_silent(&shared, raft, &metrics).await;
        promote(&shared, raft, &metrics).await;
    }
}

async fn remove_silent(shared: &Arc<Shared>, raft: &Raft, metrics: &Metrics) {
    let (view, now) = (shared.view(), Instant::now());
    let members = metrics.membership_config.membership();
    let replicated = members.nodes().map(|(id, _)| NodeId(*id));
    let tracked: BTreeSet<NodeId> = view.nodes.keys().copied().chain(replicated).collect();
    let mut silent = {
        let mut leases = shared.room.leases.lock();
        leases.heard(shared.me.id, now);
        leases.silent(metrics.current_term, tracked, now, shared.config.times.removal_after)
    };
    silent.extend(replaced(shared, &view, members.voter_ids()).await);
    if !take_off(shared, &view, &silent).await {
        return;
    }
    let learners: BTreeSet<u64> = members.learner_ids().collect();
    let dropped: BTreeSet<u64> =
        silent.iter().map(|id| id.0).filter(|id| learners.contains(id)).collect();
    if !dropped.is_empty() {
        change_members(shared, raft, ChangeMembers::RemoveNodes(dropped)).await;
    }
}

async fn take_off(shared: &Shared, view: &View, silent: &[NodeId]) -> bool {
    let gone = silent.iter().filter_map(|id| Some((*id, view.nodes.get(id)?)));
    let gone: Vec<(NodeId, &NodeEntry)> = gone.collect();
    if gone.is_empty() {
        return true;
    }
    let change = |(id, node): &(NodeId, &NodeEntry)| Change::NodeGone {
        id: *id,
        incarnation: node.incarnation,
    };
    // Until this node shows it too, or it would take them off again.
    let done = shared.apply(gone.iter().map(change).collect());
    if !matches!(timeout(shared.config.times.request, done).await, Ok(Ok(_))) {
        return false;
    }
    for (id, node) in gone {
        tracing::warn!(peer = %id, addr = %node.addr, "taken off the list: its lease ran out");
        shared.telemetry().removed();
    }
    true
}

/// Nodes that missed a lease, and at whose address another listed node answers: a node without a
/// directory that was restarted. There is no need to wait for the rest of the time.
///
/// Those with a vote stay until [`promote`] has moved it: who sees that the old id has gone may take the
/// next founder down.
async fn replaced(shared: &Shared, view: &View, voters: impl Iterator<Item = u64>) -> Vec<NodeId> {
    let voters: BTreeSet<NodeId> = voters.map(NodeId).collect();
    let mut at = HashMap::<&Addr, Vec<NodeId>>::new();
    for (id, node) in &view.nodes {
        at.entry(&node.addr).or_default().push(*id);
    }
    let (now, due) = (Instant::now(), shared.config.times.lease * 2);
    let mut replaced = Vec::new();
    for (addr, ids) in at.into_iter().filter(|(_, ids)| ids.len() > 1) {
        let late = |id: &NodeId| {
            shared.room.leases.lock().silence(*id, now).is_some_and(|silence| silence > due)
        };
        let (mut late, live): (Vec<_>, Vec<_>) = ids.into_iter().partition(late);
        let [live] = live[..] else { continue };
        late.retain(|id| !voters.contains(id));
        if !late.is_empty() && lives_at(shared, live, addr.as_str()).await {
            replaced.extend(late);
        }
    }
    replaced.sort();
    replaced
}

/// A learner at the address of a voter is a founder that lost its directory: it takes the vote over.
async fn promote(shared: &Arc<Shared>, raft: &Raft, metrics: &Metrics) {
    let members = metrics.membership_config.membership();
    let voters: BTreeSet<u64> = members.voter_ids().collect();
    let twin = members.learner_ids().find_map(|learner| {
        let addr = &members.get_node(&learner)?.addr;
        let old = voters.iter().find(|id| members.get_node(id).is_some_and(|n| n.addr == *addr))?;
        Some((learner, *old, addr.clone()))
    });
    let Some((new, old, addr)) = twin else { return };
    if !caught_up(metrics, new) || !lives_at(shared, NodeId(new), &addr).await {
        return;
    }
    let mut next = voters;
    next.remove(&old);
    next.insert(new);
    let change = raft.change_membership(ChangeMembers::ReplaceAllVoters(next), false);
    match timeout(shared.config.times.request, change).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::debug!(%error, "the vote has not moved yet");
            return;
        }
        // It may have: the next round sees.
        Err(_) => return,
    }
    tracing::warn!(new = %NodeId(new), old = %NodeId(old), %addr, "a founder lost its directory: its vote goes to the new node there");
    let incarnation = shared.view().nodes.get(&NodeId(old)).map(|node| node.incarnation);
    if let Some(incarnation) = incarnation {
        let gone = vec![Change::NodeGone { id: NodeId(old), incarnation }];
        // If it fails, then the lease of the old node runs out.
        let _ = timeout(shared.config.times.request, shared.propose(gone)).await;
    }
}

fn caught_up(metrics: &Metrics, id: u64) -> bool {
    let matched = metrics.replication.as_ref().and_then(|all| all.get(&id).copied().flatten());
    matched.is_some_and(|at| at.index + NEARLY >= metrics.last_log_index.unwrap_or(0))
}

/// Whether the node itself answers there: then the old one does not.
async fn lives_at(shared: &Shared, id: NodeId, addr: &str) -> bool {
    let Ok(addr) = addr.parse::<Addr>() else { return false };
    let found = shared.peers.requests.identify(&addr, shared.config.times.request).await;
    found.is_ok_and(|info| info.id == id)
}
