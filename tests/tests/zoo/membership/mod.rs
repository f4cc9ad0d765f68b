//! Broken memberships.

mod beast;
mod council;
mod member;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use dchan_conformance::{
    cluster::{Cluster, Kind},
    membership::{Life, MembershipFixture, RULES},
    rule::{self, Outcome},
    tcp::TcpTransport,
};
use dchan_core::{Addr, Incarnation, NodeId};

use crate::table::{Row, Table};
use beast::Beast;
use council::Council;
use member::Member;

/// Which rules are about what each of them does.
const ZOO: &[Row<Beast>] = &[
    (Beast::StartsTooSoon, &["m_start_1"]),
    (Beast::StartsOnWhenDropped, &["m_start_2"]),
    (Beast::StartsInOldLives, &["m_node_2"]),
    (Beast::AppliesHalf, &["m_apply_1"]),
    (Beast::AppliesOneByOne, &["m_apply_1"]),
    (Beast::LosesChanges, &["m_apply_2"]),
    (Beast::AcksBeforeCommit, &["m_apply_2", "m_apply_4"]),
    (Beast::AcksBeforeItShows, &["m_apply_2"]),
    (Beast::AcksForItselfAlone, &["m_apply_4"]),
    (Beast::RefusesRepeats, &["m_apply_3"]),
    (Beast::GivesUpWithoutQuorum, &["m_apply_4"]),
    (Beast::HangsAfterTrouble, &["m_apply_4"]),
    (Beast::KeepsOldBoots, &["m_node_1"]),
    (Beast::ForgetsIncarnations, &["m_node_2"]),
    (Beast::ForgetsWhoIsMeant, &["m_gone_1"]),
    (Beast::KeepsReceiversOfTheGone, &["m_gone_1", "m_leave_1"]),
    (Beast::TakesStrays, &["m_receiver_1"]),
    (Beast::GoesBack, &["m_view_1"]),
    (Beast::SeesReceiversLate, &["m_view_1"]),
    (Beast::HasAQuorumForEver, &["m_status_1"]),
    (Beast::HasNeverAQuorum, &["m_status_1"]),
    (Beast::ThinksInStatus, &["m_status_1"]),
    (Beast::StaysOnTheList, &["m_leave_1"]),
    (Beast::LeavesTasks, &["m_leave_1", "m_leave_2"]),
    (Beast::HangsInLeave, &["m_leave_2"]),
    (Beast::SaysThatItHasLeft, &["m_leave_2"]),
    (Beast::LeavesOthersWaiting, &["m_leave_2"]),
];

#[test]
fn teeth() {
    let table = Table::new("membership", &names(), ZOO, run);
    println!("{table}");
    let differences = table.differences(&Table::checked_in("membership", &names()));
    assert!(differences.is_empty(), "not as in docs/teeth.md: {differences:#?}");
}

#[test]
fn there_is_somebody_for_each_rule() {
    Table::checked_in("membership", &names()).bites(ZOO);
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
    let cage = Cage { beast, council: Council::new(beast), lives: AtomicU64::new(1) };
    rule.check(seed, &cage).await
}

/// A broken membership on nodes of a network in memory.
struct Cage {
    beast: Beast,
    council: Arc<Council>,
    lives: AtomicU64,
}

#[async_trait]
impl MembershipFixture for Cage {
    fn cluster(&self) -> Cluster {
        Cluster::with_seed(Kind::Memory, Arc::new(TcpTransport), fastrand::u64(..))
    }

    async fn life(&self, place: usize, _founders: &[Addr]) -> Life {
        let incarnation = Incarnation(self.lives.fetch_add(1, Ordering::Relaxed));
        let membership = Arc::new(Member::new(self.beast, place, &self.council));
        Life { id: NodeId(place as u64 + 1), incarnation, membership }
    }

    fn cut_off(&self, place: usize, is_cut: bool) {
        self.council.cut_off(place, is_cut);
    }
}
