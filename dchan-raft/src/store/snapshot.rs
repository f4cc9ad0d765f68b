//! Snapshots, in a file of their own: however large one is, no vote waits behind it.

use std::{fs, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{damaged, encode_io};
use crate::{
    DataDir, Writes,
    datadir::replace_file,
    types::{Snapshot, SnapshotMeta, decode},
};

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

    pub(super) async fn save(&self, meta: SnapshotMeta, data: Bytes) -> io::Result<()> {
        let path = self.path();
        self.run(move || replace_file(&path, &encode_io(&Stored { meta, data })?)).await
    }

    pub(super) async fn load(&self) -> io::Result<Option<Snapshot>> {
        let path = self.path();
        let read = self.run(move || match fs::read(path) {
            Ok(bytes) => decode::<Stored>(&bytes).map(Some).map_err(damaged),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        Ok(read.await?.map(|Stored { meta, data }| Snapshot { meta, snapshot: data }))
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
        self.dir.path().join("snapshot")
    }
}
