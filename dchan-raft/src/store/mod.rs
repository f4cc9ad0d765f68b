//! What a node has on disk: its vote, its log, how far that is committed, the cluster it belongs to.
//!
//! The log is in memory too, as compaction keeps it small: readers never wait for the disk.

mod log;
mod machine;
mod mark;
mod opening;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

use std::{collections::BTreeMap, io, sync::Arc};

use dchan_core::{Addr, ClusterId};
use parking_lot::Mutex;
use redb::{StorageBackend, TableDefinition};
use serde::Serialize;

use crate::{
    DataDir, DataDirError, Writes, seal,
    types::{Entry, Founding, LogId, Vote, encode},
};

#[cfg(feature = "fuzzing")]
pub(crate) use machine::List;
pub(crate) use machine::{Machine, is_list};
pub(crate) use mark::{FILE as MARK, empty as empty_mark};
pub(crate) use opening::backend;
pub(crate) use snapshot::Files;
use writer::{Op, Writer};

/// The name of the file in the data directory.
pub(crate) const FILE: &str = "raft.redb";

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Under this name in [`META`]: the number of the transaction, which the mark must not be ahead of.
const NUMBER: &str = "number";

/// What a node has on disk. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Held while this node writes down where it belongs: nobody hears of it before it is on disk.
    settling: tokio::sync::Mutex<()>,
    writer: Writer,
    // Last, so that the lock is let go when nothing is written any more.
    dir: Arc<DataDir>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the last transaction.
    number: u64,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    log: BTreeMap<u64, Logged>,
    bytes: usize,
    belonging: Belonging,
    addr: Option<Addr>,
}

#[derive(Debug)]
struct Logged {
    entry: Entry,
    len: usize,
}

/// Which cluster a node belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Belonging {
    pub(crate) cluster: Option<ClusterId>,
    /// What this node accepted when it founded the cluster. Never replaced.
    pub(crate) founding: Option<Founding>,
}

impl Store {
    /// Opens what is stored on that backend, which is the file of that directory outside of tests.
    ///
    /// # Errors
    ///
    /// Anything in it is not as it was written: see [`opening`].
    pub(crate) fn open(
        dir: Arc<DataDir>,
        writes: Writes,
        backend: impl StorageBackend,
    ) -> Result<Self, DataDirError> {
        let (database, state, mark) = opening::open(&dir, backend)?;
        let writer = Writer::new(database, mark, state.number, writes);
        let writer =
            writer.map_err(|source| DataDirError::Io { path: dir.path().into(), source })?;
        let (state, settling) = (Mutex::new(state), tokio::sync::Mutex::default());
        Ok(Self { inner: Arc::new(Inner { state, settling, writer, dir }) })
    }

    pub(crate) fn dir(&self) -> &Arc<DataDir> {
        &self.inner.dir
    }

    pub(crate) fn files(&self) -> Files {
        Files::new(self.inner.dir.clone(), self.inner.writer.writes())
    }

    pub(crate) fn belonging(&self) -> Belonging {
        self.inner.state.lock().belonging.clone()
    }

    /// How large the log is, in bytes.
    pub(crate) fn log_bytes(&self) -> usize {
        self.inner.state.lock().bytes
    }

    /// Where this node was when it was started last.
    pub(crate) fn last_addr(&self) -> Option<Addr> {
        self.inner.state.lock().addr.clone()
    }

    pub(crate) async fn note_addr(&self, addr: &Addr) -> io::Result<()> {
        if self.last_addr().as_ref() != Some(addr) {
            self.inner.writer.write(Op::Put(vec![("addr", encode_io(addr)?)])).await?;
            self.inner.state.lock().addr = Some(addr.clone());
        }
        Ok(())
    }

    /// Writes down which cluster this node belongs to. What it says already is not changed.
    pub(crate) async fn belong(&self, cluster: ClusterId) -> io::Result<Belonging> {
        self.settle(Belonging { cluster: Some(cluster), founding: None }).await
    }

    /// Accepts a founding, if nothing was accepted before. Returns what is accepted.
    pub(crate) async fn accept(&self, founding: Founding) -> io::Result<Belonging> {
        let cluster = Some(founding.cluster);
        self.settle(Belonging { cluster, founding: Some(founding) }).await
    }

    async fn settle(&self, wanted: Belonging) -> io::Result<Belonging> {
        let _settling = self.inner.settling.lock().await;
        let known = self.belonging();
        if known.cluster.is_some() {
            return Ok(known);
        }
        let (cluster, founding) = (encode_io(&wanted.cluster)?, encode_io(&wanted.founding)?);
        let op = Op::Put(vec![("cluster", cluster), ("founding", founding)]);
        self.inner.writer.write(op).await?;
        self.inner.state.lock().belonging = wanted.clone();
        Ok(wanted)
    }
}

impl State {
    fn insert(&mut self, index: u64, entry: Entry, len: usize) {
        self.bytes += len;
        if let Some(old) = self.log.insert(index, Logged { entry, len }) {
            self.bytes -= old.len;
        }
    }

    fn remove(&mut self, range: impl std::ops::RangeBounds<u64>) {
        let gone: Vec<u64> = self.log.range(range).map(|(index, _)| *index).collect();
        for index in gone {
            if let Some(old) = self.log.remove(&index) {
                self.bytes -= old.len;
            }
        }
    }
}

fn encode_io<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    encode(value).map(Vec::from).map_err(io::Error::other)
}

fn damaged(error: postcard::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What stands in the database for a value with that name.
fn sealed(name: &str, value: &[u8]) -> Vec<u8> {
    seal::seal(name.as_bytes(), value.to_vec())
}

/// What stands in the database for an entry of the log.
fn sealed_entry(index: u64, entry: &[u8]) -> Vec<u8> {
    seal::seal(&index.to_le_bytes(), entry.to_vec())
}
