//! Broken transports.

mod beast;
mod halves;
mod per_frame;

use std::sync::Arc;

use async_trait::async_trait;
use beast::{Beast, Broken};
use dchan_conformance::{
    rule::{self, Outcome},
    transport::{Breakable, Held, RULES, TransportFixture},
};
use dchan_core::{Addr, Frame, FrameBatch, LaneId, MemoryNetwork, Transport};

use crate::table::{Row, Table};

/// Which rules are about what each of them does.
const ZOO: &[Row<Beast>] = &[
    (Beast::SwapsFrames, &["t_ord_1"]),
    (Beast::RepeatsFrames, &["t_once_1", "t_ord_1"]),
    (Beast::LosesFrames, &["t_once_1", "t_ord_1", "t_close_1"]),
    (Beast::CutsPayloads, &["t_whole_1"]),
    (Beast::MergesFrames, &["t_whole_1"]),
    (Beast::ForgetsLast, &["t_whole_1"]),
    (Beast::SwallowsTooLarge, &["t_whole_2"]),
    (Beast::MixesLanes, &["t_lanes_1"]),
    (Beast::SharesOneLock, &["t_duplex_1", "t_back_2"]),
    (Beast::TakesFromTheMiddle, &["t_batch_1"]),
    (Beast::TakesNothing, &["t_batch_1"]),
    (Beast::LosesDroppedSends, &["t_cancel_1"]),
    (Beast::LosesDroppedReceives, &["t_cancel_2"]),
    (Beast::HoldsBack, &["t_flush_1", "t_close_1"]),
    (Beast::KeepsLoneFrames, &["t_flush_1"]),
    (Beast::SendsFromATaskPerFrame, &["t_ord_1", "t_back_1"]),
    (Beast::BuffersWithoutEnd, &["t_back_1"]),
    (Beast::SpeaksAfterTheEnd, &["t_close_2"]),
    (Beast::EndsBothWays, &["t_close_3"]),
    (Beast::HangsInClose, &["t_close_1"]),
    (Beast::HidesBreaks, &["t_abort_1", "t_abort_2", "t_break_1"]),
    (Beast::KeepsHalvesAlive, &["t_abort_1", "t_abort_2"]),
    (Beast::TakesAnyBytes, &["t_malformed_1"]),
    (Beast::LeavesTasks, &["t_tidy_1"]),
    (Beast::NamesOtherErrors, &["t_dial_1", "t_listen_2"]),
    (Beast::DialsOneByOne, &["t_dial_2"]),
    (Beast::DialsOnWhenDropped, &["t_dial_3"]),
    (Beast::KeepsPortZero, &["t_listen_1"]),
    (Beast::ListensForEver, &["t_listen_3"]),
    (Beast::AcceptsOneByOne, &["t_accept_1"]),
    (Beast::KeepsTheUnready, &["t_accept_2"]),
    (Beast::LosesDroppedAccepts, &["t_cancel_3"]),
    (Beast::MistakesPeers, &["t_peer_1"]),
];

#[test]
#[ignore = "tries every rule on everybody: some minutes"]
fn teeth() {
    let table = Table::new("transport", &names(), ZOO, run);
    println!("{table}");
    let differences = table.differences(&Table::checked_in("transport", &names()));
    assert!(differences.is_empty(), "not as in docs/teeth.md: {differences:#?}");
}

#[test]
fn there_is_somebody_for_each_rule() {
    Table::checked_in("transport", &names()).bites(ZOO);
}

#[tokio::test(start_paused = true)]
async fn every_broken_transport_is_caught_by_the_rules_about_it() {
    let mut escaped = Vec::new();
    for (beast, about) in ZOO {
        for rule in *about {
            if run(rule, *beast).await.is_ok() {
                escaped.push((rule, beast));
            }
        }
    }
    assert!(escaped.is_empty(), "rules that pass although they are broken: {escaped:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_without_a_fault_passes() {
    for rule in names() {
        if let Err(failure) = run(rule, Beast::Tame).await {
            panic!("{failure}");
        }
    }
}

fn names() -> Vec<&'static str> {
    RULES.iter().map(|rule| rule.name).collect()
}

async fn run(name: &'static str, beast: Beast) -> Outcome {
    let rule = RULES.iter().find(|rule| rule.name == name).expect("a rule of that name");
    let seed = rule::seed();
    let fixture = Cage { network: MemoryNetwork::new(fastrand::u64(..)), beast };
    rule.check(seed, &fixture).await
}

/// A broken transport over a fresh in-memory network.
struct Cage {
    network: MemoryNetwork,
    beast: Beast,
}

fn addr(text: &str) -> Addr {
    text.parse().expect("an address")
}

#[async_trait]
impl TransportFixture for Cage {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Broken::new(self.beast, self.network.transport(&addr("dialler:1"))))
    }

    fn listen_at(&self) -> Addr {
        addr("listener:0")
    }

    async fn dead(&self) -> Held {
        Held::new(addr("nobody:1"), ())
    }

    async fn black_hole(&self) -> Held {
        let hole = addr("hole:1");
        self.network.partition(&addr("dialler:1"), &hole);
        Held::new(hole, ())
    }

    async fn breakable(&self, to: &Addr) -> Breakable {
        let network = self.network.clone();
        Breakable { addr: to.clone(), cut: Box::new(move || network.cut_all()) }
    }

    async fn garble(&self, to: &Addr, nth: usize) -> bool {
        if self.beast != Beast::TakesAnyBytes || nth > 0 {
            return false;
        }
        // What is no frame on a wire would be one here: it is delivered.
        let intruder = self.network.transport(&addr("intruder:1"));
        let mut connection = intruder.dial(to).await.expect("the listener is there");
        let mut batch = FrameBatch::new();
        batch.push(Frame::new(LaneId::FIRST, "garbage".into()));
        connection.sink.send(&mut batch).await.expect("room for one frame");
        connection.sink.close().await.expect("nobody broke it");
        tokio::spawn(async move { while connection.stream.recv(&mut batch).await.is_ok() {} });
        true
    }
}
