//! Whether what another node says of Raft can be said at all. Raft itself takes it for granted, and stops
//! if it is not so.

use dchan_core::NodeId;
use openraft::{
    EntryPayload,
    raft::{AppendEntriesRequest, AppendEntriesResponse},
};

use crate::{
    rpc::{Answer, Ask, Chunk},
    types::{Entry, LogId, StoredMembership, Types, Vote},
};

/// No term and no log is as high as this: so there is always a next one.
const HIGHEST: u64 = 1 << 62;

type Checked = Result<(), &'static str>;

/// Whether that node can ask that.
pub(crate) fn question(from: NodeId, question: &Ask) -> Checked {
    match question {
        Ask::Append(rpc) => append(from, rpc),
        Ask::Vote(rpc) | Ask::PreVote(rpc) => {
            vote(&rpc.vote, Some(from), false)?;
            log_id(rpc.last_log_id.as_ref(), rpc.vote.leader_id.term)
        }
        Ask::Snapshot(chunk) => snapshot(from, chunk),
        Ask::TransferLeader(rpc) => {
            vote(rpc.from_leader(), Some(from), true)?;
            log_id(rpc.last_log_id(), rpc.from_leader().leader_id.term)
        }
        _ => Ok(()),
    }
}

/// Whether somebody can answer that.
pub(crate) fn answer(answer: &Answer) -> Checked {
    match answer {
        Answer::Append(AppendEntriesResponse::HigherVote(found)) => any_vote(found),
        Answer::Append(AppendEntriesResponse::PartialSuccess(last)) => {
            log_id(last.as_ref(), HIGHEST)
        }
        Answer::Vote(answer) => {
            any_vote(&answer.vote)?;
            log_id(answer.last_log_id.as_ref(), HIGHEST)
        }
        Answer::Installed(answer) => any_vote(&answer.vote),
        _ => Ok(()),
    }
}

fn append(from: NodeId, rpc: &AppendEntriesRequest<Types>) -> Checked {
    vote(&rpc.vote, Some(from), true)?;
    let term = rpc.vote.leader_id.term;
    log_id(rpc.prev_log_id.as_ref(), term)?;
    log_id(rpc.leader_commit.as_ref(), term)?;
    let mut last = rpc.prev_log_id;
    for entry in &rpc.entries {
        follows(last.as_ref(), entry)?;
        log_id(Some(&entry.log_id), term)?;
        if let EntryPayload::Membership(found) = &entry.payload {
            membership(&StoredMembership::new(Some(entry.log_id), found.clone()))?;
        }
        last = Some(entry.log_id);
    }
    Ok(())
}

fn follows(last: Option<&LogId>, entry: &Entry) -> Checked {
    let due = last.map_or(0, |last| last.index + 1);
    if entry.log_id.index != due {
        return Err("an entry that does not follow the last one");
    }
    let fell = last.is_some_and(|last| entry.log_id.leader_id.term < last.leader_id.term);
    if fell { Err("an entry of an older term than the last one") } else { Ok(()) }
}

fn snapshot(from: NodeId, chunk: &Chunk) -> Checked {
    vote(&chunk.vote, Some(from), true)?;
    if chunk.meta.last_log_id.is_none() {
        return Err("a snapshot of nothing");
    }
    log_id(chunk.meta.last_log_id.as_ref(), chunk.vote.leader_id.term)?;
    log_id(chunk.meta.last_membership.log_id().as_ref(), chunk.vote.leader_id.term)?;
    membership(&chunk.meta.last_membership)
}

/// Nobody speaks for another node: `of`, if it is known who must have it.
fn vote(vote: &Vote, of: Option<NodeId>, committed: bool) -> Checked {
    any_vote(vote)?;
    if of.is_some_and(|of| of.0 != vote.leader_id.voted_for) {
        return Err("the vote of another node");
    }
    if vote.committed != committed { Err("a vote of the wrong kind") } else { Ok(()) }
}

