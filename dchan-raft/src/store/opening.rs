//! Opening what is stored, and making sure that it is what was written.
//!
//! The database verifies all of its pages, and each record has a checksum of its own besides. What a
//! crash leaves is no damage: the last transaction may be missing as a whole, if nobody was told of it.

use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
};

use openraft::entry::RaftEntry;
use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, TableError, backends::FileBackend,
};
use serde::de::DeserializeOwned;

use super::{Belonging, FILE, Files, LOG, MARK, META, NUMBER, State, mark::Mark};
use crate::{
    DataDir, DataDirError,
    datadir::sync_dir,
    seal,
    types::{Entry, decode},
};

/// How much of the database is kept in memory, in bytes. The log is there already.
const CACHE: usize = 64 << 20;

type Result<T> = std::result::Result<T, DataDirError>;

/// The file of that directory. It is made if there is none.
pub(crate) fn backend(dir: &DataDir) -> Result<FileBackend> {
    let path = dir.path().join(FILE);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.and_then(|file| sync_dir(dir.path()).map(|()| file)).map_err(io_at(&path))?;
    FileBackend::new(file).map_err(|error| failed(&path, error.into()))
}

/// Opens the database, and reads what is in it.
pub(super) fn open(dir: &DataDir, backend: impl StorageBackend) -> Result<(Database, State, Mark)> {
    let path = dir.path().join(FILE);
    let (mark, acknowledged) = read_mark(dir.path())?;
    if acknowledged == 0 {
        // A file that was being made when the process ended may be anything, and tells nothing.
        backend.set_len(0).map_err(io_at(&path))?;
    }
    let mut builder = Database::builder();
    // Else it trusts a file that was closed in good order, and panics when that was wrong.
    builder.set_check_integrity_on_open(true).set_cache_size(CACHE);
    let database = builder.create_with_backend(backend);
    let database = database.map_err(|error| failed(&path, error.into()))?;
    let state = read(&path, &database)?;
    if acknowledged > state.number {
        let reason = format!(
            "it ends with transaction {}, but {acknowledged} is the last one that was acknowledged",
            state.number
        );
        return Err(damaged(&path, reason));
    }
    state.check_log(&path)?;
    check_snapshot(dir.path(), &state)?;
    Ok((database, state, mark))
}

fn read(path: &Path, database: &Database) -> Result<State> {
    let failed = |error: redb::Error| failed(path, error);
    let read = database.begin_read().map_err(|e| failed(e.into()))?;
    let meta = match read.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(State::default()),
        Err(error) => return Err(failed(error.into())),
    };
    let mut state = State {
        number: get(path, &meta, NUMBER)?.unwrap_or_default(),
        vote: get(path, &meta, "vote")?,
        committed: get(path, &meta, "committed")?.flatten(),
        purged: get(path, &meta, "purged")?,
        belonging: Belonging {
            cluster: get(path, &meta, "cluster")?.flatten(),
            founding: get(path, &meta, "founding")?.flatten(),
        },
        addr: get(path, &meta, "addr")?,
        ..State::default()
    };
    let log = match read.open_table(LOG) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(state),
        Err(error) => return Err(failed(error.into())),
    };
    for row in log.iter().map_err(|e| failed(e.into()))? {
        let (index, bytes) = row.map_err(|e| failed(e.into()))?;
        let (index, bytes) = (index.value(), bytes.value());
        let entry = seal::open(&index.to_le_bytes(), bytes).and_then(|b| decode::<Entry>(b).ok());
        let entry = entry.filter(|entry| entry.index() == index);
        let entry =
            entry.ok_or_else(|| damaged(path, format!("entry {index} is not as it was")))?;
        state.insert(index, entry, bytes.len());
    }
    Ok(state)
}

fn get<T: DeserializeOwned>(
    path: &Path,
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>> {
    let found = table.get(name).map_err(|error| failed(path, error.into()))?;
    let Some(found) = found else { return Ok(None) };
    let value = seal::open(name.as_bytes(), found.value()).and_then(|bytes| decode(bytes).ok());
    value.map(Some).ok_or_else(|| damaged(path, format!("the {name} is not as it was")))
}

impl State {
    /// Without a gap, and on from where it was cut off at the front.
    fn check_log(&self, path: &Path) -> Result<()> {
        let first = self.purged.map_or(0, |purged| purged.index + 1);
        match (first..).zip(self.log.keys()).find(|(expected, found)| expected != *found) {
            Some((missing, _)) => Err(damaged(path, format!("entry {missing} is missing"))),
            None => Ok(()),
        }
    }
}

fn read_mark(dir: &Path) -> Result<(Mark, u64)> {
    let path = dir.join(MARK);
    let (mark, said) = Mark::open(dir).map_err(io_at(&path))?;
    let said = said.ok_or_else(|| damaged(&path, "expected a number with a checksum".into()))?;
    Ok((mark, said))
}

/// What the log lacks at the front must be in the snapshot.
fn check_snapshot(dir: &Path, state: &State) -> Result<()> {
    let path = Files::path_in(dir);
    let holds = match fs::read(&path) {
        Ok(bytes) => match Files::read(&bytes) {
            Some(snapshot) => snapshot.meta.last_log_id,
            None => return Err(damaged(&path, "it is not as it was".into())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io_at(&path)(error)),
    };
    if holds < state.purged {
        let end =
            |at: Option<crate::types::LogId>| at.map_or("nothing".into(), |at| at.to_string());
        let reason =
            format!("expected one up to {} at least, found {}", end(state.purged), end(holds));
        return Err(damaged(&path, reason));
    }
    Ok(())
}

/// Damage and a disk that fails are told apart, as what to do about them differs.
fn failed(path: &Path, error: redb::Error) -> DataDirError {
    match error {
        redb::Error::Io(source) if !means_damage(&source) => io_at(path)(source),
        redb::Error::PreviousIo => io_at(path)(io::Error::other(error)),
        error => damaged(path, error.to_string()),
    }
}

/// The file is cut off, or is something else altogether.
fn means_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn damaged(path: &Path, reason: String) -> DataDirError {
    DataDirError::Damaged { path: path.into(), reason }
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}
