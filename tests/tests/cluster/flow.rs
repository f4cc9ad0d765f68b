//! Messages between nodes that nobody disturbs.

use std::{sync::Arc, time::Duration};

use dchan_conformance::cluster::{Cluster, Entry, Message, Oracle, PATIENCE, message, stop, until};
use dchan_core::{Config, ReceiptError, RecvError, SendError, Times, TrySendError};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

dchan_conformance::cluster_tests![
    messages_come_in_order,
    two_receivers_share,
    idle_receivers_get_their_share,
    two_senders_share_a_receiver,
    a_closed_receiver_drains,
    receipts_settle,
    receipts_of_one_batch_settle_one_by_one,
    what_cannot_be_decoded_is_told,
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

/// Each is told of at once, not with the next heartbeat: there is none.
async fn receipts_of_one_batch_settle_one_by_one(cluster: Arc<Cluster>) {
    let quiet = |config: &mut Config| {
        let hour = Duration::from_secs(3600);
        let Times { heartbeat, suspect, silence, lane, .. } = &mut config.times;
        (*heartbeat, *suspect, *silence, *lane) = (hour, 2 * hour, 3 * hour, 4 * hour);
    };
    let (a, b) = (cluster.node_with(quiet).await, cluster.node_with(quiet).await);
    let oracle = Oracle::new();
    let mut receiver = b.receiver::<Message>("n").await.unwrap();
    let sender = a.sender::<Message>("n").await.unwrap();
    for round in 0..10 {
        let mut receipts = Vec::new();
        for number in round * 50..(round + 1) * 50 {
            receipts.push(sender.send_tracked(message(0, number, 10)).await.unwrap());
            oracle.note_accepted(0, number);
        }
        for mut receipt in receipts {
            oracle.take(&mut receiver, 1).await;
            receipt.taken_within(PATIENCE).await.unwrap();
        }
    }
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
