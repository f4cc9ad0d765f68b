//! What reads bytes of others, as functions that take any bytes: for the fuzzers in `fuzz/` and for the
//! test that replays what they found; and what lets tests break a disk. No part of the interface.

use std::fmt::Debug;

use bytes::Bytes;
use dchan_core::{
    Addr, Boot, Change, ClusterId, Incarnation, Namespace, NodeEntry, NodeId, ReceiverId, Version,
    View, fuzzing::Input,
};
use openraft::{
    EntryPayload, Membership,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest,
        VoteResponse,
    },
    vote::leader_id_std::CommittedLeaderId,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    DataDir, NewError, RaftConfig, RaftMembership,
    rpc::{Answer, Ask, Chunk, Envelope, Leased, Life, Status},
    sound,
    store::{self, List, is_list},
    telemetry::Telemetry,
    transfer::{self, Taken},
    types::{
        Command, Entry, Founding, LogId, Origin, SnapshotMeta, StoredMembership, Vote, decode,
        encode,
    },
};

/// A membership whose log is read and written through `on`.
///
/// # Errors
///
/// Those of [`RaftMembership::new`].
pub fn on_disk<B: redb::StorageBackend>(
    dir: DataDir,
    config: RaftConfig,
    on: impl FnOnce(redb::backends::FileBackend) -> B,
) -> Result<RaftMembership, NewError> {
    let backend = on(store::backend(&dir)?);
    RaftMembership::on_backend(dir, config, backend)
}

const CLUSTER: ClusterId = ClusterId(1);

/// Any bytes as a question, an answer, or the pieces of a snapshot.
pub fn raft_payloads(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 4 {
        0 => question(input.rest()),
        1 => {
            if let Some(answer) = round_trip::<Answer>(input.rest()) {
                let _sound = sound::answer(&answer);
            }
        }
        2 => pieces(&mut input),
        _ => list(input.rest()),
    }
}

fn question(bytes: &[u8]) {
    let Some(Envelope { question, .. }) = round_trip::<Envelope>(bytes) else { return };
    let from = NodeId(1);
    if sound::question(from, &question).is_err() {
        return;
    }
    match question {
        Ask::Append(rpc) => {
            let first = rpc.prev_log_id.map_or(0, |prev| prev.index + 1);
            for (due, entry) in (first..).zip(&rpc.entries) {
                assert_eq!(entry.log_id.index, due);
            }
        }
        Ask::Forward(command) => drop(command.changes()),
        Ask::Found(founding) => {
            let Founding { founders, .. } = &founding;
            assert_eq!(founding.includes(from), founders.values().any(|id| *id == from));
            assert!(founding.members().len() <= founders.len());
        }
        Ask::Snapshot(chunk) => {
            drop(transfer::take(&mut None, from, chunk, 1 << 20, Instant::now()))
        }
        _ => {}
    }
}

/// What is decoded is what it is encoded as.
fn round_trip<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) -> Option<T> {
    let value = decode::<T>(bytes).ok()?;
    let again = encode(&value).expect("what was decoded");
    let same = decode::<T>(&again).expect("what was encoded");
    assert_eq!(format!("{value:?}"), format!("{same:?}"));
    Some(value)
}

/// Pieces of snapshots, of two nodes in turn: no more is held than may be, and what is whole is what was
/// sent.
fn pieces(input: &mut Input<'_>) {
    let limit = 1 << (4 + input.byte() % 12);
    let (mut slot, mut have) = (None, 0);
    let mut total = input.number() % (2 * limit as u64);
    while !input.is_empty() {
        let offset = input.near(have);
        if offset == 0 {
            total = input.near(total);
        }
        let len = input.near(total.saturating_sub(have).min(64)) % 512;
        let data = Bytes::from(vec![7; len as usize]);
        let from = NodeId(u64::from(input.byte() > 240));
        let meta = SnapshotMeta::default();
        let chunk = Chunk { vote: Vote::new(1, 1), meta, total, offset, data };
        match transfer::take(&mut slot, from, chunk, limit, Instant::now()) {
            Taken::More => have = offset + len,
            Taken::Complete(_, whole) => {
                assert_eq!(whole.snapshot.len() as u64, total);
                assert!(whole.snapshot.len() <= limit && slot.is_none());
                have = 0;
            }
            Taken::Wrong(_) => {}
        }
    }
}

