//! Clusters whose clock jumps by an hour while messages move: a machine that was suspended.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use dchan_conformance::{
    cluster::{Cluster, Kind, Message, Oracle, run, stop, until},
    tcp::TcpTransport,
};
use dchan_core::Faults;
use tokio::time::{advance, sleep};

const HOUR: Duration = Duration::from_secs(3600);

/// Only paused time can be moved.
fn in_memory() -> Cluster {
    Cluster::new(Kind::Memory, Arc::new(TcpTransport))
}

/// Everything is an hour late at once, for both ends: nothing is lost, nothing is unknown.
#[tokio::test(start_paused = true)]
async fn nothing_goes_astray_when_everything_is_an_hour_late() {
    run(in_memory(), |cluster| async move {
        let (a, b) = (cluster.node().await, cluster.node().await);
        let delay = Duration::ZERO..Duration::from_millis(5);
        cluster.set_faults(Faults { delay, ..Faults::default() });
        let oracle = Oracle::new();
        let _receiving = oracle.receive(b.receiver("n").capacity(100).await.unwrap());
        let sender = a.sender::<Message>("n").await.unwrap();
        let sending = oracle.send(&sender, 0, 0..20_000, |n| n as usize % 500);
        for jump in 1..=5 {
            until("it flows", || oracle.received() > jump * 1000).await;
            // Between any two beats of a heart.
            sleep(Duration::from_millis(jump * 53)).await;
            advance(HOUR).await;
        }
        sending.await.unwrap();
        oracle.settle(&a, "n").await;
        let ledger = a.ledger("n");
        assert_eq!((ledger.taken, ledger.unknown), (20_000, 0), "{ledger}");
        stop(a).await;
        stop(b).await;
    })
    .await;
}
