//! Messages between nodes that nobody disturbs.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use dchan_conformance::cluster::{Cluster, Entry, Message, Oracle, PATIENCE, message, stop, until};
use dchan_core::{ReceiptError, RecvError, SendError, SendTimeoutError, TrySendError};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

dchan_conformance::cluster_tests![
    messages_come_in_order,
    two_receivers_share,
    idle_receivers_get_their_share,
    two_senders_share_a_receiver,
    nobody_waits_for_credit_that_is_there,
    what_nobody_waits_for_any_more_can_be_used,
    a_slow_receiver_blocks_only_its_senders,
    sending_waits_for_the_first_receiver,
    one_message_at_a_time,
    a_closed_receiver_drains,
    receipts_settle,
    what_cannot_be_decoded_is_told,
    permits_keep_room,
    messages_of_every_size,
    many_namespaces,
    links_of_different_windows_flow,
    the_ledger_balances_at_any_time,
];

async fn messages_come_in_order(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let receiving = oracle.receive(b.receiver("n").await.unwrap());
    let sender = a.sender::<Message>("n").await.unwrap();
    oracle
        .send(&sender, 0, 0..cluster.kind.scale(20_000, 10_000), |n| n as usize % 40)
        .await
        .unwrap();
    sender.flush().await.unwrap();
    oracle.settle(&a, "n").await;
    stop(b).await;
    receiving.await.unwrap();
    stop(a).await;
}

/// What one confirms in large steps must not be more than what the other waits for.
async fn links_of_different_windows_flow(cluster: Arc<Cluster>) {
    let small = cluster.node_with(|config| config.limits.link = 256 << 10).await;
    let large = cluster.node_with(|config| config.limits.link = 64 << 20).await;
    for (from, to, name) in [(&small, &large, "up"), (&large, &small, "down")] {
        let oracle = Oracle::new();
        let _receiving = oracle.receive(to.receiver(name).await.unwrap());
        let sender = from.sender::<Message>(name).await.unwrap();
        oracle.send(&sender, 0, 0..500, |n| (n as usize % 7) * 10_000).await.unwrap();
        oracle.settle(from, name).await;
    }
    stop(small).await;
    stop(large).await;
}

