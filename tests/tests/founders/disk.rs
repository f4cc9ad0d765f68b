//! A disk that fails while a node runs.

use std::{io, sync::Arc};

use dchan_core::{Node, StartError};
use dchan_raft::{DataDir, RaftConfig, fuzzing::on_disk};
use parking_lot::Mutex;
use redb::{StorageBackend, backends::FileBackend};

use super::{Cluster, Spot, config};

/// A disk that refuses to write when it is told to. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Option<io::ErrorKind>>>);

impl Disk {
    /// From now on nothing is written.
    pub(crate) fn fail(&self, how: io::ErrorKind) {
        *self.0.lock() = Some(how);
    }

    /// It works again.
    pub(crate) fn mend(&self) {
        *self.0.lock() = None;
    }

    fn write(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let how = *self.0.lock();
        how.map_or_else(write, |how| Err(how.into()))
    }
}

/// Starts a node whose log is on that disk.
pub(crate) async fn start_on(
    disk: &Disk,
    cluster: &Cluster,
    (spot, founders): (&Spot, &[Spot]),
    dir: DataDir,
    set: impl FnOnce(&mut RaftConfig),
) -> Result<Node, StartError> {
    let id = (dir.node_id(), dir.incarnation());
    let config = config(cluster, spot, founders, set);
    let on = |file| OnDisk { disk: disk.clone(), file };
    cluster.start(spot, id, Arc::new(on_disk(dir, config, on).unwrap()), |_| {}).await
}

#[derive(Debug)]
struct OnDisk {
    disk: Disk,
    file: FileBackend,
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.write(|| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.write(|| self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(|| self.file.write(offset, data))
    }
}
