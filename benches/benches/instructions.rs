//! How many instructions a message costs, and how many lines of memory that are not in a cache of 1 MiB: counted and
//! simulated by callgrind, and so the same on a busy machine.
//!
//! `cargo bench -p dchan-benches --bench instructions` runs itself under `valgrind`, if that is on the
//! PATH, with two counts of messages, and prints the difference for each message. To see where they go:
//!
//! `valgrind --tool=callgrind --cache-sim=yes target/release/deps/instructions-… "lane send" 16 20000`
#![allow(clippy::print_stdout)]

mod shared;

use std::process::{Command, Stdio};

use anyhow::Context;
use shared::{BATCH, Msg, Nodes, SIZES, batch, check, pair, receive, runtime, send};

/// Runs so many messages through a piece: their size in bytes comes first.
type Piece = fn(usize, u64);

/// What is counted.
const PIECES: [(&str, Piece); 6] = [
    ("lane send", lane_send),
    ("lane send and receive", lane_both),
    ("path in one process", |size, count| path(1, size, count)),
    ("path over memory", |size, count| path(2, size, count)),
    ("round trip over gRPC", round_trip),
    ("in turn over gRPC", in_turn),
];

/// Few messages, to be subtracted, as they cost all that is done once; and many. In batches.
const COUNTS: [u64; 2] = [20 * BATCH, 220 * BATCH];
/// More than the cache has room for what belongs to so many.
const CHANNELS: u64 = 256;

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
    println!("| piece | bytes | instructions a message | lines of memory |\n|---|---|---|---|");
    for (name, _) in PIECES {
        for size in SIZES {
            let [few, many] = COUNTS;
            let (few_cost, many_cost) = (cost(name, size, few)?, cost(name, size, many)?);
            let each = |of: fn(&Cost) -> u64| {
                (of(&many_cost) as f64 - of(&few_cost) as f64) / (many - few) as f64
            };
            let (instructions, lines) = (each(|cost| cost.instructions), each(|cost| cost.lines));
            println!("| {name} | {size} | {instructions:.0} | {lines:.1} |");
        }
    }
    Ok(())
}

/// What a process does in all.
struct Cost {
    instructions: u64,
    /// Lines of memory that were not in the cache.
    lines: u64,
}

/// That of a process that runs so many messages.
fn cost(name: &str, size: usize, count: u64) -> anyhow::Result<Cost> {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--cache-sim=yes", "--LL=1048576,16,64"])
        .arg(std::env::current_exe()?)
        .args([name, &size.to_string(), &count.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    anyhow::ensure!(out.status.success(), "{name}: {}: {said}", out.status);
    let counted = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, counted) = counted.with_context(|| format!("valgrind counted nothing: {said}"))?;
    // Instructions, reads, writes; how many of them miss the first cache, and how many the last.
    let counts: Vec<u64> = counted.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [instructions, .., in_code, in_reads, in_writes] = counts[..] else {
        anyhow::bail!("nine counts were expected: {counted}");
    };
    Ok(Cost { instructions, lines: in_code + in_reads + in_writes })
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
    runtime().block_on(async {
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
    runtime().block_on(async {
        let (nodes, message) = (Nodes::start_over_grpc(2).await, Msg::new(size));
        let (there, mut arrived) = nodes.channel().await;
        let (back, mut returned) = nodes.channel_back().await;
        let echo = tokio::spawn(async move {
            for _ in 0..count {
                send(&back, receive(&mut arrived).await).await;
            }
            check(&back).await;
        });
        for _ in 0..count {
            send(&there, message.clone()).await;
            receive(&mut returned).await;
        }
        check(&there).await;
        echo.await.expect("all came back");
        drop((there, returned));
        nodes.stop().await;
    });
}

/// One message after another over many channels, and some of each before they are received.
fn in_turn(size: usize, count: u64) {
    runtime().block_on(async {
        let (nodes, message) = (Nodes::start_over_grpc(2).await, Msg::new(size));
        let (mut channels, many) = (Vec::new(), CHANNELS.min(count));
        for number in 0..many {
            channels.push(nodes.channel_named(&format!("pieces.{number}")).await);
        }
        let each = (count / many).min(5);
        for _ in 0..count / many / each {
            for _ in 0..each {
                for (sender, _) in &channels {
                    send(sender, message.clone()).await;
                }
            }
            for (_, receiver) in &mut channels {
                for _ in 0..each {
                    receive(receiver).await;
                }
            }
        }
        for (sender, _) in &channels {
            check(sender).await;
        }
        drop(channels);
        nodes.stop().await;
    });
}
