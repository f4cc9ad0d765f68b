//! How a node without a past finds its cluster, or founds it.
//!
//! A founding needs every listed address to answer, and that it is empty. The node with the lowest
//! address proposes; each accepts at most one proposal, on disk. Whoever finds a node that belongs to
//! a cluster joins that one, or accepts what that node accepted if it is meant by it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dchan_core::{Addr, ClusterId, ErrorKind, MembershipError, NodeId, RequestError};
use futures::future::join_all;

use crate::{
    reminder::Reminder,
    rpc::{Answer, Ask, AskError, Status},
    shared::{Backoff, Shared},
    store::Belonging,
    types::Founding,
};

/// Whoever waits for longer should know why: founders are seldom started at the same moment.
const UNUSUAL: Duration = Duration::from_secs(3);

/// The longest pause before another look: whoever comes last should not have to wait for the others.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// How often to look whether a process with this node's identity runs elsewhere.
const LOOKS: u32 = 3;

/// Who was found at an address.
#[derive(Debug)]
struct Found {
    id: NodeId,
    status: Status,
}

type Looks = BTreeMap<Addr, Result<Found, String>>;

/// What follows from who was found.
#[derive(Debug, PartialEq)]
enum Verdict {
    Join(ClusterId),
    Accept(Founding),
    /// Of the founders with these ids.
    Propose(BTreeMap<Addr, NodeId>),
    Wait(String),
}

/// Makes sure that no other process is this node: with a copied directory, there would be two voters
/// with one vote. The other one is where this node was last.
pub(crate) async fn check_alone(shared: &Shared) -> Result<(), MembershipError> {
    let me = &shared.me;
    if let Some(last) = shared.store.last_addr().filter(|last| *last != me.addr)
        && lives_at(shared, &last).await
    {
        return Err(MembershipError::Refused(format!(
            "node {} runs at {last} already: was its data directory copied? Give each node an empty \
             directory of its own",
            me.id
        )));
    }
    shared.store.note_addr(&me.addr).await.map_err(storage)
}

/// Whether a process with this node's identity answers there. A connection that breaks proves nothing.
async fn lives_at(shared: &Shared, addr: &Addr) -> bool {
    for _ in 0..LOOKS {
        match shared.peers.requests.identify(addr, shared.config.times.request).await {
            Ok(there) => return there.id == shared.me.id,
            Err(RequestError::Unreachable { kind: ErrorKind::Broken, reason, .. }) => {
                tracing::debug!(%addr, reason, "who is there is not known yet");
            }
            Err(_) => return false,
        }
    }
    false
}

/// Finds out which cluster this node belongs to, and writes it down.
pub(crate) async fn belong(shared: &Arc<Shared>) -> Result<Belonging, MembershipError> {
    let mut backoff = Backoff::new(shared.config.times.backoff_max.min(LOOK_AGAIN));
    let mut reminder = Reminder::new(Duration::ZERO);
    loop {
        let known = shared.store.belonging();
        if known.cluster.is_some() {
            return Ok(known);
        }
        let looks = look_around(shared).await;
        let founders = &shared.config.founders;
        match judge(founders, &shared.me.addr, shared.me.id, &looks) {
            Verdict::Join(cluster) => {
                tracing::info!(%cluster, "joins a cluster");
                return shared.store.belong(cluster).await.map_err(storage);
            }
            Verdict::Accept(founding) => {
                return shared.store.accept(founding).await.map_err(storage);
            }
            Verdict::Propose(founders) => return propose(shared, founders).await,
            Verdict::Wait(reason) => match reminder.due() {
                None => {}
                Some(time) if time < UNUSUAL => tracing::info!(reason, "waits for the cluster"),
                Some(time) => tracing::warn!(reason, ?time, "waits for the cluster"),
            },
        }
        tokio::select! {
            paused = shared.pause(backoff.step(shared)) => paused?,
            () = shared.room.accepted.notified() => {}
        }
    }
}

async fn propose(
    shared: &Shared,
    founders: BTreeMap<Addr, NodeId>,
) -> Result<Belonging, MembershipError> {
    let cluster = {
        let mut chance = shared.room.chance.lock();
        // Not from the seed alone: two clusters must not be mistaken for each other.
        ClusterId(chance.u128(..) ^ u128::from(shared.me.boot.0) ^ u128::from(shared.me.id.0) << 64)
    };
    tracing::info!(%cluster, ?founders, "proposes to found a cluster");
    shared.store.accept(Founding { cluster, founders }).await.map_err(storage)
}

/// Tells the other founders what to accept, and returns when they did or did not answer in time.
/// Those that were not told see it when they look around.
pub(crate) async fn announce(shared: &Shared, founding: &Founding) {
    let others = founding.founders.iter().filter(|(_, id)| **id != shared.me.id);
    let told = others.map(|(addr, id)| async move {
        let question = Ask::Found(founding.clone());
        match shared.peers.ask(*id, addr, question, shared.config.times.request).await {
            Ok(Answer::Accepted(other)) if other == *founding => {}
            Ok(answer) => tracing::error!(%addr, ?answer, "accepted another founding"),
            Err(error) => tracing::info!(%addr, %error, "has not accepted the founding yet"),
        }
    });
    join_all(told).await;
}

async fn look_around(shared: &Shared) -> Looks {
    let others = shared.config.founders.iter().filter(|addr| **addr != shared.me.addr);
    let looks = others.map(|addr| async move {
        let found = look_at(shared, addr).await;
        (addr.clone(), found.map_err(|error| error.to_string()))
    });
    join_all(looks).await.into_iter().collect()
}

