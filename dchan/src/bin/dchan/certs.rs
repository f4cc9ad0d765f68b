use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use dchan::tls::Authority;

use crate::{
    args::CertsCommand,
    exit::{Exit, Failure},
};

/// What the files of the authority are called.
const AUTHORITY: &str = "ca";

pub(crate) fn run(command: &CertsCommand) -> Result<Exit, Failure> {
    let next = match command {
        CertsCommand::Init { dir } => init(&dir.path),
        CertsCommand::Issue { hosts, dir } => issue(hosts, &dir.path),
    };
    let next = next.map_err(|error| Failure::new(Exit::Start, error))?;
    // The files are there, whether somebody reads this or not.
    let _gone = io::stdout().write_all(next.as_bytes());
    Ok(Exit::Done)
}

/// Makes the authority. Returns what to do next.
fn init(dir: &Path) -> anyhow::Result<String> {
    let files = Pair::new(dir, AUTHORITY);
    files.are_free()?;
    let authority = Authority::new()?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    files.write(authority.certificate_pem(), &authority.key_pem())?;
    let Pair { certificate, key } = files.shown();
    let dir = dir.display();
    Ok(format!(
        "{certificate}  the certificate of the authority, good for ten years: every node needs it\n\
         {key}  its key: whoever has it can be any node, so keep it where no node runs\n\
         \n\
         Next, a certificate for each node, for the host at which the others reach it:\n  \
         dchan certs issue HOST --dir {dir}\n"
    ))
}

/// Makes a certificate for a node. Returns what to do next.
fn issue(hosts: &[String], dir: &Path) -> anyhow::Result<String> {
    let ca = Pair::new(dir, AUTHORITY);
    let read = |path: &Path| {
        let hint = "`dchan certs init` makes it";
        fs::read_to_string(path).with_context(|| format!("cannot read {}; {hint}", path.display()))
    };
    let authority = Authority::from_pem(&read(&ca.certificate)?, &read(&ca.key)?)?;
    let issued = authority.issue(hosts)?;
    // It was checked to be a host: it leads to no other directory.
    let files = Pair::new(dir, hosts.first().map_or("", String::as_str));
    files.are_free()?;
    files.write(issued.certificate_pem(), issued.key_pem())?;
    let (Pair { certificate, key }, ca) = (files.shown(), ca.shown().certificate);
    Ok(format!(
        "{certificate}  a certificate for {hosts}, good for a year\n\
         {key}  its key: for this node alone\n\
         \n\
         Next, copy both and {ca} to the node, and start it with\n  \
         --ca {ca} --cert {certificate} --key {key}\n\
         To renew it, move both away, issue it again, and replace the files of the node: it reads them \
         again without a restart.\n",
        hosts = hosts.join(", ")
    ))
}

/// The files of a certificate and its key.
struct Pair<P = PathBuf> {
    certificate: P,
    key: P,
}

impl Pair {
    fn new(dir: &Path, name: &str) -> Self {
        let file = |kind| dir.join(format!("{name}.{kind}"));
        Self { certificate: file("pem"), key: file("key") }
    }

    fn shown(&self) -> Pair<std::path::Display<'_>> {
        Pair { certificate: self.certificate.display(), key: self.key.display() }
    }

    /// Half of a pair is of no use: neither is written if one is there.
    fn are_free(&self) -> anyhow::Result<()> {
        for path in [&self.certificate, &self.key] {
            // Also a link that leads nowhere.
            if path.symlink_metadata().is_ok() {
                return Err(taken(path));
            }
        }
        Ok(())
    }

    /// Writes both, or none.
    fn write(&self, certificate: &str, key: &str) -> anyhow::Result<()> {
        create(&self.key, key, 0o600)?;
        create(&self.certificate, certificate, 0o644).inspect_err(|_| remove(&self.key))
    }
}

/// Writes a file that is not there, with these rights where there are such.
fn create(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _all_the_same = mode;
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(path)),
        Err(error) => return Err(cannot_write(path, error)),
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        remove(path);
        cannot_write(path, error)
    })
}

fn remove(path: &Path) {
    // It is already told why it failed.
    let _left = fs::remove_file(path);
}

fn taken(path: &Path) -> anyhow::Error {
    let path = path.display();
    anyhow!(
        "{path} is there already, and nothing is overwritten: move it away, or use another --dir"
    )
}

fn cannot_write(path: &Path, error: io::Error) -> anyhow::Error {
    anyhow::Error::from(error).context(format!("cannot write {}", path.display()))
}
