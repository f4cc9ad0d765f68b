//! Files arrive as they are.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufWriter, Read, Write},
    path::Path,
    process::Stdio,
};

use sha2::{Digest, Sha256};

use crate::process::{Cluster, Process, free_addresses, program, until};

fn line(number: u64) -> String {
    format!("{number} {}", "x".repeat((number * 7919 % 190) as usize))
}

/// Writes so many lines, each of another content. Returns how long the file is.
fn write_lines(to: &Path, count: u64) -> u64 {
    let mut file = BufWriter::new(File::create(to).unwrap());
    for number in 0..count {
        writeln!(file, "{}", line(number)).unwrap();
    }
    file.into_inner().unwrap().metadata().unwrap().len()
}

fn hash(path: &Path) -> String {
    let (mut file, mut hash, mut buffer) = (File::open(path).unwrap(), Sha256::new(), [0; 1 << 16]);
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return format!("{:x}", hash.finalize()),
            len => hash.update(&buffer[..len]),
        }
    }
}

/// Three processes that found a cluster together.
struct Founders<'a> {
    at: [String; 3],
    home: &'a Path,
    /// What else all of them are told.
    options: &'a [&'a str],
}

impl Founders<'_> {
    /// Starts one of them.
    fn start(&self, nth: usize, args: &[&str], stdin: Stdio, stdout: Stdio) -> Process {
        let mut command = program(self.home);
        command.args(args).args(["--listen", &self.at[nth], "--peers", &self.at.join(",")]);
        command.args(self.options);
        command.stdin(stdin).stdout(stdout).stderr(Stdio::null());
        Process::unwatched(command.spawn().unwrap())
    }
}

/// Sends a file through three processes: a plain node, a receiver and a sender.
pub(crate) fn through_three_processes(count: u64, options: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let len = write_lines(&from, count);
    let at = free_addresses::<3>().try_into().unwrap();
    let founders = Founders { at, home: dir.path(), options };
    let _node = founders.start(0, &["node"], Stdio::null(), Stdio::null());
    let out = File::create(&to).unwrap().into();
    let count = count.to_string();
    let receiving = ["recv", "lines", "--count", &count];
    let mut recv = founders.start(1, &receiving, Stdio::null(), out);
    let start = tokio::time::Instant::now();
    let input = File::open(&from).unwrap().into();
    let mut send = founders.start(2, &["send", "lines"], input, Stdio::null());
    until("the whole file", || fs::metadata(&to).unwrap().len() >= len);
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{count} lines, {len} bytes in {seconds:.2} s: {:.1} MB/s",
        len as f64 / seconds / 1e6
    );
    assert_eq!(send.wait().code(), Some(0));
    assert_eq!(recv.wait().code(), Some(0));
    assert_eq!(hash(&from), hash(&to));
}

#[test]
fn a_file_arrives_as_it_is() {
    through_three_processes(20_000, &[]);
}

/// `cargo test --release -p dchan --test cli -- --ignored --nocapture a_million`
#[test]
#[ignore = "a minute in a debug build"]
fn a_million_lines_arrive_as_they_are() {
    through_three_processes(1_000_000, &[]);
}

#[test]
fn two_receivers_get_each_line_once_and_each_part_is_in_order() {
    let cluster = Cluster::start();
    let files = [cluster.path("one"), cluster.path("two")];
    let _receiving = files.each_ref().map(|file| cluster.recv(file, &[]));
    let mut send = cluster.run(&["send", "lines"], Stdio::piped(), Stdio::null());
    let mut input = BufWriter::new(send.child.stdin.take().unwrap());
    let parts = || files.each_ref().map(|file| fs::read_to_string(file).unwrap());
    let shared = || parts().iter().all(|part| part.lines().count() > 1000);
    let mut count = 0;
    // One of them may be kept from running for a while.
    while count < 20_000 || !shared() {
        assert!(count < 400_000, "one of them got nearly everything");
        (count..count + 1000).for_each(|number| writeln!(input, "{}", line(number)).unwrap());
        count += 1000;
    }
    drop(input);
    send.ends_with(0);
    send.has_ledger(count, count, 0);
    let (parts, mut times) = (parts(), HashMap::new());
    for part in &parts {
        let numbers: Vec<u64> =
            part.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "a part in another order");
        part.lines().for_each(|line| *times.entry(line).or_insert(0) += 1);
    }
    assert!((0..count).all(|number| times.remove(line(number).as_str()) == Some(1)));
    assert!(times.is_empty());
}

#[test]
fn lines_of_all_sizes_arrive_and_one_that_is_too_large_is_named() {
    const LIMIT: usize = 64 << 20;
    let cluster = Cluster::start();
    let (from, to) = (cluster.path("from"), cluster.path("to"));
    let lengths = [0, 1, 0, (64 << 10) + 1, LIMIT + 1, 10 << 20, 3];
    let lines =
        lengths.map(|len| (0..len).map(|at| (at * 31 % 255) as u8 | 0x80).collect::<Vec<_>>());
    // The last one has no newline.
    fs::write(&from, lines.join(&b'\n')).unwrap();
    let _recv = cluster.recv(&to, &[]);
    let mut send = cluster.send(&from);
    send.ends_with(1);
    send.has_ledger(6, 6, 1);
    let named = format!("line 5 has {} bytes: expected at most {LIMIT}", LIMIT + 1);
    assert!(send.stderr().contains(&named), "{}", send.stderr());
    let kept = lines.iter().filter(|line| line.len() <= LIMIT);
    let expected: Vec<u8> = kept.flat_map(|line| line.iter().chain(b"\n")).copied().collect();
    assert!(fs::read(to).unwrap() == expected);
}

#[test]
fn an_empty_file_is_no_lines() {
    let cluster = Cluster::start();
    let mut send = cluster.run(&["send", "lines"], Stdio::null(), Stdio::null());
    send.ends_with(0);
    send.has_ledger(0, 0, 0);
}
