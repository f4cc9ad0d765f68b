use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use dchan_core::{Incarnation, NodeId};
use parking_lot::Mutex;

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
    #[error("the data directory {path} is in use by process {holder}")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The id of the process that holds the lock, as far as is known.
        holder: String,
    },
    /// A newer version of dchan wrote it.
    #[error("the data directory {path} has format {found}: this version knows up to {known}")]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The version of its format.
        found: u32,
        /// The newest version that can be read.
        known: u32,
    },
    /// A file in it does not hold what it should.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file in it could not be read or written.
    #[error("cannot use {path}")]
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
        fs::create_dir_all(&path).map_err(failed(&path))?;
        let lock = lock(&path)?;
        check_format(&path)?;
        let (node, last) = match read_identity(&path)? {
            Some(known) => known,
            None => (NodeId(fastrand::u64(1..)), Incarnation(0)),
        };
        let incarnation = Incarnation(last.0 + 1);
        write_identity(&path, node, incarnation)?;
        let incarnation = Mutex::new(incarnation);
        Ok(Self { path, node, incarnation, _lock: lock, _temporary: temporary })
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

fn check_format(dir: &Path) -> Result<(), DataDirError> {
    let path = dir.join("format");
    let Some(text) = read(&path)? else {
        return replace(&path, &DataDir::FORMAT.to_string());
    };
    match text.trim().parse::<u32>() {
        Ok(found) if found > DataDir::FORMAT => {
            Err(DataDirError::Newer { path: dir.into(), found, known: DataDir::FORMAT })
        }
        Ok(_) => Ok(()),
        Err(_) => {
            let reason = format!("expected a version number, found {:?}", head(&text));
            Err(DataDirError::Damaged { path, reason })
        }
    }
}

fn read_identity(dir: &Path) -> Result<Option<(NodeId, Incarnation)>, DataDirError> {
    let path = dir.join("identity");
    let Some(text) = read(&path)? else {
        if dir.join(crate::store::FILE).exists() {
            let reason = "it is missing, though there is a log".into();
            return Err(DataDirError::Damaged { path, reason });
        }
        return Ok(None);
    };
    let parsed = text.trim().split_once(' ').and_then(|(node, incarnation)| {
        let node = u64::from_str_radix(node, 16).ok()?;
        Some((NodeId(node), Incarnation(incarnation.parse().ok()?)))
    });
    parsed.map(Some).ok_or_else(|| {
        let reason = format!("expected a node id and an incarnation, found {:?}", head(&text));
        DataDirError::Damaged { path, reason }
    })
}

fn write_identity(dir: &Path, node: NodeId, incarnation: Incarnation) -> Result<(), DataDirError> {
    replace(&dir.join("identity"), &format!("{node} {incarnation}\n"))
}

fn read(path: &Path) -> Result<Option<String>, DataDirError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
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
    match path.parent() {
        // Without this the rename itself may be lost. Not every system can open a directory.
        Some(dir) if cfg!(unix) => File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}

fn head(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_id_and_never_its_incarnation() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let (id, one) = (first.node_id(), first.incarnation());
        let two = first.raise().unwrap();
        drop(first);
        let again = DataDir::open(dir.path()).unwrap();
        assert_eq!(again.node_id(), id);
        assert!(one < two && two < again.incarnation());
    }

    #[test]
    fn a_directory_in_use_is_refused_and_the_holder_named() {
        let dir = tempfile::tempdir().unwrap();
        let _held = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        let DataDirError::InUse { path, holder } = &error else { panic!("{error}") };
        assert_eq!(path, dir.path());
        assert_eq!(*holder, std::process::id().to_string());
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("format"), "2").unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(error, DataDirError::Newer { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path()).unwrap());
        fs::write(dir.path().join("identity"), "no such thing").unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(error, DataDirError::Damaged { .. }), "{error}");
        fs::remove_file(dir.path().join("identity")).unwrap();
        fs::write(dir.path().join(crate::store::FILE), "").unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(error, DataDirError::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_copy_repeats_the_id() {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let original = DataDir::open(dir.path()).unwrap();
        for file in ["format", "identity"] {
            fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
        }
        let copied = DataDir::open(copy.path()).unwrap();
        assert_eq!(copied.node_id(), original.node_id());
        assert!(copied.incarnation() > original.incarnation());
    }

    #[test]
    fn a_temporary_directory_goes() {
        let dir = DataDir::temporary().unwrap();
        let path = dir.path().to_owned();
        assert!(path.exists());
        drop(dir);
        assert!(!path.exists());
    }
}
