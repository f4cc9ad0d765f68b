//! Snapshots, in a file of their own: however large one is, no vote waits behind it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::encode_io;
use crate::{
    DataDir, Writes,
    datadir::replace_file,
    seal,
    types::{Snapshot, SnapshotMeta, decode},
};

/// The name of the file in the data directory.
const FILE: &str = "snapshot";

/// The latest snapshot on disk.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    dir: Arc<DataDir>,
    writes: Writes,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    meta: SnapshotMeta,
    data: Bytes,
}

impl Files {
    pub(super) fn new(dir: Arc<DataDir>, writes: Writes) -> Self {
        Self { dir, writes }
    }

    pub(crate) async fn save(&self, meta: SnapshotMeta, data: Bytes) -> io::Result<()> {
        let path = self.path();
        self.run(move || {
            let bytes = encode_io(&Stored { meta, data })?;
            replace_file(&path, &seal::seal(FILE.as_bytes(), bytes))
        })
        .await
    }

    pub(super) async fn load(&self) -> io::Result<Option<Snapshot>> {
        let path = self.path();
        let read = self.run(move || match fs::read(path) {
            Ok(bytes) => Self::read(&bytes).map(Some).ok_or(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        read.await
    }

    /// What the file holds; none if it is not as it was written.
    pub(super) fn read(bytes: &[u8]) -> Option<Snapshot> {
        let Stored { meta, data } = decode(seal::open(FILE.as_bytes(), bytes)?).ok()?;
        Some(Snapshot { meta, snapshot: data })
    }

    pub(super) fn path_in(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    /// Runs slow work where it holds up nobody, unless it was asked for inline.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match self.writes {
            Writes::Inline => work(),
            Writes::Thread => tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?,
        }
    }

    fn path(&self) -> PathBuf {
        Self::path_in(self.dir.path())
    }
}
