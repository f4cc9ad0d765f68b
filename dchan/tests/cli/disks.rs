//! Data directories: killed processes, full disks, directories that cannot be used.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::process::{Process, free_addresses, until};

/// Three founders, each with a directory of its own.
struct Founders {
    dir: TempDir,
    all: Vec<String>,
    started: std::cell::Cell<u32>,
}

impl Founders {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, all: free_addresses::<3>(), started: 0.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn data(&self, at: usize) -> PathBuf {
        self.path(&format!("data{at}"))
    }

    fn args(&self, at: usize, args: &[&str]) -> Vec<String> {
        let data = self.data(at);
        let more = ["--listen", &self.all[at], "--peers", &self.all.join(",")];
        let data = ["--data", data.to_str().unwrap()];
        [args, &more, &data].concat().into_iter().map(Into::into).collect()
    }

    /// A process with standard input and output of its own.
    fn spawn(&self, command: &mut Command, stdin: Stdio, stdout: Stdio) -> Process {
        let number = self.started.replace(self.started.get() + 1);
        let stderr = self.path(&format!("{number}.stderr"));
        command.env_remove("RUST_LOG").stdin(stdin).stdout(stdout);
        let child = command.stderr(File::create(&stderr).unwrap()).spawn().unwrap();
        Process::new(child, stderr)
    }

    fn node(&self, at: usize) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dchan"));
        self.spawn(command.args(self.args(at, &["node"])), Stdio::null(), Stdio::null())
    }

    /// A node that has no vote.
    fn joiner(&self, args: &[&str], stdin: Stdio, stdout: Stdio) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dchan"));
        command.args(args).args(["--listen", "127.0.0.1:0", "--peers", &self.all.join(",")]);
        self.spawn(&mut command, stdin, stdout)
    }
}

/// A command that runs where something else is mounted at a path, which nobody else sees.
fn mounted(how: &str, at: &Path, args: &[String]) -> Command {
    fs::create_dir_all(at).unwrap();
    let mut command = Command::new("unshare");
    let script = format!("{how} && exec \"$@\"");
    command.args(["-m", "sh", "-c", &script]).arg(at).arg(env!("CARGO_BIN_EXE_dchan")).args(args);
    command
}

const SMALL: &str = "mount -t tmpfs -o size=4m tmpfs \"$0\"";
const TINY: &str = "mount -t tmpfs -o size=4k,nr_inodes=2 tmpfs \"$0\"";
const READ_ONLY: &str = "mount -t tmpfs -o ro tmpfs \"$0\"";

/// Whether this user may mount. If not, then disks that fail are tested in memory only.
fn may_mount() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--help".into()];
    let tried =
        mounted(SMALL, dir.path(), &args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let may = tried.is_ok_and(|status| status.success());
    if !may {
        eprintln!("mounting is not permitted here: not tested");
    }
    may
}

/// In a loop, at any moment, one or two or all of them: each comes back.
#[test]
fn killed_nodes_always_come_back() {
    let rounds = std::env::var("DCHAN_KILLS").map_or(20, |rounds| rounds.parse().unwrap());
    let founders = Founders::new();
    let mut nodes: Vec<Process> = (0..3).map(|at| founders.node(at)).collect();
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(rng.u64(0..250)));
        let count = rng.usize(1..4);
        let killed = rng.choose_multiple(0..3, count);
        for &at in &killed {
            let node = &mut nodes[at];
            let ended = node.child.try_wait().unwrap();
            assert!(ended.is_none(), "round {round}: {ended:?}: {}", node.stderr());
            node.signal("-KILL");
            node.wait();
            assert!(!node.stderr().contains("panicked"), "{}", node.stderr());
        }
        for &at in &killed {
            nodes[at] = founders.node(at);
        }
    }
    let nodes: Vec<Process> = nodes.into_iter().map(Process::ready).collect();
    let to = founders.path("to");
    let mut recv = founders.joiner(
        &["recv", "n", "--count", "1"],
        Stdio::null(),
        File::create(&to).unwrap().into(),
    );
    let mut send = founders.joiner(&["send", "n"], Stdio::piped(), Stdio::null());
    send.child.stdin.take().unwrap().write_all(b"it works\n").unwrap();
    send.ends_with(0);
    recv.ends_with(0);
    assert_eq!(fs::read_to_string(to).unwrap(), "it works\n");
    drop(nodes);
}

