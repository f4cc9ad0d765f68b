//! Data directories: killed processes, full disks, directories that cannot be used.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    founders::Founders,
    process::{Process, free_addresses, plainly, until},
};

/// A command that runs where something else is mounted at a path, which nobody else sees.
fn mounted(apart: &str, how: &str, at: &Path, args: &[String]) -> Command {
    fs::create_dir_all(at).unwrap();
    let mut command = Command::new("unshare");
    let script = format!("{how} && exec \"$@\"");
    command.args([apart, "sh", "-c", &script]).arg(at).arg(env!("CARGO_BIN_EXE_dchan")).args(args);
    command
}

const SMALL: &str = "mount -t tmpfs -o size=4m tmpfs \"$0\"";
const TINY: &str = "mount -t tmpfs -o size=4k,nr_inodes=2 tmpfs \"$0\"";
const READ_ONLY: &str = "mount -t tmpfs -o ro tmpfs \"$0\"";

/// How this user may mount, if at all.
fn apart() -> Option<&'static str> {
    let dir = tempfile::tempdir().unwrap();
    let may = |apart: &&str| {
        let mut tried = mounted(apart, SMALL, dir.path(), &["--help".into()]);
        let tried = tried.stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let apart = ["-m", "-rm"].into_iter().find(may);
    if apart.is_none() {
        plainly(
            "mounting is not permitted here: full and read-only disks are tested only by those in memory \
             that fail when they are told to, in dchan-raft/src/faults",
        );
    }
    apart
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
    let Some(apart) = apart() else { return };
    let founders = Founders::new();
    let (disk, to) = (founders.data(1), founders.path("to"));
    let mut full = mounted(apart, SMALL, &disk, &founders.args(1, &["recv", "lines"]));
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
    // Somebody comes and goes, which it should write down. There may be some room left within its files.
    until("it says so", || {
        drop(founders.joiner(&["recv", "other"], Stdio::null(), Stdio::null()).ready());
        full.stderr().contains("Raft has failed: this node has no vote")
    });
    assert!(full.stderr().contains("No space left on device"), "{}", full.stderr());
    input.write_all(b"after\n").unwrap();
    until("another line", || fs::read_to_string(&to).unwrap() == "before\nafter\n");
    drop(input);
    send.ends_with(0);
    send.has_ledger(2, 2, 0);
    drop(full);
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
    let Some(apart) = apart() else { return };
    let founders = Founders::new();
    for (how, reason) in [(READ_ONLY, "Read-only file system"), (TINY, "No space left on device")] {
        let mut command = mounted(apart, how, &founders.data(0), &founders.args(0, &["node"]));
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

#[test]
fn a_directory_that_may_not_be_written_to_is_named() {
    let founders = Founders::new();
    let data = founders.data(0);
    fs::create_dir(&data).unwrap();
    let permit = |mode| fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
    permit(0o555);
    let may_all_the_same = File::create(data.join("probe")).is_ok();
    if may_all_the_same {
        plainly(
            "this user may write anywhere: a read-only directory is tested only as a mounted one",
        );
    } else {
        let said = refused(&founders, founders.node(0));
        assert!(said.contains("Permission denied") && said.contains("is writable"), "{said}");
    }
    permit(0o755);
}

#[test]
fn a_copied_directory_is_refused_and_the_original_goes_on() {
    let mut founders = Founders::new();
    founders.all.truncate(1);
    let _original = founders.node(0).ready();
    let copied = founders.path("copy");
    fs::create_dir(&copied).unwrap();
    for entry in fs::read_dir(founders.data(0)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copied.join(entry.file_name())).unwrap();
    }
    let args = ["node", "--data", copied.to_str().unwrap()];
    let mut copy = founders.joiner(&args, Stdio::null(), Stdio::null());
    copy.ends_with(3);
    let said = copy.stderr();
    let expected = format!("runs at {} already: was its data directory copied?", founders.all[0]);
    assert!(said.contains(&expected) && said.contains("an empty directory"), "{said}");
    founders.joiner(&["recv", "late"], Stdio::null(), Stdio::null()).ready();
}

/// Channels flow on, nothing is founded anew, and whoever looks is told that it will not recover.
#[test]
fn a_cluster_that_lost_two_of_three_founders_says_that_it_cannot_recover() {
    let founders = Founders::new();
    let to = founders.path("to");
    let mut left = Command::new(env!("CARGO_BIN_EXE_dchan"));
    left.args(founders.args(0, &["recv", "lines"]));
    let left = founders.spawn(&mut left, Stdio::null(), File::create(&to).unwrap().into());
    let others = [1, 2].map(|at| founders.node(at));
    let left = left.ready();
    let others = others.map(Process::ready);
    let mut send = founders.joiner(&["send", "lines"], Stdio::piped(), Stdio::null()).ready();
    let mut input = send.child.stdin.take().unwrap();
    input.write_all(b"before\n").unwrap();
    until("a line", || fs::read_to_string(&to).unwrap() == "before\n");
    for mut node in others {
        node.signal("-KILL");
        node.wait();
    }
    let wiped = [1, 2].map(|at| {
        fs::remove_dir_all(founders.data(at)).unwrap();
        founders.node(at)
    });
    until("it says so", || {
        let said = left.stderr();
        said.contains("2 of 3 founders have lost their data directories")
            && said.contains("the cluster cannot recover")
    });
    input.write_all(b"after\n").unwrap();
    until("another line", || fs::read_to_string(&to).unwrap() == "before\nafter\n");
    for node in &wiped {
        assert!(!node.stderr().contains("dchan is ready"), "{}", node.stderr());
    }
    drop(input);
    send.ends_with(0);
    send.has_ledger(2, 2, 0);
}