async fn two_receivers_share(cluster: Arc<Cluster>) {
    let (a, b, c) = (cluster.node().await, cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let receiving = [
        oracle.receive(b.receiver("n").capacity(64).await.unwrap()),
        oracle.receive(c.receiver("n").capacity(64).await.unwrap()),
    ];
    let sender = a.sender::<Message>("n").await.unwrap();
    sender.wait_for_receivers(2).await.unwrap();
    // Both are linked before it begins, or the first one might get everything.
    until("both are linked", || a.links().borrow().values().filter(|l| l.alive).count() == 2).await;
    let shares = || oracle.logs().iter().map(Vec::len).collect::<Vec<_>>();
    // One of them may be kept from running for a while.
    for round in 0.. {
        oracle.send(&sender, 0, round * 5000..(round + 1) * 5000, |_| 8).await.unwrap();
        oracle.settle(&a, "n").await;
        if shares().iter().all(|share| *share > 500) {
            break;
        }
        assert!(round < 5, "{:?}", shares());
    }
    for node in [b, c, a] {
        stop(node).await;
    }
    for receiving in receiving {
        receiving.await.unwrap();
    }
}

async fn two_senders_share_a_receiver(cluster: Arc<Cluster>) {
    let (a, b, c) = (cluster.node().await, cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(c.receiver("n").capacity(16).await.unwrap());
    let mut senders = Vec::new();
    let mut sending = JoinSet::new();
    for (handle, node) in [(0, &a), (1, &a), (2, &b)] {
        let sender = node.sender::<Message>("n").await.unwrap();
        sending.spawn(oracle.send(&sender, handle, 0..1000, |_| 8));
        senders.push(sender);
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap().unwrap();
    }
    until("all is in", || oracle.received() == oracle.accepted()).await;
    until("a is settled", || a.ledger("n").in_flight == 0).await;
    until("b is settled", || b.ledger("n").in_flight == 0).await;
    oracle.check(&[a.ledger("n"), b.ledger("n")]).await;
    assert_eq!((a.ledger("n").taken, b.ledger("n").taken), (2000, 1000));
    for node in [a, b, c] {
        stop(node).await;
    }
}

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

async fn a_closed_receiver_drains(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let mut receiver = b.receiver::<Message>("n").capacity(100).await.unwrap();
    let sender = a.sender::<Message>("n").await.unwrap();
    oracle.send(&sender, 0, 0..50, |_| 10).await.unwrap();
    oracle.take(&mut receiver, 10).await;
    receiver.close();
    let mut receiver =
        timeout(Duration::from_secs(30), oracle.receive(receiver)).await.unwrap().unwrap();
    assert_eq!(receiver.recv().await.unwrap(), None);
    until("it is off the list", || {
        matches!(sender.try_send(message(9, 0, 0)), Err(TrySendError::NoReceiver(_)))
    })
    .await;
    // What had not arrived waits for another receiver.
    let _receiving = oracle.receive(b.receiver("n").await.unwrap());
    oracle.settle(&a, "n").await;
    stop(a).await;
    stop(b).await;
}

async fn receipts_settle(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let mut receiver = b.receiver::<Message>("n").await.unwrap();
    let sender = a.sender::<Message>("n").await.unwrap();
    for number in 0..20 {
        let mut receipt = sender.send_tracked(message(0, number, 10)).await.unwrap();
        oracle.note_accepted(0, number);
        let early = receipt.taken_within(Duration::from_millis(5)).await;
        assert!(matches!(early, Err(ReceiptError::TimedOut(_))), "{early:?}");
        oracle.take(&mut receiver, 1).await;
        receipt.taken_within(Duration::from_secs(20)).await.unwrap();
    }
    // One in the midst of a batch settles without anything after it.
    let mut receipts = Vec::new();
    for number in 20..30 {
        receipts.push(sender.send_tracked(message(0, number, 10)).await.unwrap());
        oracle.note_accepted(0, number);
    }
    oracle.take(&mut receiver, 5).await;
    for receipt in &mut receipts[..5] {
        receipt.taken_within(Duration::from_secs(20)).await.unwrap();
    }
    assert!(receipts[5..].iter().all(|receipt| receipt.outcome().is_none()));
    oracle.take(&mut receiver, 5).await;
    oracle.settle(&a, "n").await;
    drop(receiver);
    stop(a).await;
    stop(b).await;
}

async fn what_cannot_be_decoded_is_told(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    for node in [&a, &b] {
        // From another process, and from this one.
        let mut receiver = node.receiver::<u64>("n").await.unwrap();
        let (numbers, texts) =
            (a.sender::<u64>("n").await.unwrap(), a.sender::<String>("n").await.unwrap());
        let before = a.ledger("n");
        numbers.send(1).await.unwrap();
        let mut receipt = texts.send_tracked("not a number".into()).await.unwrap();
        texts.send("nor this".into()).await.unwrap();
        numbers.send(2).await.unwrap();
        assert_eq!(receiver.recv().await.unwrap(), Some(1));
        for _ in 0..2 {
            let found = receiver.recv().await;
            assert!(
                matches!(found, Err(RecvError::Undecodable { from }) if from == a.id()),
                "{found:?}"
            );
        }
        assert_eq!(receiver.recv().await.unwrap(), Some(2));
        let outcome = receipt.taken_within(Duration::from_secs(20)).await;
        assert_eq!(outcome, Err(ReceiptError::Undecodable));
        until("all is settled", || a.ledger("n").in_flight == 0).await;
        let ledger = a.ledger("n");
        assert_eq!(ledger.taken - before.taken, 2, "{ledger}");
        assert_eq!(ledger.dropped.decode - before.dropped.decode, 2, "{ledger}");
        assert!(ledger.balances(), "{ledger}");
        receiver.hand_back().await;
    }
    stop(b).await;
    stop(a).await;
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

async fn messages_of_every_size(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver("n").await.unwrap());
    let sender = a.sender::<Message>("n").await.unwrap();
    const SIZES: [usize; 9] =
        [0, 64 << 10, (64 << 10) + 1, 10 << 20, 0, 1, (128 << 10) + 17, 2 << 20, 100];
    oracle.send(&sender, 0, 0..18, |n| SIZES[n as usize % 9]).await.unwrap();
    let small = a.sender::<Message>("n").await.unwrap();
    let sending = [
        oracle.send(&sender, 1, 0..10, |_| 1 << 20),
        oracle.send(&small, 2, 0..2000, |n| n as usize % 100),
    ];
    for sent in sending {
        sent.await.unwrap();
    }
    oracle.settle(&a, "n").await;
    stop(b).await;
    stop(a).await;

    let c = cluster.node_with(|config| config.limits.message = 1000).await;
    let d = cluster.node().await;
    let mut receiver = d.receiver::<Message>("m").await.unwrap();
    let sender = c.sender::<Message>("m").await.unwrap();
    let error = sender.send(message(0, 0, 2000)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("1000") && text.contains("200"), "it names both: {text}");
    assert!(matches!(error, SendError::TooLarge { size: 2000.., limit: 1000, .. }));
    let permit = sender.reserve().await.unwrap();
    assert!(matches!(
        permit.send(message(0, 0, 2000)),
        Err(TrySendError::Never(SendError::TooLarge { .. }))
    ));
    sender.send(message(0, 0, 900)).await.unwrap();
    assert_eq!(receiver.recv().await.unwrap().unwrap().2.len(), 900);
    drop(receiver);
    stop(c).await;
    stop(d).await;
}

async fn many_namespaces(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let mut tasks = JoinSet::new();
    for index in 0..200 {
        let (a, b) = (a.clone(), b.clone());
        tasks.spawn(async move {
            let name = format!("n{index}");
            let oracle = Oracle::new();
            let receiving = oracle.receive(b.receiver(&name).await.unwrap());
            let sender = a.sender::<Message>(&name).await.unwrap();
            oracle.send(&sender, index, 0..100, |n| n as usize).await.unwrap();
            oracle.settle(&a, &name).await;
            receiving.abort();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(cluster.connections(0, 1), 1);
    stop(a).await;
    stop(b).await;
}

async fn the_ledger_balances_at_any_time(cluster: Arc<Cluster>) {
    let (a, b, c) = (cluster.node().await, cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let sender = a.sender::<Message>("n").await.unwrap();
    let sending = oracle.send(&sender, 0, 0..3000, |n| n as usize % 300);
    let watching = tokio::spawn({
        let (a, sender) = (a.clone(), sender.clone());
        async move {
            loop {
                for ledger in [sender.ledger(), a.ledger("n")] {
                    assert!(ledger.balances(), "{ledger}");
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let mut turn = 0;
    while !sending.is_finished() {
        // Here, there, and in the sender's own process.
        let node = [&b, &c, &a][turn % 3];
        turn += 1;
        let mut receiver = node.receiver::<Message>("n").capacity(50).await.unwrap();
        let log = oracle.log();
        for _ in 0..100 {
            let Ok(found) = timeout(Duration::from_millis(200), receiver.recv_delivery()).await
            else {
                break;
            };
            let delivery = found.unwrap().unwrap();
            log.lock().push(dchan_conformance::cluster::Entry::of(&delivery));
        }
        if turn.is_multiple_of(2) {
            receiver.hand_back().await;
        }
    }
    let _receiving = oracle.receive(c.receiver("n").await.unwrap());
    oracle.settle(&a, "n").await;
    assert!(!watching.is_finished(), "every ledger balanced");
    watching.abort();
    stop(a).await;
    stop(b).await;
    stop(c).await;
}

/// A lane that gave its credit back, because others wanted it and it had not been used, gets some again
/// when it is its turn: otherwise its receiver would get nothing for as long as another one has room.
async fn idle_receivers_get_their_share(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let (c, d) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let _receiving = [
        oracle.receive(c.receiver("n").capacity(100).await.unwrap()),
        oracle.receive(d.receiver("n").capacity(100).await.unwrap()),
    ];
    let senders =
        [a.sender::<Message>("n").await.unwrap(), b.sender::<Message>("n").await.unwrap()];
    // Slowly enough that there is always room somewhere.
    let (mut number, got_all) = (0, || {
        let of = |log: &Vec<Entry>, handle| log.iter().any(|entry| entry.handle == handle);
        oracle.logs().iter().all(|log| of(log, 0) && of(log, 1))
    });
    while !got_all() {
        assert!(number < 2000, "each sender has fed one receiver only");
        for (handle, sender) in (0..).zip(&senders) {
            sender.send(message(handle, number, 8)).await.unwrap();
            oracle.note_accepted(handle, number);
        }
        number += 1;
        sleep(Duration::from_millis(1)).await;
    }
    for sender in &senders {
        sender.flush().await.unwrap();
    }
    until("all is in", || oracle.received() == oracle.accepted()).await;
    oracle.check(&[a.ledger("n"), b.ledger("n")]).await;
    for node in [a, b, c, d] {
        stop(node).await;
    }
}
