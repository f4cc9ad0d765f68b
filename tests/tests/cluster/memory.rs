//! What a sender holds for a receiver that takes nothing.

use std::{sync::Arc, time::Duration};

use dchan_conformance::cluster::{Cluster, Message, Oracle, stop, until};

dchan_conformance::cluster_tests![what_is_held_is_bounded];

async fn what_is_held_is_bounded(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let capacity = 1 << 20;
    let mut receiver = b.receiver::<Message>("n").capacity_bytes(capacity).await.unwrap();
    for size in [100, 10_000, 60_000] {
        let oracle = Oracle::new();
        let sender = a.sender::<Message>("n").await.unwrap();
        // Only now: the account begins anew if the last sender has gone.
        let before = a.ledger("n").accepted;
        let sending = oracle.send(&sender, 0, 0..1_000_000, move |_| size);
        // It pushes until nothing moves any more.
        let mut last = u64::MAX;
        while last != oracle.accepted() || last == 0 {
            last = oracle.accepted();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        sending.abort();
        let _aborted = sending.await;
        let ledger = a.ledger("n");
        let held = ledger.in_flight * size as u64;
        // What the receiver grants, a message over it, and a chunk of overdraft.
        let most = (capacity + size + (65 << 10)) as u64;
        assert!(held <= most, "{held} bytes are held of messages of {size}: at most {most}");
        let count = ledger.accepted - before;
        oracle.take(&mut receiver, count).await;
        until("all is settled", || a.ledger("n").in_flight == 0).await;
        assert_eq!(oracle.received(), count);
    }
    drop(receiver);
    stop(a).await;
    stop(b).await;
}
