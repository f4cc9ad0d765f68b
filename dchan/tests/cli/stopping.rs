//! How processes stop, and what becomes of their messages.

use std::{fs, io::Write, process::Stdio};

use crate::process::{Cluster, until};

fn numbers(count: u32) -> String {
    (0..count).map(|number| format!("{number}\n")).collect()
}

#[test]
fn a_receiver_takes_so_many_and_hands_the_rest_back() {
    let cluster = Cluster::start();
    let (from, one, two) = (cluster.path("from"), cluster.path("one"), cluster.path("two"));
    fs::write(&from, numbers(5000)).unwrap();
    let mut first = cluster.recv(&one, &["--count", "100", "--capacity", "1000"]);
    let mut send = cluster.send(&from);
    first.ends_with(0);
    let _second = cluster.recv(&two, &[]);
    send.ends_with(0);
    send.has_ledger(5000, 5000, 0);
    assert_eq!(fs::read_to_string(one).unwrap(), numbers(100));
    let got = fs::read_to_string(two).unwrap();
    let mut got: Vec<u32> = got.lines().map(|line| line.parse().unwrap()).collect();
    eprintln!(
        "{:?}",
        got.windows(2).enumerate().filter(|(_, w)| w[1] != w[0] + 1).collect::<Vec<_>>()
    );
    // What came back is in order, and comes before what had not been sent.
    assert!(got.is_sorted());
    got.sort_unstable();
    assert!(got.into_iter().eq(100..5000));
}

#[test]
fn a_receiver_that_is_interrupted_hands_back_what_it_has_not_written() {
    let cluster = Cluster::start();
    let two = cluster.path("two");
    let mut first = cluster.run(&["recv", "lines"], Stdio::null(), Stdio::piped()).ready();
    let mut send = cluster.run(&["send", "lines"], Stdio::piped(), Stdio::null()).ready();
    let mut input = send.child.stdin.take().unwrap();
    // It writes these and waits for more.
    input.write_all(numbers(10).as_bytes()).unwrap();
    let mut output = first.child.stdout.take().unwrap();
    let mut got = vec![0; numbers(10).len()];
    std::io::Read::read_exact(&mut output, &mut got).unwrap();
    first.signal("-INT");
    first.ends_with(0);
    let _second = cluster.recv(&two, &[]);
    input.write_all(b"last").unwrap();
    drop(input);
    send.ends_with(0);
    send.has_ledger(11, 11, 0);
    assert_eq!((got, fs::read(two).unwrap()), (numbers(10).into_bytes(), b"last\n".to_vec()));
}

#[test]
fn a_closed_pipe_ends_a_receiver_and_another_one_gets_the_rest() {
    let cluster = Cluster::start();
    let (from, two) = (cluster.path("from"), cluster.path("two"));
    fs::write(&from, numbers(1000)).unwrap();
    let mut first = cluster.run(&["recv", "lines"], Stdio::null(), Stdio::piped()).ready();
    drop(first.child.stdout.take());
    let mut send = cluster.send(&from);
    first.ends_with(4);
    assert!(first.stderr().contains("cannot write to stdout"), "{}", first.stderr());
    let _second = cluster.recv(&two, &[]);
    send.ends_with(0);
    send.has_ledger(1000, 1000, 0);
    // Nothing was written to the closed pipe, so everything came back.
    let mut got: Vec<u32> =
        fs::read_to_string(two).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    got.sort_unstable();
    assert!(got.into_iter().eq(0..1000));
}

#[test]
fn an_interrupted_sender_says_what_became_of_its_lines() {
    let cluster = Cluster::start();
    let to = cluster.path("to");
    let _recv = cluster.recv(&to, &[]);
    let mut send = cluster.run(&["send", "lines"], Stdio::piped(), Stdio::null()).ready();
    let mut input = send.child.stdin.take().unwrap();
    input.write_all(numbers(10).as_bytes()).unwrap();
    until("ten lines", || fs::read_to_string(&to).unwrap() == numbers(10));
    send.signal("-TERM");
    // Not all of its input was read.
    send.ends_with(1);
    send.has_ledger(10, 10, 0);
}

#[test]
fn a_sender_without_a_receiver_waits_until_it_is_interrupted() {
    let cluster = Cluster::start();
    let mut send = cluster.run(&["send", "lines"], Stdio::piped(), Stdio::null()).ready();
    let mut input = send.child.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    drop(input);
    send.signal("-INT");
    send.ends_with(1);
    let ledger = send.ledger();
    assert_eq!((ledger[0].1, ledger[1].1), (0, 0), "{ledger:?}");
}

#[test]
fn a_node_that_waits_for_the_cluster_can_be_interrupted() {
    let cluster = Cluster::start();
    let nobody = crate::process::free_addresses::<1>().remove(0);
    let mut command = cluster.program();
    command.args(["node", "-v", "--listen", "127.0.0.1:0", "--peers", &nobody]);
    let stderr = cluster.path("stderr");
    command.stderr(fs::File::create(&stderr).unwrap());
    let mut node = crate::process::Process::new(command.spawn().unwrap(), stderr);
    until("it waits", || node.stderr().contains("waits for the cluster"));
    node.signal("-INT");
    node.ends_with(130);
}
