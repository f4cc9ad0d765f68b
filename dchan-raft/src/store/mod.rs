//! What a node has on disk: its vote, its log, how far that is committed, the cluster it belongs to.
//!
//! The log is in memory too, as compaction keeps it small: readers never wait for the disk.

mod log;
mod machine;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

use std::{collections::BTreeMap, io, sync::Arc};

use dchan_core::ClusterId;
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    DataDir, Writes,
    types::{Entry, Founding, LogId, Vote, decode, encode},
};

#[cfg(feature = "fuzzing")]
pub(crate) use machine::List;
pub(crate) use machine::{Machine, is_list};
pub(crate) use snapshot::Files;
use writer::{Op, Writer};

/// The name of the file in the data directory.
pub(crate) const FILE: &str = "raft.redb";

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// What a node has on disk. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    writer: Writer,
    // Last, so that the lock is let go when nothing is written any more.
    dir: Arc<DataDir>,
}

#[derive(Debug, Default)]
struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    log: BTreeMap<u64, Logged>,
    bytes: usize,
    belonging: Belonging,
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
    pub(crate) fn open(dir: Arc<DataDir>, writes: Writes) -> io::Result<Self> {
        let database = Database::create(dir.path().join(FILE)).map_err(io::Error::other)?;
        let state = Mutex::new(State::read(&database)?);
        let writer = Writer::new(database, writes)?;
        Ok(Self { inner: Arc::new(Inner { state, writer, dir }) })
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
        let (cluster, founding) = {
            let mut state = self.inner.state.lock();
            if state.belonging.cluster.is_some() {
                return Ok(state.belonging.clone());
            }
            state.belonging = wanted.clone();
            (encode_io(&wanted.cluster)?, encode_io(&wanted.founding)?)
        };
        let op = Op::Put(vec![("cluster", cluster), ("founding", founding)]);
        if let Err(error) = self.inner.writer.write(op).await {
            self.inner.state.lock().belonging = Belonging::default();
            return Err(error);
        }
        Ok(wanted)
    }
}

impl State {
    fn read(database: &Database) -> io::Result<Self> {
        let read = database.begin_read().map_err(io::Error::other)?;
        let meta = match read.open_table(META) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Self::default()),
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut state = Self {
            vote: get(&meta, "vote")?,
            committed: get(&meta, "committed")?.flatten(),
            purged: get(&meta, "purged")?,
            belonging: Belonging {
                cluster: get(&meta, "cluster")?.flatten(),
                founding: get(&meta, "founding")?.flatten(),
            },
            ..Self::default()
        };
        let log = match read.open_table(LOG) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(state),
            Err(error) => return Err(io::Error::other(error)),
        };
        for row in log.iter().map_err(io::Error::other)? {
            let (index, bytes) = row.map_err(io::Error::other)?;
            let entry = decode(bytes.value()).map_err(damaged)?;
            state.insert(index.value(), entry, bytes.value().len());
        }
        Ok(state)
    }

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

fn get<T: DeserializeOwned>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> io::Result<Option<T>> {
    let found = table.get(key).map_err(io::Error::other)?;
    found.map(|bytes| decode(bytes.value()).map_err(damaged)).transpose()
}

fn encode_io<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    encode(value).map(Vec::from).map_err(io::Error::other)
}

fn damaged(error: postcard::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
