//! Each contender carries all workloads: what it is asked for by the driver, though in one process.

use std::time::Duration;

use clap::ValueEnum;
use tokio::time::timeout;

use crate::{Contenders, Point, Workload, play};

#[tokio::test(flavor = "multi_thread")]
async fn every_contender_carries_every_workload() {
    let contenders = Contenders::new();
    for known in contenders.all() {
        for &workload in Workload::value_variants() {
            let contender = known.name.to_owned();
            let point = Point { workload, contender, size: 100, secs: 0.02 };
            let run = play::both(known.player(), point.clone());
            let run = timeout(Duration::from_secs(60), run).await;
            let [sent, received] =
                run.expect("an end").unwrap_or_else(|e| panic!("{point:?}: {e:#}"));
            let counted = if workload == Workload::Ping { sent } else { received };
            assert!(counted.count > 0 && counted.secs > 0.0, "{point:?}: {counted:?}");
        }
    }
}

#[test]
#[should_panic = "two contenders are called bare"]
fn names_are_free() {
    Contenders::new().add(crate::Bare);
}
