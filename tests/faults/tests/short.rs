//! Every scenario, in its short form: over the network in memory where that will do, and over one of the
//! others, by turns. `cargo run --release -p dchan-faults -- --full` plays all over all.

#![allow(clippy::print_stdout)]

use dchan_conformance::cluster::Kind;
use dchan_faults::{Form, Needs, Play, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dchan-faults");

#[test]
fn nodes_are_killed() {
    play(Needs::Processes, 2);
}

#[test]
fn networks_are_parted() {
    // They wait for the most part.
    play(Needs::Network, 3);
}

fn play(needs: Needs, at_once: usize) {
    dchan_faults::log("dchan_faults=warn");
    let scenarios = Scenario::all().into_iter().filter(|scenario| scenario.needs() == needs);
    let by_turns = [Kind::Grpc, Kind::Quic].into_iter().cycle();
    let plays = scenarios.zip(by_turns).flat_map(|(scenario, kind)| {
        let overs = [Kind::Memory, kind].into_iter().filter_map(move |kind| scenario.over(kind));
        overs.map(move |over| Play { scenario, over, form: Form::short(PROGRAM) })
    });
    let table = dchan_faults::play(plays, at_once);
    println!("{table}");
    assert_eq!(table.failures(), [] as [String; 0]);
}