fn any_vote(vote: &Vote) -> Checked {
    if vote.leader_id.term >= HIGHEST { Err("a term that cannot be") } else { Ok(()) }
}

/// Nobody has what was logged in a later term than its own.
fn log_id(id: Option<&LogId>, term: u64) -> Checked {
    let Some(id) = id else { return Ok(()) };
    if id.index >= HIGHEST {
        return Err("the number of an entry that cannot be");
    }
    if id.leader_id.term > term { Err("an entry of a later term") } else { Ok(()) }
}

/// There are voters, and it is known where they are.
fn membership(found: &StoredMembership) -> Checked {
    let (found, configs) = (found.membership(), found.get_joint_config());
    if configs.is_empty() || configs.iter().any(|config| config.is_empty()) {
        return Err("a membership without voters");
    }
    let known = |id: &u64| found.get_node(id).is_some();
    if configs.iter().flatten().all(known) { Ok(()) } else { Err("a voter that is nowhere") }
}

#[cfg(test)]
mod tests {
    use openraft::{raft::VoteRequest, vote::leader_id_std::CommittedLeaderId};

    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId { leader_id: CommittedLeaderId { term }, index }
    }

    fn leader(term: u64, node: u64) -> Vote {
        Vote::new_committed(term, node)
    }

    fn blank(log_id: LogId) -> Entry {
        Entry { log_id, payload: EntryPayload::Blank }
    }

    fn append(vote: Vote, prev: Option<LogId>, entries: Vec<Entry>) -> Ask {
        let leader_commit = prev;
        Ask::Append(AppendEntriesRequest { vote, prev_log_id: prev, entries, leader_commit })
    }

    #[test]
    fn what_a_leader_says_is_sound() {
        let node = NodeId(1);
        let entries = vec![blank(id(1, 4)), blank(id(2, 5)), blank(id(2, 6))];
        assert_eq!(question(node, &append(leader(2, 1), Some(id(1, 3)), entries)), Ok(()));
        assert_eq!(question(node, &append(leader(0, 1), None, vec![blank(id(0, 0))])), Ok(()));
        let rpc = VoteRequest::new(Vote::new(3, 1), Some(id(2, 6)));
        assert_eq!(question(node, &Ask::Vote(rpc)), Ok(()));
    }

    #[test]
    fn what_no_leader_can_say_is_refused() {
        let (node, prev) = (NodeId(1), Some(id(1, 3)));
        let one = |log_id| vec![blank(log_id)];
        let nobody = StoredMembership::default().membership().clone();
        let no_voters = Entry { log_id: id(1, 4), payload: EntryPayload::Membership(nobody) };
        let cases = [
            (append(leader(2, 9), prev, vec![]), "the vote of another node"),
            (append(Vote::new(2, 1), prev, vec![]), "a vote of the wrong kind"),
            (append(leader(u64::MAX, 1), prev, vec![]), "a term that cannot be"),
            (
                append(leader(2, 1), prev, one(id(2, 5))),
                "an entry that does not follow the last one",
            ),
            (
                append(leader(2, 1), None, one(id(2, 1))),
                "an entry that does not follow the last one",
            ),
            (
                append(leader(2, 1), prev, one(id(0, 4))),
                "an entry of an older term than the last one",
            ),
            (append(leader(2, 1), prev, one(id(3, 4))), "an entry of a later term"),
            (append(leader(0, 1), prev, vec![]), "an entry of a later term"),
            (
                append(leader(2, 1), Some(id(1, u64::MAX)), vec![]),
                "the number of an entry that cannot be",
            ),
            (append(leader(2, 1), prev, vec![no_voters]), "a membership without voters"),
            (Ask::Vote(VoteRequest::new(leader(2, 1), None)), "a vote of the wrong kind"),
        ];
        for (asked, why) in cases {
            assert_eq!(question(node, &asked), Err(why), "{asked:?}");
        }
        let forged = AppendEntriesResponse::HigherVote(Vote::new(u64::MAX, 2));
        assert_eq!(answer(&Answer::Append(forged)), Err("a term that cannot be"));
    }
}