/// A founder that receives has no room left for its log: what flows to it flows on.
#[test]
fn a_channel_flows_on_when_the_disk_of_its_receiver_is_full() {
    if !may_mount() {
        return;
    }
    let founders = Founders::new();
    let (disk, to) = (founders.data(1), founders.path("to"));
    let mut full = mounted(SMALL, &disk, &founders.args(1, &["recv", "lines"]));
    let _one = founders.node(0);
    let stdout = File::create(&to).unwrap().into();
    let full = founders.spawn(&mut full, Stdio::null(), stdout);
    let mut send = Command::new(env!("CARGO_BIN_EXE_dchan"));
    send.args(founders.args(2, &["send", "lines"]));
    let mut send = founders.spawn(&mut send, Stdio::piped(), Stdio::null()).ready();
    let mut input = send.child.stdin.take().unwrap();
    input.write_all(b"before\n").unwrap();
    until("a line", || fs::read_to_string(&to).unwrap() == "before\n");
    let filler = PathBuf::from(format!("/proc/{}/root", full.child.id()));
    let filler = filler.join(disk.join("filler").strip_prefix("/").unwrap());
    let mut filler = File::create(filler).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    // Somebody comes, which it should write down.
    let late = founders.joiner(&["recv", "other"], Stdio::null(), Stdio::null()).ready();
    until("it says so", || full.stderr().contains("Raft has failed: this node has no vote"));
    assert!(full.stderr().contains("No space left on device"), "{}", full.stderr());
    input.write_all(b"after\n").unwrap();
    until("another line", || fs::read_to_string(&to).unwrap() == "before\nafter\n");
    drop(input);
    send.ends_with(0);
    send.has_ledger(2, 2, 0);
    drop((full, late));
}

/// What a founder says that does not start.
fn refused(founders: &Founders, mut node: Process) -> String {
    node.ends_with(3);
    let said = node.stderr();
    assert!(said.contains(founders.data(0).to_str().unwrap()), "it names the directory: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn a_disk_that_is_read_only_or_full_is_named() {
    if !may_mount() {
        return;
    }
    let founders = Founders::new();
    for (how, reason) in [(READ_ONLY, "Read-only file system"), (TINY, "No space left on device")] {
        let mut command = mounted(how, &founders.data(0), &founders.args(0, &["node"]));
        let said = refused(&founders, founders.spawn(&mut command, Stdio::null(), Stdio::null()));
        assert!(said.contains(reason) && said.contains("is healthy, has room"), "{said}");
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named_and_what_to_do_about_it() {
    let mut founders = Founders::new();
    founders.all.truncate(1);
    let mut node = founders.node(0).ready();
    let second = free_addresses::<1>().remove(0);
    let mut other = Command::new(env!("CARGO_BIN_EXE_dchan"));
    other.args(["node", "--listen", &second, "--peers", &founders.all[0], "--data"]);
    let other = founders.spawn(other.arg(founders.data(0)), Stdio::null(), Stdio::null());
    let said = refused(&founders, other);
    let holder = format!("in use by process {}", node.child.id());
    assert!(said.contains(&holder), "{said}");
    node.signal("-KILL");
    node.wait();
    let log = founders.data(0).join("raft.redb");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() / 2]).unwrap();
    let said = refused(&founders, founders.node(0));
    assert!(said.contains("is damaged") && said.contains("with an empty one"), "{said}");
    fs::write(&log, whole).unwrap();
    fs::write(founders.data(0).join("format"), "7").unwrap();
    let said = refused(&founders, founders.node(0));
    assert!(said.contains("has format 7") && said.contains("knows up to 1"), "{said}");
    fs::write(founders.data(0).join("format"), "1").unwrap();
    founders.node(0).ready();
}
