use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use dchan_core::{Incarnation, NodeId};
use parking_lot::Mutex;

use crate::{seal, store};

/// The directory that holds what a node must remember: who it is, its part of the log, and the list.
///
/// It is locked for as long as this value lives, or the membership that was made of it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    node: NodeId,
    incarnation: Mutex<Incarnation>,
    _lock: File,
    // Removes the directory; after the lock, which is a file in it.
    _temporary: Option<tempfile::TempDir>,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process, or another node of this process, uses it.
    #[error(
        "the data directory {path} is in use by process {holder}: stop that one first, or give this node \
         a directory of its own"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The id of the process that holds the lock, as far as is known.
        holder: String,
    },
    /// A newer version of dchan wrote it.
    #[error(
        "the data directory {path} has format {found}, and this version of dchan knows up to {known}: \
         start the version that wrote it, or a newer one"
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The version of its format.
        found: u32,
        /// The newest version that can be read.
        known: u32,
    },
    /// A file in it does not hold what it should. The node must not go on with it: it would have
    /// forgotten what others count on.
    #[error(
        "{path} is damaged: {reason}. Move the whole data directory away and start the node with an \
         empty one: it joins as a new node, which is safe for a founder as long as a majority of the \
         founders is healthy. Do not bring back an older copy"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file in it could not be read or written.
    #[error(
        "cannot read or write {path}: make sure that the disk is healthy, has room and is writable, then \
         start again"
    )]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DataDir {
    const FORMAT: u32 = 1;

    /// Opens a directory, and makes it if there is none. Raises the incarnation.
    ///
    /// An empty directory is a new node: it gets a random id.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataDirError> {
        Self::open_at(path.as_ref().to_owned(), None)
    }

    /// A new directory that is removed in the end: for a node that need not come back.
    pub fn temporary() -> Result<Self, DataDirError> {
        let made = tempfile::Builder::new().prefix("dchan-").tempdir();
        let made = made.map_err(failed(&std::env::temp_dir()))?;
        Self::open_at(made.path().to_owned(), Some(made))
    }

    /// The id of the node.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// Which of its lives the node is in.
    pub fn incarnation(&self) -> Incarnation {
        *self.incarnation.lock()
    }

    /// Starts another life, and returns it once it is on disk.
    pub fn raise(&self) -> Result<Incarnation, DataDirError> {
        let mut current = self.incarnation.lock();
        let next = Incarnation(current.0 + 1);
        write_identity(&self.path, self.node, next)?;
        *current = next;
        Ok(next)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open_at(path: PathBuf, temporary: Option<tempfile::TempDir>) -> Result<Self, DataDirError> {
        create(&path).map_err(failed(&path))?;
        let lock = lock(&path)?;
        let identity = path.join("identity");
        let is_new = !identity.try_exists().map_err(failed(&identity))?;
        // First, as a newer version may have changed everything else.
        check_format(&path, is_new)?;
        check_mark(&path, is_new)?;
        let known = read_identity(&path)?;
        let (node, last) = known.unwrap_or_else(|| (NodeId(fastrand::u64(1..)), Incarnation(0)));
        let incarnation = Incarnation(last.0 + 1);
        // Last, as a directory without it is an empty one.
        write_identity(&path, node, incarnation)?;
        let incarnation = Mutex::new(incarnation);
        Ok(Self { path, node, incarnation, _lock: lock, _temporary: temporary })
    }
}

/// Makes a directory, and those above it, so that they are still there after a power failure.
fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    create(above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_dir(above),
    }
}

fn lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message: an unknown holder is as good a reason to refuse.
            let _ = (&mut file).take(20).read_to_string(&mut holder);
            let known = holder.trim().parse::<u32>().is_ok();
            let holder = if known { holder.trim().into() } else { "unknown".into() };
            return Err(DataDirError::InUse { path: dir.into(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed(&path)(error)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(failed(&path))?;
    Ok(file)
}

fn check_format(dir: &Path, is_new: bool) -> Result<(), DataDirError> {
    let path = dir.join("format");
    let Some(text) = read(&path)? else {
        if is_new {
            return replace(&path, &DataDir::FORMAT.to_string());
        }
        return Err(DataDirError::Damaged { path, reason: "it is missing".into() });
    };
    match text.trim().parse::<u32>() {
        Ok(found) if found > DataDir::FORMAT => {
            Err(DataDirError::Newer { path: dir.into(), found, known: DataDir::FORMAT })
        }
        Ok(DataDir::FORMAT) => Ok(()),
        _ => {
            let reason = format!("expected a version number, found {:?}", head(&text));
            Err(DataDirError::Damaged { path, reason })
        }
    }
}

/// What the mark says is the store's business; that there is one is not.
fn check_mark(dir: &Path, is_new: bool) -> Result<(), DataDirError> {
    let path = dir.join(store::MARK);
    match path.try_exists().map_err(failed(&path))? {
        true => Ok(()),
        false if is_new => replace_file(&path, &store::empty_mark()).map_err(failed(&path)),
        false => Err(DataDirError::Damaged { path, reason: "it is missing".into() }),
    }
}

fn read_identity(dir: &Path) -> Result<Option<(NodeId, Incarnation)>, DataDirError> {
    let path = dir.join("identity");
    let Some(text) = read(&path)? else {
        if dir.join(store::FILE).exists() {
            let reason = "it is missing, though there is a log".into();
            return Err(DataDirError::Damaged { path, reason });
        }
        return Ok(None);
    };
    parse_identity(&text).map(Some).ok_or_else(|| {
        let reason = format!(
            "expected a node id, an incarnation and their checksum, found {:?}",
            head(&text)
        );
        DataDirError::Damaged { path, reason }
    })
}

fn parse_identity(text: &str) -> Option<(NodeId, Incarnation)> {
    let (said, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
    if sum != identity_sum(said) {
        return None;
    }
    let (node, incarnation) = said.split_once(' ')?;
    let node = u64::from_str_radix(node, 16).ok()?;
    Some((NodeId(node), Incarnation(incarnation.parse().ok()?)))
}

fn identity_sum(said: &str) -> String {
    format!("{:08x}", seal::checksum(b"identity", said.as_bytes()))
}

fn write_identity(dir: &Path, node: NodeId, incarnation: Incarnation) -> Result<(), DataDirError> {
    let said = format!("{node} {incarnation}");
    replace(&dir.join("identity"), &format!("{said} {}\n", identity_sum(&said)))
}

fn read(path: &Path) -> Result<Option<String>, DataDirError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

fn replace(path: &Path, text: &str) -> Result<(), DataDirError> {
    replace_file(path, text.as_bytes()).map_err(failed(path))
}

/// Puts a file in place as a whole: a crash leaves the old one or the new one.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Without this a file that is new, or has a new name, may be gone after a power failure.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    // Not every system can open a directory.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}

fn head(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests;
