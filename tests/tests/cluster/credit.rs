//! Room at a receiver: who waits for it, who keeps it, and who finds none.

use std::{sync::Arc, time::Duration};

use dchan_conformance::cluster::{Cluster, Message, Oracle, PATIENCE, message, stop, until};
use dchan_core::{SendTimeoutError, TrySendError};
use tokio::{task::JoinSet, time::timeout};

dchan_conformance::cluster_tests![
    nobody_waits_for_credit_that_is_there,
    what_nobody_waits_for_any_more_can_be_used,
    a_slow_receiver_blocks_only_its_senders,
    sending_waits_for_the_first_receiver,
    one_message_at_a_time,
    permits_keep_room,
];

/// Some who wait, who do not, and who keep room for later, where there is room for one. Nobody gives up, and
/// nothing else happens until all have had their turn: one who is forgotten waits for ever.
async fn nobody_waits_for_credit_that_is_there(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    for (name, node) in [("here", &a), ("there", &b)] {
        let oracle = Arc::new(Oracle::new());
        let _receiving = oracle.receive(node.receiver(name).capacity(1).await.unwrap());
        let sender = a.sender::<Message>(name).await.unwrap();
        for round in 0..cluster.kind.scale(1000, 300) {
            let mut sending = JoinSet::new();
            for handle in 0..4 {
                let (sender, oracle) = (sender.clone(), oracle.clone());
                sending.spawn(async move {
                    let next = message(handle, round, 8);
                    match handle {
                        0 => sender.reserve().await.unwrap().send(next).unwrap(),
                        1 => {
                            while sender.try_send(next.clone()).is_err() {
                                tokio::task::yield_now().await;
                            }
                        }
                        _ => sender.send(next).await.unwrap(),
                    }
                    oracle.note_accepted(handle, round);
                });
            }
            let all = timeout(PATIENCE, sending.join_all());
            assert!(all.await.is_ok(), "in round {round} somebody waits for ever");
        }
        oracle.settle(&a, name).await;
    }
    stop(b).await;
    stop(a).await;
}

/// Credit that came for one who waited, and gave up.
async fn what_nobody_waits_for_any_more_can_be_used(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let mut receiver = b.receiver("n").capacity(4).await.unwrap();
    let sender = a.sender::<Message>("n").await.unwrap();
    for number in 0..4 {
        sender.send(message(0, number, 8)).await.unwrap();
        oracle.note_accepted(0, number);
    }
    let mut waits = Box::pin(sender.send(message(1, 0, 8)));
    assert!(timeout(Duration::from_millis(10), &mut waits).await.is_err(), "there is no room");
    oracle.take(&mut receiver, 4).await;
    until("there is room", || a.metrics().namespaces[sender.namespace()].credit == 4).await;
    drop(waits);
    for number in 4..8 {
        sender.try_send(message(0, number, 8)).unwrap();
        oracle.note_accepted(0, number);
    }
    assert!(matches!(sender.try_send(message(0, 8, 8)), Err(TrySendError::Full(_))));
    oracle.take(&mut receiver, 4).await;
    oracle.settle(&a, "n").await;
    stop(b).await;
    stop(a).await;
}

async fn a_slow_receiver_blocks_only_its_senders(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let (slow, quick) = (Oracle::new(), Oracle::new());
    let mut stopped = b.receiver::<Message>("slow").capacity(10).await.unwrap();
    let _receiving = quick.receive(b.receiver("quick").await.unwrap());
    let blocked = a.sender::<Message>("slow").await.unwrap();
    let sending = slow.send(&blocked, 0, 0..100, |_| 100);
    until("the window is full", || slow.accepted() == 10).await;
    assert!(matches!(blocked.try_send(message(9, 0, 0)), Err(TrySendError::Full(_))));
    let wait = Duration::from_millis(50);
    let late = blocked.send_timeout(message(9, 0, 0), wait).await;
    assert!(matches!(late, Err(SendTimeoutError::Timeout((9, 0, _)))));
    let sender = a.sender::<Message>("quick").await.unwrap();
    quick.send(&sender, 0, 0..5000, |_| 100).await.unwrap();
    quick.settle(&a, "quick").await;
    assert_eq!(slow.accepted(), 10, "the stopped receiver has room for ten");
    slow.take(&mut stopped, 100).await;
    sending.await.unwrap();
    slow.settle(&a, "slow").await;
    drop(stopped);
    stop(b).await;
    stop(a).await;
}

async fn sending_waits_for_the_first_receiver(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let sender = a.sender::<Message>("n").await.unwrap();
    assert!(matches!(sender.try_send(message(9, 0, 0)), Err(TrySendError::NoReceiver(_))));
    let sending = oracle.send(&sender, 0, 0..10, |_| 0);
    let waiting = timeout(Duration::from_millis(50), sender.wait_for_receivers(1)).await;
    assert!(waiting.is_err() && oracle.accepted() == 0);
    let _receiving = oracle.receive(b.receiver("n").await.unwrap());
    sending.await.unwrap();
    sender.wait_for_receivers(1).await.unwrap();
    oracle.settle(&a, "n").await;
    stop(a).await;
    stop(b).await;
}

async fn one_message_at_a_time(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver("n").capacity(1).await.unwrap());
    let senders = [a.sender("n").await.unwrap(), a.sender("n").await.unwrap()];
    let sending: Vec<_> = senders
        .iter()
        .zip(0..)
        .map(|(sender, handle)| oracle.send(sender, handle, 0..200, |n| n as usize))
        .collect();
    for sent in sending {
        sent.await.unwrap();
    }
    oracle.settle(&a, "n").await;
    stop(a).await;
    stop(b).await;
}

async fn permits_keep_room(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let mut receiver = b.receiver::<Message>("n").capacity(2).await.unwrap();
    let sender = a.sender::<Message>("n").await.unwrap();
    let (first, second) = (sender.reserve().await.unwrap(), sender.reserve().await.unwrap());
    assert!(matches!(sender.try_send(message(9, 0, 0)), Err(TrySendError::Full(_))));
    drop(first);
    let third = sender.clone().reserve_owned().await.unwrap();
    // A cut voids credit, not the permits.
    cluster.cut(0, 1);
    let mut kept = Vec::new();
    if let Err(error) = second.send(message(0, 0, 0)) {
        kept.push(error.into_inner());
    } else {
        oracle.note_accepted(0, 0);
    }
    assert!(kept.is_empty(), "the lane lives on");
    let sender = third.send(message(0, 1, 0)).unwrap();
    oracle.note_accepted(0, 1);
    oracle.take(&mut receiver, 2).await;
    // Room that was given back is there for others.
    for number in 2..50 {
        drop(sender.reserve().await.unwrap());
        let permit = sender.clone().reserve_owned().await.unwrap();
        drop(permit.release());
        sender.reserve().await.unwrap().send(message(0, number, 0)).unwrap();
        oracle.note_accepted(0, number);
        oracle.take(&mut receiver, 1).await;
    }
    oracle.settle(&a, "n").await;
    drop(receiver);
    stop(a).await;
    stop(b).await;
}
