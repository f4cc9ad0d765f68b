//! One node's store: what was acknowledged is there after the power was lost, at any step.

use std::{io, sync::Arc};

use dchan_core::{ClusterId, NodeId};
use openraft::{
    RaftLogReader,
    entry::RaftEntry,
    storage::{RaftLogStorage, RaftLogStorageExt},
    vote::RaftLeaderId,
};

use super::{disk::Disk, rounds};
use crate::{
    DataDir, DataDirError, Writes,
    store::{Belonging, Store},
    types::{Entry, Founding, LogId, Vote},
};

/// What a store should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    vote: Option<Vote>,
    purged: Option<LogId>,
    log: Vec<Entry>,
    belonging: Belonging,
}

#[derive(Debug)]
enum Step {
    Vote(Vote),
    Append(Vec<Entry>),
    Truncate(Option<LogId>),
    Purge(LogId),
    Found(Founding),
    Committed(Option<LogId>),
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.log.last().map(|entry| entry.log_id).or(self.purged)
    }

    fn draw(&self, rng: &mut fastrand::Rng) -> Step {
        let term = self.vote.map_or(0, |vote| vote.leader_id.term);
        let next = self.last().map_or(0, |last| last.index + 1);
        let some = |rng: &mut fastrand::Rng| {
            let at = rng.usize(0..self.log.len().max(1));
            self.log.get(at).map(|entry| entry.log_id)
        };
        match rng.u8(0..10) {
            0 | 1 => Step::Vote(Vote::new(term + 1, rng.u64(1..4))),
            2 => Step::Truncate(some(rng).or(self.purged)),
            3 => some(rng).map_or(Step::Committed(self.last()), Step::Purge),
            4 => Step::Found(Founding {
                cluster: ClusterId(rng.u128(1..)),
                founders: [("127.0.0.1:1".parse().unwrap(), NodeId(1))].into(),
            }),
            5 => Step::Committed(self.last()),
            _ => {
                let id = |index| LogId::new(Vote::new(term, 1).leader_id.to_committed(), index);
                let entries = (next..next + rng.u64(1..20)).map(|at| Entry::new_blank(id(at)));
                Step::Append(entries.collect())
            }
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Vote(vote) => self.vote = Some(*vote),
            Step::Append(entries) => self.log.extend(entries.iter().cloned()),
            Step::Truncate(last) => self.log.retain(|entry| Some(entry.log_id) <= *last),
            Step::Purge(upto) => {
                self.purged = Some(*upto);
                self.log.retain(|entry| entry.log_id > *upto);
            }
            Step::Found(founding) if self.belonging.cluster.is_none() => {
                let cluster = Some(founding.cluster);
                self.belonging = Belonging { cluster, founding: Some(founding.clone()) };
            }
            Step::Found(_) | Step::Committed(_) => {}
        }
    }

    async fn of(store: &mut Store) -> Self {
        let purged = store.get_log_state().await.unwrap().last_purged_log_id;
        Self {
            vote: store.read_vote().await.unwrap(),
            purged,
            log: store.try_get_log_entries(..).await.unwrap(),
            belonging: store.belonging(),
        }
    }
}

async fn perform(store: &mut Store, step: &Step) -> io::Result<()> {
    match step {
        Step::Vote(vote) => store.save_vote(vote).await,
        Step::Append(entries) => {
            store.blocking_append(entries.clone()).await.map_err(io::Error::other)
        }
        Step::Truncate(last) => store.truncate_after(*last).await,
        Step::Purge(upto) => store.purge(*upto).await,
        Step::Found(founding) => store.accept(founding.clone()).await.map(drop),
        Step::Committed(upto) => store.save_committed(*upto).await,
    }
}

fn open(dir: DataDir, disk: &Disk) -> Result<Store, DataDirError> {
    Store::open(Arc::new(dir), Writes::Inline, disk.attach())
}

/// Works until the disk fails, and returns what the store holds if the last step was not made, and if
/// it was.
async fn work(store: &mut Store, mut model: Model, rng: &mut fastrand::Rng) -> [Model; 2] {
    for _ in 0..200 {
        let step = model.draw(rng);
        let mut next = model.clone();
        next.apply(&step);
        // What cannot be written is not acknowledged, whatever comes after it.
        if perform(store, &step).await.is_err() {
            assert!(perform(store, &Step::Vote(Vote::new(99, 1))).await.is_err());
            return [model, next];
        }
        model = next;
    }
    [model.clone(), model]
}

/// A snapshot that holds whatever is purged: what is tested here is the log.
async fn one_life_after_another(seed: u64, lies: bool) -> Result<(), DataDirError> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let mut model = Model::default();
    for life in 0..8 {
        let mut store = open(DataDir::open(dir.path()).unwrap(), &disk)?;
        assert_eq!(Model::of(&mut store).await, model, "seed {seed}, life {life}");
        if lies {
            disk.lie();
        }
        let how = *rng.choice(&[io::ErrorKind::StorageFull, io::ErrorKind::Other]).unwrap();
        disk.fail_after(rng.u64(0..150), how);
        let [before, after] = work(&mut store, model, &mut rng).await;
        store.files().save(snapshot_up_to(after.purged), bytes::Bytes::new()).await.unwrap();
        if rng.bool() {
            disk.lose_power(&mut rng);
            drop(store);
        } else {
            drop(store);
            disk.mend();
        }
        let mut store = open(DataDir::open(dir.path()).unwrap(), &disk)?;
        model = Model::of(&mut store).await;
        assert!(
            model == before || model == after,
            "seed {seed}, life {life}: {model:#?} {before:#?}"
        );
    }
    Ok(())
}

fn snapshot_up_to(last: Option<LogId>) -> crate::types::SnapshotMeta {
    crate::types::SnapshotMeta { last_log_id: last, ..Default::default() }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_power_was_lost() {
    for seed in 0..rounds(12) {
        one_life_after_another(seed, false).await.unwrap();
    }
}

/// The other test would be worth nothing if it passed on a disk that does not flush.
#[tokio::test]
async fn a_disk_that_only_says_that_it_has_flushed_is_found_out() {
    let (mut found, mut seed) = (0, 0);
    // Now and then no power is lost after it has lied.
    while found < 8 {
        assert!(seed < 20, "found out in {found} of {seed} runs");
        match one_life_after_another(seed, true).await {
            Err(DataDirError::Damaged { .. }) => found += 1,
            Err(error) => panic!("{error}"),
            Ok(()) => {}
        }
        seed += 1;
    }
}

/// An answer is given only once it is on disk, even while somebody else's acceptance is being written.
#[tokio::test]
async fn two_foundings_at_once_are_answered_alike() {
    let disk = Disk::default();
    let dir = Arc::new(DataDir::temporary().unwrap());
    let store = Store::open(dir, Writes::Thread, disk.attach()).unwrap();
    disk.fail_after(0, io::ErrorKind::StorageFull);
    let founding = |id| Founding { cluster: ClusterId(id), founders: Default::default() };
    let (one, two) = tokio::join!(store.accept(founding(1)), store.accept(founding(2)));
    assert!(one.is_err() && two.is_err(), "{one:?} {two:?}");
    assert_eq!(store.belonging(), Belonging::default());
}
