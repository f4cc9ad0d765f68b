//! Paths that are narrow or lose packets, over both transports side by side. They need network namespaces and
//! the queues of `tc`, and say so where there are none.
//!
//! `cargo test -p dchan-faults --test paths -- --ignored --nocapture`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Duration;

use dchan_conformance::cluster::Kind;
use dchan_faults::{
    Switch,
    paths::{Measured, measure},
};
use parking_lot::Mutex;

/// Each has the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

/// Measures gRPC and QUIC, unless there is no such queue here.
fn both(queue: &str) -> Option<[Measured; 2]> {
    let _turn = TURN.lock();
    let mut probe = Switch::new().ok()?;
    if let Err(reason) = probe.add().and_then(|()| probe.shape(0, queue)) {
        println!("skipped, no such paths here: {reason:#}");
        return None;
    }
    drop(probe);
    println!("{queue}");
    Some([Kind::Grpc, Kind::Quic].map(|kind| {
        let measured = measure(kind, queue).unwrap();
        println!("{kind:?}\n{measured}");
        measured
    }))
}

/// A slow link, with a queue that is far too long.
const QUEUE: &str = "tbf rate 10mbit burst 32kb latency 400ms";

#[test]
#[ignore = "a minute, and its bounds are times"]
fn a_full_path_leaves_room_for_others() {
    let Some(both) = both(QUEUE) else { return };
    for measured in both {
        assert!(measured.rate > 0.5e6, "the path was full");
        assert_eq!(measured.elections, 0, "the leader stayed");
        assert!(measured.beside.percentile(95) < Duration::from_millis(200), "pings wait");
        assert!(measured.openings.percentile(100) < Duration::from_secs(5), "registration waits");
    }
}

#[test]
#[ignore = "a minute, where there is netem"]
fn over_quic_a_lane_waits_for_no_packet_of_another() {
    let Some([_grpc, quic]) = both("netem delay 20ms loss 2%") else { return };
    assert_eq!(quic.elections, 0, "the leader stayed");
    let slower = quic.beside.percentile(50).saturating_sub(quic.alone.percentile(50));
    assert!(slower < Duration::from_millis(20), "it waits for the other: {slower:?}");
}
