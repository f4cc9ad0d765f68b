//! Receivers and nodes that come and go while messages move.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dchan_conformance::cluster::{Cluster, Entry, Message, Oracle, PATIENCE, message, stop, until};
use dchan_core::{Node, Receiver, RecvError, Sender};
use tokio::time::timeout;

dchan_conformance::cluster_tests![
    a_receiver_hands_back,
    a_receiver_is_dropped_with_a_batch_in_hand,
    a_receivers_node_stops_in_mid_flow,
    a_senders_node_stops_in_mid_flow,
    a_receivers_node_dies,
    at_least_once_is_redelivered,
    a_local_receiver_hands_back_to_a_remote_one,
    a_remote_receiver_hands_back_to_a_local_one,
    a_local_receiver_hands_back_to_a_local_one,
    a_node_stops_with_both_ends,
    senders_and_receivers_within_a_process,
    nothing_is_left_of_any_path,
];

async fn sender(node: &Node) -> Sender<Message> {
    node.sender("n").await.unwrap()
}

async fn receiver(node: &Node) -> Receiver<Message> {
    node.receiver("n").capacity(500).await.unwrap()
}

/// Everything arrived once, and what one receiver had not taken came to another, in order and flagged.
fn check_handover(oracle: &Oracle, first: u64) {
    let logs = oracle.logs();
    let rerouted: Vec<&Entry> = logs.iter().flatten().filter(|entry| entry.rerouted).collect();
    assert!(!rerouted.is_empty(), "something was handed back");
    assert!(rerouted.iter().all(|entry| entry.number >= first), "{rerouted:?}");
    for log in &logs {
        let numbers: Vec<u64> =
            log.iter().filter(|entry| entry.rerouted).map(|e| e.number).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}

/// A receiver on `first` takes ten messages of some, and hands the rest back; one on `second` gets it.
async fn hand_over(cluster: &Cluster, first: &Node, second: &Node, from: &Node, drop_it: bool) {
    let oracle = Oracle::new();
    // Each time another channel, or the account would go on.
    let name = format!("n{}", fastrand::u64(..));
    let mut leaving = first.receiver(&name).capacity(500).await.unwrap();
    let sender = from.sender::<Message>(&name).await.unwrap();
    let total = cluster.kind.scale(3000, 2000);
    let sending =
        oracle.send(&sender, 0, 0..total, |n| if n == 20 { 200_000 } else { n as usize % 50 });
    oracle.take(&mut leaving, 10).await;
    // More have come by now.
    until("its window is full", || oracle.accepted() >= 300).await;
    oracle.take(&mut leaving, 1).await;
    if drop_it {
        drop(leaving);
    } else {
        leaving.hand_back().await;
    }
    let receiving = oracle.receive(second.receiver(&name).capacity(500).await.unwrap());
    timeout(Duration::from_secs(50), sending).await.expect("all are accepted").unwrap();
    sender.flush().await.unwrap();
    oracle.settle(from, &name).await;
    check_handover(&oracle, 11);
    receiving.abort();
    let _aborted = receiving.await;
}

async fn a_receiver_hands_back(cluster: Arc<Cluster>) {
    let (a, b, c) = (cluster.node().await, cluster.node().await, cluster.node().await);
    hand_over(&cluster, &b, &c, &a, false).await;
    hand_over(&cluster, &b, &b, &a, false).await;
    for node in [a, b, c] {
        stop(node).await;
    }
}

async fn a_receiver_is_dropped_with_a_batch_in_hand(cluster: Arc<Cluster>) {
    let (a, b, c) = (cluster.node().await, cluster.node().await, cluster.node().await);
    hand_over(&cluster, &b, &c, &a, true).await;
    for node in [a, b, c] {
        stop(node).await;
    }
}

async fn a_local_receiver_hands_back_to_a_remote_one(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    hand_over(&cluster, &a, &b, &a, false).await;
    hand_over(&cluster, &a, &b, &a, true).await;
    stop(a).await;
    stop(b).await;
}

async fn a_remote_receiver_hands_back_to_a_local_one(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    hand_over(&cluster, &b, &a, &a, false).await;
    stop(a).await;
    stop(b).await;
}

async fn a_local_receiver_hands_back_to_a_local_one(cluster: Arc<Cluster>) {
    let a = cluster.node().await;
    hand_over(&cluster, &a, &a, &a, false).await;
    hand_over(&cluster, &a, &a, &a, true).await;
    stop(a).await;
}

async fn a_receivers_node_stops_in_mid_flow(cluster: Arc<Cluster>) {
    let (a, b, c) = (cluster.node().await, cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let (leaving, staying) =
        (oracle.receive(receiver(&b).await), oracle.receive(receiver(&c).await));
    let sender = sender(&a).await;
    sender.wait_for_receivers(2).await.unwrap();
    let sending = oracle.send(&sender, 0, 0..cluster.kind.scale(20_000, 5000), |n| n as usize % 50);
    until("some have come", || oracle.received() > 1000).await;
    stop(b).await;
    let mut receiver = leaving.await.unwrap();
    assert!(matches!(receiver.recv().await, Err(RecvError::NodeStopped)));
    sending.await.unwrap();
    oracle.settle(&a, "n").await;
    stop(c).await;
    staying.await.unwrap();
    stop(a).await;
}

async fn a_senders_node_stops_in_mid_flow(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(receiver(&b).await);
    let sender = sender(&a).await;
    let sending = oracle.send(&sender, 0, 0..1_000_000, |n| n as usize % 50);
    until("some have come", || oracle.received() > 1000).await;
    stop(a.clone()).await;
    sending.await.unwrap();
    assert!(sender.is_closed() && sender.send(message(9, 0, 0)).await.is_err());
    sender.closed().await;
    oracle.settle(&a, "n").await;
    stop(b).await;
}

async fn a_receivers_node_dies(cluster: Arc<Cluster>) {
    let a = cluster.node_with(|config| {
        config.times.silence = Duration::from_secs(1);
        config.times.lane = Duration::from_secs(2);
    });
    let (a, b, c) = (a.await, cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let dying = oracle.receive(receiver(&b).await);
    let sender = sender(&a).await;
    let sending = oracle.send(&sender, 0, 0..5000, |n| n as usize % 50);
    until("some have come", || oracle.received() > 1000).await;
    dying.abort();
    let id = b.id();
    drop(b);
    let _aborted = dying.await;
    let incarnation = dchan_core::Incarnation(1);
    cluster.list.change(&[dchan_core::Change::NodeGone { id, incarnation }]);
    let _receiving = oracle.receive(receiver(&c).await);
    sending.await.unwrap();
    until("all is settled", || a.ledger("n").in_flight == 0).await;
    oracle.check(&[a.ledger("n")]).await;
    // A node that is dropped ends its connections: only what it had not confirmed is unknown.
    let ledger = a.ledger("n");
    assert_eq!(ledger.accepted, 5000);
    // Once for each link that was down for too long: on a busy machine that may be another one, too.
    let given_up: u64 = a.metrics().peers.values().map(|peer| peer.given_up).sum();
    assert!(ledger.unknown <= 500 * given_up.max(1), "{ledger}, {given_up} given up");
    assert_eq!(ledger.dropped.total(), 0, "{ledger}");
    let flushed = sender.flush().await;
    assert_eq!(flushed.is_err(), ledger.unknown > 0, "{flushed:?} {ledger}");
    stop(a).await;
    stop(c).await;
}

async fn at_least_once_is_redelivered(cluster: Arc<Cluster>) {
    let a = cluster.node_with(|config| {
        config.times.silence = Duration::from_secs(1);
        config.times.lane = Duration::from_secs(2);
    });
    let (a, b, c) = (a.await, cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let mut dying = b.receiver::<Message>("n").capacity(100).settle_on_next().await.unwrap();
    let sender = a.sender::<Message>("n").at_least_once().await.unwrap();
    let sending = oracle.send(&sender, 0, 0..1000, |n| n as usize % 50);
    oracle.take(&mut dying, 10).await;
    until("its window is full", || oracle.accepted() >= 60).await;
    // Nobody hears from it again, and it is not told that anything is wrong.
    cluster.black_hole(0, 1);
    cluster.black_hole(1, 0);
    let incarnation = dchan_core::Incarnation(1);
    cluster.list.change(&[dchan_core::Change::NodeGone { id: b.id(), incarnation }]);
    let receiving = oracle.receive(receiver(&c).await);
    sending.await.unwrap();
    until("all is settled", || a.ledger("n").in_flight == 0).await;
    let ledger = a.ledger("n");
    assert_eq!((ledger.unknown, ledger.dropped.total()), (0, 0), "{ledger}");
    let distinct = || {
        let logs = oracle.logs();
        logs.iter().flatten().map(|entry| entry.number).collect::<BTreeSet<_>>().len()
    };
    // What was taken is written down a moment later.
    until("all of them came", || distinct() == 1000).await;
    let logs = oracle.logs();
    let redelivered = logs.iter().flatten().filter(|entry| entry.redelivered).count();
    assert!(redelivered > 0, "what may have been taken comes again");
    receiving.abort();
    drop((dying, b));
    stop(a).await;
    stop(c).await;
}

async fn a_node_stops_with_both_ends(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    // In the midst of a batch, and never asked again: what it holds goes to the other.
    let mut held = receiver(&a).await;
    let sender = sender(&a).await;
    oracle.send(&sender, 0, 0..100, |_| 8).await.unwrap();
    oracle.take(&mut held, 10).await;
    let _receiving = oracle.receive(receiver(&b).await);
    oracle.send(&sender, 0, 100..200, |_| 8).await.unwrap();
    let (last, stopping) = (a.clone(), tokio::spawn(a.shutdown()));
    until("it stops", || sender.is_closed()).await;
    assert!(matches!(held.recv().await, Err(RecvError::NodeStopped)));
    stopping.await.unwrap().unwrap();
    assert_eq!(last.tasks(), 0);
    oracle.settle(&last, "n").await;
    stop(b).await;
}

async fn senders_and_receivers_within_a_process(cluster: Arc<Cluster>) {
    let a = cluster.node().await;
    let oracle = Oracle::new();
    let mut slow = a.receiver::<Message>("n").capacity(10).await.unwrap();
    let sender = sender(&a).await;
    let sending = oracle.send(&sender, 0, 0..2000, |n| n as usize % 50);
    until("its window is full", || oracle.accepted() == 10).await;
    oracle.take(&mut slow, 30).await;
    let _receiving = oracle.receive(slow);
    let permit = sender.reserve().await.unwrap();
    permit.send(message(1, 0, 0)).unwrap();
    oracle.note_accepted(1, 0);
    let mut receipt = sender.send_tracked(message(1, 1, 0)).await.unwrap();
    oracle.note_accepted(1, 1);
    receipt.taken_within(Duration::from_secs(20)).await.unwrap();
    sending.await.unwrap();
    sender.flush().await.unwrap();
    oracle.settle(&a, "n").await;
    stop(a).await;
}

/// A node is stopped in each state of its handles.
async fn nothing_is_left_of_any_path(cluster: Arc<Cluster>) {
    for round in 0..8 {
        let (a, b) = (cluster.node().await, cluster.node().await);
        let mut receiving = receiver(&b).await;
        let sending = sender(&a).await;
        if round & 1 > 0 {
            sending.send(message(0, 0, 10)).await.unwrap();
        }
        if round & 2 > 0 && round & 1 > 0 {
            receiving.recv().await.unwrap();
        }
        if round & 4 > 0 {
            receiving.close();
            drop(sending);
        }
        let (first, last) = (a.clone(), b.clone());
        let (stopped_b, stopped_a) = if round & 2 > 0 {
            (b.shutdown().await, a.shutdown().await)
        } else {
            // It waits in vain if nobody takes the message.
            let within = if round & 1 > 0 { Duration::from_secs(2) } else { PATIENCE };
            let stopped_a = a.shutdown_within(within).await;
            (b.shutdown().await, stopped_a)
        };
        assert_eq!((first.tasks(), last.tasks()), (0, 0), "round {round}");
        assert!(first.ledger("n").balances(), "round {round}");
        assert!(stopped_b.is_ok(), "round {round}: {stopped_b:?}");
        // Nobody takes the message: that is said.
        let untaken = round & 1 > 0 && round & 2 == 0;
        assert_eq!(stopped_a.is_err(), untaken, "round {round}: {stopped_a:?}");
    }
}