/// A snapshot that is taken can be built on.
fn list(bytes: &[u8]) {
    if !is_list(bytes, Some(CLUSTER)) {
        return;
    }
    let mut list = round_trip::<List>(bytes).expect("a list");
    for id in list.view.nodes.keys().copied().collect::<Vec<_>>() {
        let gone = Change::NodeGone { id, incarnation: Incarnation(u64::MAX) };
        list.view.apply(&[gone]);
    }
    assert!(list.view.nodes.is_empty() && list.view.receivers.is_empty());
}

/// Any changes of the list, in any order: it stays one that makes sense, and each node that sees the
/// same changes has the same.
pub fn view_changes(data: &[u8]) {
    let mut input = Input::new(data);
    let mut lists = [List::default(), List::default()];
    for list in &mut lists {
        list.view = View::of_cluster(CLUSTER);
    }
    let mut number = 0;
    while !input.is_empty() {
        let changes: Vec<Change> =
            (0..1 + input.byte() % 4).map(|_| any_change(&mut input)).collect();
        let (node, raw) = (NodeId(u64::from(input.byte() % 4)), input.byte() > 240);
        number = input.near(number + 1) % (1 << 40);
        let before = lists[0].view.clone();
        if raw {
            let junk = Bytes::copy_from_slice(input.bytes(64));
            lists.iter_mut().for_each(|list| apply(list, junk.clone(), node, number));
        } else {
            lists.iter_mut().for_each(|list| change(list, &changes, node, number));
        }
        let [one, other] = &lists;
        assert_eq!(one.view, other.view);
        assert!(one.view.is_sound(), "{:?}", one.view);
        keeps_its_promises(&before, &one.view, if raw { &[] } else { &changes });
    }
    let snapshot = encode(&lists[0]).expect("a list");
    assert!(is_list(&snapshot, Some(CLUSTER)));
    assert_eq!(round_trip::<List>(&snapshot).expect("a list").view, lists[0].view);
}

fn change(list: &mut List, changes: &[Change], node: NodeId, number: u64) {
    apply(list, encode(&changes).expect("changes"), node, number);
}

fn apply(list: &mut List, changes: Bytes, node: NodeId, number: u64) {
    let origin = Origin { node, boot: Boot(1), session: 1, number };
    list.apply(&Command { origin, changes }, &Telemetry::default());
}

/// No life of a node follows a later one, and no change goes uncounted.
fn keeps_its_promises(before: &View, after: &View, changes: &[Change]) {
    assert!(after.version >= before.version);
    if after.version == before.version {
        assert_eq!(before, after);
    }
    let goes =
        |id| changes.iter().any(|c| matches!(c, Change::NodeGone { id: gone, .. } if *gone == id));
    for (id, entry) in &before.nodes {
        match after.nodes.get(id) {
            Some(now) => assert!(goes(*id) || now.incarnation >= entry.incarnation),
            None => assert!(goes(*id), "{id} is lost"),
        }
    }
}

/// Few nodes, boots and names, so that they meet.
fn any_change(input: &mut Input<'_>) -> Change {
    let kind = input.byte();
    let node = NodeId(u64::from(input.byte() % 4));
    let boot = Boot(u64::from(input.byte() % 6));
    let namespace = if input.flag() { "a" } else { "b" };
    let namespace = Namespace::new(namespace).expect("a name");
    let receiver = ReceiverId { boot, counter: u64::from(input.byte() % 3) };
    let incarnation = Incarnation(input.near(u64::from(kind >> 4)));
    match kind % 4 {
        0 => {
            let addr: Addr = "127.0.0.1:1".parse().expect("an address");
            let entry = NodeEntry { addr, boot, incarnation, tags: Default::default() };
            Change::Node { id: node, entry }
        }
        1 => Change::Receiver { namespace, id: receiver, node },
        2 => Change::ReceiverGone { namespace, id: receiver },
        _ => Change::NodeGone { id: node, incarnation },
    }
}

