//! How many instructions a message costs, counted by callgrind: the same on a busy machine.
//!
//! `cargo bench -p dchan-benches --bench instructions` runs itself under `valgrind`, if that is on the
//! PATH, with two counts of messages, and prints the difference for each message. To see where they go:
//!
//! `valgrind --tool=callgrind target/release/deps/instructions-… "lane send" 16 20000`
#![allow(clippy::print_stdout)]

mod shared;

use std::process::{Command, Stdio};

use anyhow::Context;
use shared::{BATCH, Msg, Nodes, SIZES, batch, check, pair};

/// Runs so many messages through a piece: their size in bytes comes first.
type Piece = fn(usize, u64);

/// What is counted.
const PIECES: [(&str, Piece); 5] = [
    ("lane send", lane_send),
    ("lane send and receive", lane_both),
    ("path in one process", |size, count| path(1, size, count)),
    ("path over memory", |size, count| path(2, size, count)),
    ("round trip over gRPC", round_trip),
];

/// Few messages, to be subtracted, as they cost all that is done once; and many. In batches.
const COUNTS: [u64; 2] = [20 * BATCH, 220 * BATCH];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [name, size, count] => run(name, size.parse()?, count.parse()?),
        args if args.iter().any(|arg| arg == "--bench") => count_all(),
        // As a test: each of them works.
        _ => PIECES.iter().try_for_each(|(name, _)| run(name, SIZES[0], BATCH)),
    }
}

fn run(name: &str, size: usize, count: u64) -> anyhow::Result<()> {
    let piece = PIECES.iter().find(|(known, _)| *known == name);
    let (_, piece) = piece.with_context(|| format!("there is no {name:?}"))?;
    piece(size, count);
    Ok(())
}

fn count_all() -> anyhow::Result<()> {
    let known = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !known.is_ok_and(|status| status.success()) {
        println!("valgrind is not on the PATH: nothing is counted");
        return Ok(());
    }
    println!("| piece | bytes | instructions a message |\n|---|---|---|");
    for (name, _) in PIECES {
        for size in SIZES {
            let [few, many] = COUNTS;
            let more =
                instructions(name, size, many)?.saturating_sub(instructions(name, size, few)?);
            println!("| {name} | {size} | {} |", more / (many - few));
        }
    }
    Ok(())
}

/// All instructions of a process that runs so many messages.
fn instructions(name: &str, size: usize, count: u64) -> anyhow::Result<u64> {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([name, &size.to_string(), &count.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    anyhow::ensure!(out.status.success(), "{name}: {}: {said}", out.status);
    let counted = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, counted) = counted.with_context(|| format!("valgrind counted nothing: {said}"))?;
    Ok(counted.trim().parse()?)
}

/// Encoded, handed, kept, and settled.
fn lane_send(size: usize, count: u64) {
    let (mut pair, message) = (pair(), Msg::new(size));
    for _ in 0..count / BATCH {
        (0..BATCH).for_each(|_| assert!(pair.send(&message), "there is credit"));
        assert_eq!(pair.hand_to_nobody(), BATCH);
    }
    assert!(pair.is_settled());
}

/// The same, with a receiver that checks, decodes, and tells.
fn lane_both(size: usize, count: u64) {
    let (mut pair, message) = (pair(), Msg::new(size));
    for _ in 0..count / BATCH {
        (0..BATCH).for_each(|_| assert!(pair.send(&message), "there is credit"));
        assert_eq!(pair.hand(), BATCH);
        assert_eq!(std::iter::from_fn(|| pair.recv::<Msg>()).count() as u64, BATCH);
    }
    assert!(pair.is_settled());
}

/// The whole way of a message from node to node, in one thread.
fn path(nodes: u64, size: usize, count: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (nodes, message) = (Nodes::start(nodes).await, Msg::new(size));
        let (sender, mut receiver) = nodes.channel().await;
        for _ in 0..count / BATCH {
            batch(&sender, &mut receiver, &message).await;
        }
        check(&sender).await;
        drop((sender, receiver));
        nodes.stop().await;
    });
}

/// One message at a time from node to node and back, in one thread: the count is that of both ways.
fn round_trip(size: usize, count: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (nodes, message) = (Nodes::start_over_grpc(2).await, Msg::new(size));
        let (there, mut arrived) = nodes.channel().await;
        let (back, mut returned) = nodes.channel_back().await;
        let echo = tokio::spawn(async move {
            for _ in 0..count {
                let message = arrived.recv().await.expect("received").expect("a message");
                back.send(message).await.map_err(|error| error.without_value()).expect("sent");
            }
            check(&back).await;
        });
        for _ in 0..count {
            there.send(message.clone()).await.map_err(|error| error.without_value()).expect("sent");
            returned.recv().await.expect("received").expect("a message");
        }
        check(&there).await;
        echo.await.expect("all came back");
        drop((there, returned));
        nodes.stop().await;
    });
}
