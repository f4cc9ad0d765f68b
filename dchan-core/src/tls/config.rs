use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use rustls::{ClientConfig, ServerConfig};
use tokio::time::Instant;

use super::{TlsError, material::Material};
use crate::{log::Whole, transport::names_are_for};

/// How often files are looked at, at most.
const LOOK: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(5) };

/// Who this node is to others, and whom it believes: a certificate with its key, and the authority whose
/// certificates it accepts. TLS 1.3 only, and both sides show a certificate.
///
/// Clones are the same configuration. What is renewed counts for new connections; those that stand are
/// not touched.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    files: Option<Files>,
    state: Mutex<State>,
}

struct State {
    material: Arc<Material>,
    /// When the files had been changed, as far as they were read.
    changed: Changed,
    looked: Instant,
}

struct Files {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

type Changed = [Option<SystemTime>; 3];

impl Tls {
    /// Reads PEM files: the certificate of the authority (or several), the node's certificate (behind it,
    /// those that lead to the authority, if there are any), and its key.
    ///
    /// Files that change are read again within 5 s, when a connection is made. If they cannot be used, a
    /// warning is logged, and what was read before stays.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or does not hold what it should, or they do not go together.
    pub fn from_files(
        ca: impl Into<PathBuf>,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = Files { ca: ca.into(), certificate: certificate.into(), key: key.into() };
        let changed = files.changed();
        let material = files.read()?;
        Ok(Self::new(material, changed, Some(files)))
    }

    /// Takes the same as [`from_files`](Self::from_files) from memory.
    ///
    /// # Errors
    ///
    /// See [`from_files`](Self::from_files).
    pub fn from_pem(
        ca: impl AsRef<[u8]>,
        certificate: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, TlsError> {
        let material = Material::new(ca.as_ref(), certificate.as_ref(), key.as_ref())?;
        Ok(Self::new(material, Changed::default(), None))
    }

    fn new(material: Material, changed: Changed, files: Option<Files>) -> Self {
        let state = State { material: Arc::new(material), changed, looked: now() };
        Self { shared: Arc::new(Shared { files, state: Mutex::new(state) }) }
    }

    /// Reads the files again at once. Without files it does nothing.
    ///
    /// # Errors
    ///
    /// See [`from_files`](Self::from_files). What was read before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(files) = &self.shared.files else { return Ok(()) };
        let changed = files.changed();
        let material = Arc::new(files.read()?);
        let mut state = self.shared.state.lock();
        (state.material, state.changed, state.looked) = (material, changed, now());
        Ok(())
    }

    /// Replaces everything by what is in memory. Files are no longer looked at until they change again.
    ///
    /// # Errors
    ///
    /// See [`from_files`](Self::from_files). What was there before stays.
    pub fn replace(
        &self,
        ca: impl AsRef<[u8]>,
        certificate: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<(), TlsError> {
        let material = Material::new(ca.as_ref(), certificate.as_ref(), key.as_ref())?;
        self.shared.state.lock().material = Arc::new(material);
        Ok(())
    }

    /// The hosts that the node's certificate is for: DNS names and IP addresses.
    pub fn names(&self) -> Vec<String> {
        self.material().names.clone()
    }

    /// Whether the node's certificate is for that host, as peers will ask: see
    /// [`Identity::is_for`](crate::Identity::is_for).
    pub fn is_for(&self, host: &str) -> bool {
        names_are_for(&self.material().names, host)
    }

    /// For a connection that this node dials: the peer must have a certificate for the host that is
    /// dialled.
    pub fn client(&self, protocol: &[u8]) -> ClientConfig {
        let mut client = self.material().client.clone();
        client.alpn_protocols = vec![protocol.to_vec()];
        client
    }

    /// For a connection that comes in: the peer must have a certificate.
    pub fn server(&self, protocol: &[u8]) -> ServerConfig {
        let mut server = self.material().server.clone();
        server.alpn_protocols = vec![protocol.to_vec()];
        server
    }

    /// What counts now, after a look at the files if there was none lately.
    fn material(&self) -> Arc<Material> {
        let mut state = self.shared.state.lock();
        let Some(files) = &self.shared.files else { return state.material.clone() };
        if state.looked.elapsed() < LOOK {
            return state.material.clone();
        }
        state.looked = now();
        let changed = files.changed();
        if changed != state.changed {
            match files.read() {
                Ok(material) => {
                    tracing::info!(certificate = %files.certificate.display(), "certificates renewed");
                    state.material = Arc::new(material);
                    state.changed = changed;
                }
                // Perhaps they are being written: the next look will tell.
                Err(error) => {
                    tracing::warn!(error = %Whole(&error), "certificates have changed, and cannot be used")
                }
            }
        }
        state.material.clone()
    }
}

impl Files {
    fn read(&self) -> Result<Material, TlsError> {
        Material::new(&read(&self.ca)?, &read(&self.certificate)?, &read(&self.key)?)
    }

    fn changed(&self) -> Changed {
        [&self.ca, &self.certificate, &self.key]
            .map(|path| fs::metadata(path).and_then(|file| file.modified()).ok())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.into(), source })
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("names", &self.shared.state.lock().material.names).finish()
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "files change in real time, whatever tests do with theirs"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Authority;

    /// Writes the files of a node at that host, so that they have changed.
    #[allow(clippy::disallowed_methods, reason = "it is what the system stamps files with")]
    fn write(at: &Path, authority: &Authority, host: &str, age: u64) {
        let issued = authority.issue([host]).unwrap();
        let parts = [authority.certificate_pem(), issued.certificate_pem(), issued.key_pem()];
        for (name, pem) in ["ca", "pem", "key"].iter().zip(parts) {
            fs::write(at.join(name), pem).unwrap();
            let file = fs::File::options().append(true).open(at.join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age))
                .unwrap();
        }
    }

    fn read_from(at: &Path) -> Result<Tls, TlsError> {
        Tls::from_files(at.join("ca"), at.join("pem"), at.join("key"))
    }

    #[test]
    fn files_that_change_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new().unwrap();
        write(dir.path(), &authority, "old", 100);
        let tls = read_from(dir.path()).unwrap();
        assert_eq!(tls.names(), ["old"]);
        write(dir.path(), &authority, "new", 50);
        assert_eq!(tls.names(), ["new"]);
        // What cannot be used changes nothing, until it can.
        fs::write(dir.path().join("pem"), "half of a certif").unwrap();
        assert_eq!(tls.names(), ["new"]);
        assert!(tls.reload().is_err());
        write(dir.path(), &authority, "newest", 10);
        assert_eq!(tls.names(), ["newest"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let said = read_from(dir.path()).unwrap_err().to_string();
        assert!(said.contains(&dir.path().join("ca").display().to_string()), "{said}");
    }
}