/// What honest nodes send, by the name of the target: for a corpus.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let vote = Vote::new_committed(3, 1);
    let id = |index| LogId { leader_id: CommittedLeaderId { term: 2 }, index };
    let addr: Addr = "127.0.0.1:7001".parse().expect("an address");
    let entry = NodeEntry {
        addr: addr.clone(),
        boot: Boot(1),
        incarnation: Incarnation(1),
        tags: [("rack".to_owned(), "a".to_owned())].into_iter().collect(),
    };
    let namespace = Namespace::new("orders").expect("a name");
    let receiver = ReceiverId { boot: Boot(1), counter: 1 };
    let changes = [
        Change::Node { id: NodeId(1), entry },
        Change::Receiver { namespace, id: receiver, node: NodeId(1) },
    ];
    let origin = Origin { node: NodeId(1), boot: Boot(1), session: 1, number: 1 };
    let command = Command::new(origin, &changes).expect("changes");
    let founders = [(addr.clone(), NodeId(1))].into_iter().collect();
    let founding = Founding { cluster: CLUSTER, founders };
    let member = Membership::from(founding.members());
    let meta = SnapshotMeta {
        last_log_id: Some(id(4)),
        last_membership: StoredMembership::new(Some(id(1)), member.clone()),
    };
    let mut list = List::default();
    list.view = View::of_cluster(CLUSTER);
    list.apply(&command, &Telemetry::default());
    let snapshot = encode(&list).expect("a list");
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(command.clone()),
        EntryPayload::Membership(member),
    ];
    let entries = (4..).zip(payloads).map(|(index, payload)| Entry { log_id: id(index), payload });
    let append = AppendEntriesRequest {
        vote,
        prev_log_id: Some(id(3)),
        entries: entries.collect(),
        leader_commit: Some(id(3)),
    };
    let chunk = Chunk { vote, meta, total: 900, offset: 0, data: snapshot.clone() };
    let life = Life { boot: Boot(1), incarnation: Incarnation(1) };
    let questions = [
        Ask::Status,
        Ask::Found(founding.clone()),
        Ask::Append(append),
        Ask::Vote(VoteRequest::new(Vote::new(4, 1), Some(id(4)))),
        Ask::Snapshot(chunk),
        Ask::TransferLeader(TransferLeaderRequest::new(vote, 2, Some(id(4)))),
        Ask::Forward(command),
        Ask::Join { addr: addr.clone() },
        Ask::Lease(life),
        Ask::Leave,
    ];
    let answers = [
        Answer::Status(Status::Empty { founders: vec![addr.clone()] }),
        Answer::Accepted(founding),
        Answer::Append(AppendEntriesResponse::PartialSuccess(Some(id(5)))),
        Answer::Vote(VoteResponse::new(vote, Some(id(4)), true)),
        Answer::Lease(Leased { version: Version(2), listed: Some(life), replicated: None }),
        Answer::NotLeader(Some((NodeId(1), addr))),
        Answer::Refused("no".into()),
    ];
    let after = |mode: u8, bytes: &[u8]| ("raft_payloads", [&[mode], bytes].concat());
    let question = |question| Envelope { cluster: Some(CLUSTER), question }.encode();
    let mut seeds: Vec<_> =
        questions.map(|asked| after(0, &question(asked).expect("a question"))).into();
    seeds.extend(answers.map(|answer| after(1, &encode(&answer).expect("an answer"))));
    seeds.push(after(2, &[6, 1, 40, 0, 0, 20, 0, 0, 20]));
    seeds.push(after(3, &snapshot));
    let node = [0, 0, 1, 0, 0, 0, 0, 0];
    let receives = [1, 0, 1, 0, 0, 0, 0, 0];
    let goes = [3, 0, 1, 0, 0, 0, 0, 0];
    for (count, parts) in [(1, [node, receives].concat()), (2, [node, receives, goes].concat())] {
        seeds.push(("view_changes", [&[count], &parts[..], &[0, 0, 0]].concat()));
    }
    seeds
}
