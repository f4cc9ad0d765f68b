//! Processes that end with the test, and clusters of them.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{TcpListener, UdpSocket},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

/// Far more than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says why something is not tested here. Unlike what is printed, that is always shown.
pub(crate) fn plainly(why: &str) {
    let _shown = writeln!(std::io::stderr(), "\n{why}");
}

/// The command line, to be given arguments. What it leaves behind when it is killed is in `home`.
pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dchan"));
    command.env("TMPDIR", home).env_remove("RUST_LOG");
    command
}

/// A process of the command line. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    stderr: PathBuf,
}

impl Process {
    /// A process that writes its stderr to that file.
    pub(crate) fn new(child: Child, stderr: PathBuf) -> Self {
        Self { child, stderr }
    }

    /// A process whose stderr goes nowhere.
    pub(crate) fn unwatched(child: Child) -> Self {
        Self::new(child, PathBuf::new())
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Waits until it says that it is ready.
    pub(crate) fn ready(mut self) -> Self {
        until("ready", || {
            let said = self.stderr();
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended: {said}");
            said.contains("ready")
        });
        self
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the end of a process", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits until it has ended with that code.
    #[track_caller]
    pub(crate) fn ends_with(&mut self, code: i32) {
        let status = self.wait();
        assert_eq!(status.code(), Some(code), "{}", self.stderr());
    }

    /// The last line on stderr, as numbers by name.
    pub(crate) fn ledger(&self) -> Vec<(String, u64)> {
        let said = self.stderr();
        let last = said.lines().last().unwrap();
        let pair = |pair: &str| {
            let (name, number) = pair.split_once('=').unwrap_or_else(|| panic!("{said}"));
            (name.to_owned(), number.parse().unwrap())
        };
        last.split(' ').map(pair).collect()
    }

    #[track_caller]
    pub(crate) fn has_ledger(&self, accepted: u64, taken: u64, returned: u64) {
        let names = ["accepted", "taken", "unknown", "dropped", "in-flight", "returned"];
        let numbers = [accepted, taken, 0, 0, 0, returned];
        let expected: Vec<_> = names.iter().map(|name| name.to_string()).zip(numbers).collect();
        assert_eq!(self.ledger(), expected, "{}", self.stderr());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking()
            && let Ok(said) = fs::read_to_string(&self.stderr)
        {
            eprintln!("process {} has said:\n{said}", self.child.id());
        }
    }
}

/// One founder, and whoever joins it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) dir: TempDir,
    pub(crate) founder: String,
    /// What all of them are told.
    options: Vec<String>,
    started: std::cell::Cell<u32>,
    node: Option<Process>,
}

impl Cluster {
    /// A cluster with a plain node that founded it alone.
    pub(crate) fn start() -> Self {
        Self::start_with(Vec::new())
    }

    /// The same, with more options for all nodes.
    pub(crate) fn start_with(options: Vec<String>) -> Self {
        let founder = free_addresses::<1>().remove(0);
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Self { dir, founder, options, started: 0.into(), node: None };
        let listen = cluster.founder.clone();
        cluster.node =
            Some(cluster.run_at(&listen, &["node"], Stdio::null(), Stdio::null()).ready());
        cluster
    }

    /// What the founder has said.
    pub(crate) fn founder_said(&self) -> String {
        self.node.as_ref().unwrap().stderr()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command line, to be given arguments.
    pub(crate) fn program(&self) -> Command {
        program(self.dir.path())
    }

    /// Starts a receiver that writes to that file.
    pub(crate) fn recv(&self, to: &Path, more: &[&str]) -> Process {
        let args = [&["recv", "lines"], more].concat();
        self.run(&args, Stdio::null(), File::create(to).unwrap().into()).ready()
    }

    /// Starts a sender of that file.
    pub(crate) fn send(&self, from: &Path) -> Process {
        self.run(&["send", "lines"], File::open(from).unwrap().into(), Stdio::null())
    }

    /// Starts a node that joins.
    pub(crate) fn run(&self, args: &[&str], stdin: Stdio, stdout: Stdio) -> Process {
        self.run_at("127.0.0.1:0", args, stdin, stdout)
    }

    fn run_at(&self, listen: &str, args: &[&str], stdin: Stdio, stdout: Stdio) -> Process {
        let number = self.started.replace(self.started.get() + 1);
        let stderr = self.path(&format!("{number}.stderr"));
        let mut command = self.program();
        command.args(args).args(["--listen", listen, "--peers", &self.founder]);
        command.args(["--cluster", "test"]).args(&self.options);
        command.stdin(stdin).stdout(stdout).stderr(File::create(&stderr).unwrap());
        Process { child: command.spawn().unwrap(), stderr }
    }
}

/// Addresses that nobody uses, and nobody is given before their node listens there or while it is down: they
/// are below the ports that systems choose from, and no two calls in this process return the same.
pub(crate) fn free_addresses<const N: usize>() -> Vec<String> {
    const PORTS: Range<u16> = 10_000..32_000;
    // Another process of tests begins elsewhere.
    static NEXT: LazyLock<Mutex<u16>> = LazyLock::new(|| Mutex::new(fastrand::u16(PORTS)));
    let mut next = NEXT.lock().unwrap();
    let turns = std::iter::from_fn(|| {
        *next = if *next + 1 < PORTS.end { *next + 1 } else { PORTS.start };
        Some(format!("127.0.0.1:{next}"))
    });
    // For either transport.
    let is_free = |at: &String| TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok();
    turns.take(PORTS.len()).filter(is_free).take(N).collect()
}