async fn look_at(shared: &Shared, addr: &Addr) -> Result<Found, AskError> {
    // One silent founder must not hold up for long what the others have to say.
    let within = shared.config.times.request / 2;
    let info = shared.peers.requests.identify(addr, within).await?;
    if info.id == shared.me.id {
        return Err(AskError::Refused("it leads to this node itself, or to a copy of it".into()));
    }
    match shared.peers.ask(info.id, addr, Ask::Status, within).await? {
        Answer::Status(status) => Ok(Found { id: info.id, status }),
        _ => Err(AskError::Unexpected),
    }
}

fn judge(founders: &[Addr], addr: &Addr, id: NodeId, looks: &Looks) -> Verdict {
    let members = looks.values().flatten().filter_map(|found| match &found.status {
        Status::Member { cluster, founding } => Some((*cluster, founding.as_ref())),
        Status::Empty { .. } => None,
    });
    let meant = |founding: &&Founding| founding.includes(id);
    if let Some(founding) = members.clone().filter_map(|(_, founding)| founding).find(meant) {
        return accept(founders, founding);
    }
    if let Some((cluster, _)) = members.clone().next() {
        return Verdict::Join(cluster);
    }
    if !founders.contains(addr) {
        return Verdict::Wait(format!("no founder is in a cluster yet: {}", reasons(looks)));
    }
    let mut ids = BTreeMap::from([(addr.clone(), id)]);
    for (other, look) in looks {
        match look {
            Ok(Found { id, status: Status::Empty { founders: theirs } }) if theirs == founders => {
                ids.insert(other.clone(), *id);
            }
            Ok(Found { status: Status::Empty { founders: theirs }, .. }) => {
                let reason = format!("{other} has other founders: {theirs:?}, not {founders:?}");
                return Verdict::Wait(reason);
            }
            _ => return Verdict::Wait(format!("founders are missing: {}", reasons(looks))),
        }
    }
    let distinct: std::collections::BTreeSet<_> = ids.values().collect();
    if distinct.len() < ids.len() {
        return Verdict::Wait("two of the founders' addresses lead to the same node".into());
    }
    match founders.iter().min() {
        Some(lowest) if lowest == addr => Verdict::Propose(ids),
        lowest => Verdict::Wait(format!("all founders are there: {lowest:?} proposes")),
    }
}

fn accept(founders: &[Addr], founding: &Founding) -> Verdict {
    if founders.iter().eq(founding.founders.keys()) {
        return Verdict::Accept(founding.clone());
    }
    let theirs: Vec<_> = founding.founders.keys().collect();
    Verdict::Wait(format!("the cluster was founded by {theirs:?}, not by {founders:?}"))
}

fn reasons(looks: &Looks) -> String {
    let missing = looks.iter().filter_map(|(addr, look)| match look {
        Ok(_) => None,
        Err(reason) => Some(format!("{addr} ({reason})")),
    });
    missing.collect::<Vec<_>>().join(", ")
}

pub(crate) fn storage(error: std::io::Error) -> MembershipError {
    MembershipError::Storage(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> Addr {
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    fn three() -> Vec<Addr> {
        vec![addr(1), addr(2), addr(3)]
    }

    fn empty(id: u64) -> Result<Found, String> {
        Ok(Found { id: NodeId(id), status: Status::Empty { founders: three() } })
    }

    fn member(id: u64, founding: Option<Founding>) -> Result<Found, String> {
        let cluster = ClusterId(9);
        Ok(Found { id: NodeId(id), status: Status::Member { cluster, founding } })
    }

    fn founding(ids: [u64; 3]) -> Founding {
        let founders = three().into_iter().zip(ids.map(NodeId)).collect();
        Founding { cluster: ClusterId(9), founders }
    }

    fn judged(at: u16, looks: [(u16, Result<Found, String>); 2]) -> Verdict {
        let looks = looks.into_iter().map(|(port, look)| (addr(port), look)).collect();
        judge(&three(), &addr(at), NodeId(at.into()), &looks)
    }

    #[test]
    fn only_the_lowest_proposes_and_only_if_all_are_empty() {
        let all = judged(1, [(2, empty(2)), (3, empty(3))]);
        assert_eq!(all, Verdict::Propose(founding([1, 2, 3]).founders));
        assert!(matches!(judged(2, [(1, empty(1)), (3, empty(3))]), Verdict::Wait(_)));
        let missing = judged(1, [(2, empty(2)), (3, Err("no".into()))]);
        assert!(matches!(missing, Verdict::Wait(_)));
        let same = judged(1, [(2, empty(2)), (3, empty(2))]);
        assert!(matches!(same, Verdict::Wait(_)), "two addresses of one node");
    }

    #[test]
    fn whoever_is_meant_accepts_and_whoever_is_not_joins() {
        let meant = founding([1, 2, 3]);
        let look = judged(3, [(1, member(1, Some(meant.clone()))), (2, empty(2))]);
        assert_eq!(look, Verdict::Accept(meant.clone()));
        let wiped = judge(
            &three(),
            &addr(3),
            NodeId(33),
            &[(addr(1), member(1, Some(meant))), (addr(2), Err("down".into()))].into(),
        );
        assert_eq!(wiped, Verdict::Join(ClusterId(9)));
        let learner = judged(3, [(1, member(1, None)), (2, Err("down".into()))]);
        assert_eq!(learner, Verdict::Join(ClusterId(9)));
    }
}
