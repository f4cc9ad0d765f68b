//! Every scenario over every ground, many times, and a table of it.
//!
//! ```sh
//! cargo test -p dchan-faults --test table -- --ignored --nocapture
//! ```
//!
//! `DCHAN_ROUNDS` says how many times (10), and `DCHAN_FAULTS` whose names contain what (all).

#![allow(clippy::print_stdout)]

use std::{future::Future, pin::Pin};

use dchan_conformance::cluster::Kind;
use dchan_faults::{Ground, Over, Score, Switch, Table, kills, partitions};

const ACTOR: &str = env!("CARGO_BIN_EXE_dchan-actor");

type Playing = Pin<Box<dyn Future<Output = Score>>>;
type Scenario = (&'static str, fn(Over) -> Playing);

macro_rules! scenarios {
    ($($name:literal: $play:expr),* $(,)?) => {
        [$(($name, (|over| Box::pin($play(over, ACTOR))) as fn(Over) -> Playing)),*]
    };
}

fn kill_scenarios() -> Vec<Scenario> {
    scenarios![
        "kill leader": kills::leader,
        "kill quorum": kills::quorum,
        "kill receiver": kills::receiver,
        "kill receiver for good": kills::receiver_for_good,
        "freeze receiver": kills::frozen,
        "kill sender": kills::sender,
        "kill all": kills::all,
        "kill random": |over, actor| kills::random(over, actor, 10, fastrand::u64(..)),
    ]
    .into()
}

fn partition_scenarios() -> Vec<Scenario> {
    scenarios![
        "part minority": partitions::minority,
        "part leader": partitions::leader,
        "part one way": partitions::one_way,
        "part flapping": partitions::flapping,
        "part black hole": partitions::black_hole,
        "part removed": partitions::removed,
    ]
    .into()
}

#[test]
#[ignore = "takes an hour"]
fn table() {
    let rounds = std::env::var("DCHAN_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let wanted = std::env::var("DCHAN_FAULTS").unwrap_or_default();
    dchan_faults::log("dchan_faults=warn");
    let sockets = [Kind::Tcp, Kind::Grpc];
    let on = |ground| sockets.map(|kind| Over { kind, ground });
    let mut grounds = vec![Over { kind: Kind::Memory, ground: Ground::Within }];
    grounds.extend(on(Ground::Within));
    match Switch::new() {
        Ok(_) => grounds.extend(on(Ground::Namespaces)),
        Err(reason) => println!("no network namespaces here: {reason:#}"),
    }
    let mut table = Table::default();
    let kills = kill_scenarios().into_iter().map(|it| (it, on(Ground::Processes).to_vec()));
    let parts = partition_scenarios().into_iter().map(|it| (it, grounds.clone()));
    for ((name, play), grounds) in kills.chain(parts) {
        for over in grounds.into_iter().filter(|_| name.contains(&wanted)) {
            for _ in 0..rounds.unwrap_or(10) {
                table.add(over.runtime().block_on(play(over)));
            }
        }
    }
    println!("{table}");
    table.check();
}
