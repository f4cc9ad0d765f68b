//! Connections that break in every way while messages move.

use std::{sync::Arc, time::Duration};

use dchan_conformance::cluster::{Cluster, Kind, Message, Oracle, PATIENCE, stop, until};
use dchan_core::{Change, Config, Faults, Namespace, Node};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

dchan_conformance::cluster_tests![
    a_hundred_cuts,
    half_open_connections,
    a_black_hole_one_way,
    a_partition_longer_than_the_lane_time,
    one_end_gives_up_and_the_other_does_not,
    simultaneous_starts,
    one_connection_after_fifty_cuts,
    a_long_rest,
    permits_across_cuts,
    a_receiver_off_the_list_and_back,
];

/// What each node knows of the link to the other: which connection it is the how-manieth of.
async fn both_linked(cluster: &Cluster, a: &Node, b: &Node) {
    let alive = |node: &Node, peer: &Node| {
        node.links().borrow().get(&peer.id()).is_some_and(|link| link.alive)
    };
    until("both are linked", || alive(a, b) && alive(b, a)).await;
    until("one connection is left", || cluster.connections(0, 1) == 1).await;
}

async fn a_hundred_cuts(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    if cluster.kind == Kind::Memory {
        let delay = Duration::ZERO..Duration::from_millis(2);
        cluster.set_faults(Faults { delay, ..Faults::default() });
    }
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver("n").await.unwrap());
    let (sender, other) = (a.sender::<Message>("n").await.unwrap(), a.sender("n").await.unwrap());
    // The other direction has traffic of its own.
    let back = Oracle::new();
    let _back = back.receive(a.receiver("back").capacity(50).await.unwrap());
    let replies = b.sender::<Message>("back").await.unwrap();
    let total = 50_000;
    let sizes = |n: u64| match n {
        n if n % 5000 == 7 => 1 << 20,
        n if n % 500 == 3 => 70_000,
        n => n as usize % 60,
    };
    let sending = [
        oracle.send(&sender, 0, 0..total, sizes),
        oracle.send(&other, 1, 0..total / 10, |n| n as usize % 3000),
        back.send(&replies, 0, 0..total / 10, |n| n as usize % 100),
    ];
    let mut cuts = 0;
    while cuts < 100 {
        // Each cut is of a connection that stands, and that has carried something.
        let before = oracle.received();
        let moved = timeout(PATIENCE, async {
            while oracle.received() < before + 150 && oracle.received() < total + total / 10 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        moved
            .await
            .unwrap_or_else(|_| panic!("nothing moves after {cuts} cuts: {}", a.ledger("n")));
        cluster.cut(0, 1);
        cuts += 1;
    }
    for sent in sending {
        sent.await.unwrap();
    }
    oracle.settle(&a, "n").await;
    back.settle(&b, "back").await;
    both_linked(&cluster, &a, &b).await;
    stop(a).await;
    stop(b).await;
}

async fn half_open_connections(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver("n").await.unwrap());
    let sender = a.sender::<Message>("n").await.unwrap();
    let mut from = 0;
    for (told, other) in [(0, 1), (1, 0), (0, 1), (1, 0)] {
        let before = oracle.received();
        let sending = oracle.send(&sender, 0, from..from + 3000, |n| n as usize % 500);
        until("it flows", || oracle.received() > before + 100).await;
        cluster.half_open(told, other);
        sending.await.unwrap();
        from += 3000;
        oracle.settle(&a, "n").await;
        // Old connections that one end took for alive are gone by now.
        cluster.heal(0, 1);
        both_linked(&cluster, &a, &b).await;
    }
    stop(a).await;
    stop(b).await;
}

async fn a_black_hole_one_way(cluster: Arc<Cluster>) {
    let set = |config: &mut dchan_core::Config| config.times.silence = Duration::from_secs(1);
    let (a, b) = (cluster.node_with(set).await, cluster.node_with(set).await);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver("n").await.unwrap());
    let sender = a.sender::<Message>("n").await.unwrap();
    let mut from = 0;
    for (source, sink) in [(0, 1), (1, 0)] {
        let before = oracle.received();
        let sending = oracle.send(&sender, 0, from..from + 3000, |n| n as usize % 500);
        until("it flows", || oracle.received() > before + 100).await;
        cluster.black_hole(source, sink);
        sleep(Duration::from_millis(2500)).await;
        cluster.heal(0, 1);
        sending.await.unwrap();
        from += 3000;
        oracle.settle(&a, "n").await;
        both_linked(&cluster, &a, &b).await;
    }
    stop(a).await;
    stop(b).await;
}

async fn a_partition_longer_than_the_lane_time(cluster: Arc<Cluster>) {
    let set = |config: &mut dchan_core::Config| {
        config.times.silence = Duration::from_millis(800);
        config.times.lane = Duration::from_millis(1500);
        config.times.handshake = Duration::from_secs(1);
        config.times.redial = (Duration::from_millis(20), Duration::from_millis(100));
    };
    let (a, b) = (cluster.node_with(set).await, cluster.node_with(set).await);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver("n").capacity(100).await.unwrap());
    let sender = a.sender::<Message>("n").await.unwrap();
    let sending = oracle.send(&sender, 0, 0..20_000, |_| 50);
    until("it flows", || oracle.received() > 200).await;
    cluster.black_hole(0, 1);
    cluster.black_hole(1, 0);
    sleep(Duration::from_secs(4)).await;
    cluster.heal(0, 1);
    // The receiver is on the list still: it gets the rest, through another lane.
    sending.await.unwrap();
    until("all is settled", || a.ledger("n").in_flight == 0).await;
    let ledger = a.ledger("n");
    assert_eq!((ledger.accepted, ledger.dropped.total()), (20_000, 0), "{ledger}");
    // What the receiver has room for, each time that one of them gives the lane up.
    let given_up = |node: &Node, peer: &Node| node.metrics().peers[&peer.id()].given_up;
    let times = given_up(&a, &b).max(given_up(&b, &a));
    assert!(ledger.unknown <= 100 * times, "{ledger}, {times} times given up");
    oracle.check(&[ledger]).await;
    stop(a).await;
    stop(b).await;
}

/// Whether two nodes keep the one link that they have.
async fn stays_linked(cluster: &Cluster, a: &Node, b: &Node) -> bool {
    let (mut of_a, mut of_b) = (a.links(), b.links());
    of_a.mark_unchanged();
    of_b.mark_unchanged();
    let breaks = async {
        loop {
            tokio::select! {
                changed = of_a.changed() => changed.unwrap(),
                changed = of_b.changed() => changed.unwrap(),
            }
            let alive = |links: &dchan_core::Links| links.values().all(|link| link.alive);
            if !alive(&of_a.borrow()) || !alive(&of_b.borrow()) || cluster.connections(0, 1) != 1 {
                return;
            }
        }
    };
    timeout(Duration::from_millis(60), breaks).await.is_err()
}

/// Two dials that cross settle on one after both nodes have seen a link: once, or a few times on a machine
/// that is short of time; then nobody comes upon the thought of another one.
async fn comes_to_rest(cluster: &Cluster, a: &Node, b: &Node) {
    for _ in 0..10 {
        both_linked(cluster, a, b).await;
        if stays_linked(cluster, a, b).await {
            // The other one goes when its goodbye is said.
            until("one connection is left", || cluster.connections(0, 1) == 1).await;
            return;
        }
    }
    panic!("the link flaps");
}

/// The clocks of two nodes never agree on when a link has been down for too long.
async fn one_end_gives_up_and_the_other_does_not(cluster: Arc<Cluster>) {
    let hasty = |config: &mut Config| {
        config.times.suspect = Duration::from_millis(500);
        config.times.silence = Duration::from_secs(1);
        config.times.lane = Duration::from_secs(1);
    };
    let (a, b) = (cluster.node().await, cluster.node_with(hasty).await);
    let [there, back] = [Oracle::new(), Oracle::new()];
    let receiving = [
        there.receive(b.receiver("there").await.unwrap()),
        back.receive(a.receiver("back").await.unwrap()),
    ];
    let forth = a.sender::<Message>("there").await.unwrap();
    let reply = b.sender::<Message>("back").await.unwrap();
    there.send(&forth, 0, 0..10, |_| 10).await.unwrap();
    back.send(&reply, 0, 0..10, |_| 10).await.unwrap();
    there.settle(&a, "there").await;
    back.settle(&b, "back").await;
    cluster.black_hole(0, 1);
    cluster.black_hole(1, 0);
    until("the hasty one gives up", || b.metrics().peers[&a.id()].given_up > 0).await;
    assert_eq!(a.metrics().peers[&b.id()].given_up, 0);
    cluster.heal(0, 1);
    there.send(&forth, 0, 10..20, |_| 10).await.unwrap();
    back.send(&reply, 0, 10..20, |_| 10).await.unwrap();
    there.settle(&a, "there").await;
    back.settle(&b, "back").await;
    receiving.iter().for_each(JoinHandle::abort);
    drop((forth, reply));
    stop(a).await;
    stop(b).await;
}

async fn simultaneous_starts(cluster: Arc<Cluster>) {
    // That a connection of datagrams is gone is known by its silence: some seconds each time.
    let rounds = if cluster.kind == Kind::Quic { 15 } else { 50 };
    for _ in 0..rounds {
        let cluster = Cluster::again(&cluster);
        let (a, b) = tokio::join!(cluster.node(), cluster.node());
        let oracles = [Oracle::new(), Oracle::new()];
        let (on_a, on_b) = tokio::join!(a.receiver("x"), b.receiver("y"));
        let on_a = oracles[0].receive(on_a.unwrap());
        let on_b = oracles[1].receive(on_b.unwrap());
        let (x, y) = tokio::join!(b.sender::<Message>("x"), a.sender::<Message>("y"));
        let (x, y) = (x.unwrap(), y.unwrap());
        let sending =
            [oracles[0].send(&x, 0, 0..20, |_| 10), oracles[1].send(&y, 0, 0..20, |_| 10)];
        for sent in sending {
            sent.await.unwrap();
        }
        comes_to_rest(&cluster, &a, &b).await;
        oracles[0].settle(&b, "x").await;
        oracles[1].settle(&a, "y").await;
        on_a.abort();
        on_b.abort();
        let (_, _) = tokio::join!(stop(a), stop(b));
    }
}

async fn one_connection_after_fifty_cuts(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracles = [Oracle::new(), Oracle::new()];
    let _on_a = oracles[0].receive(a.receiver("x").await.unwrap());
    let _on_b = oracles[1].receive(b.receiver("y").await.unwrap());
    // Both have a reason to dial.
    let (x, y) = (b.sender::<Message>("x").await.unwrap(), a.sender::<Message>("y").await.unwrap());
    for cut in 0..50 {
        let (first, last) = (cut * 10, cut * 10 + 10);
        oracles[0].send(&x, 0, first..last, |_| 10).await.unwrap();
        oracles[1].send(&y, 0, first..last, |_| 10).await.unwrap();
        until("there is something to cut", || cluster.connections(0, 1) > 0).await;
        cluster.cut(0, 1);
    }
    oracles[0].settle(&b, "x").await;
    oracles[1].settle(&a, "y").await;
    comes_to_rest(&cluster, &a, &b).await;
    stop(a).await;
    stop(b).await;
}

async fn a_long_rest(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver("n").await.unwrap());
    let sender = a.sender::<Message>("n").await.unwrap();
    oracle.send(&sender, 0, 0..100, |_| 10).await.unwrap();
    oracle.settle(&a, "n").await;
    let (mut links, rest) = match cluster.kind {
        Kind::Memory => (a.links(), Duration::from_secs(600)),
        Kind::Tcp | Kind::Grpc | Kind::Quic => (a.links(), Duration::from_secs(2)),
    };
    let broke = links.wait_for(|links| links.values().any(|link| !link.alive));
    assert!(timeout(rest, broke).await.is_err(), "the link stays");
    oracle.send(&sender, 0, 100..200, |_| 10).await.unwrap();
    oracle.settle(&a, "n").await;
    stop(a).await;
    stop(b).await;
}

async fn permits_across_cuts(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver("n").capacity(20).await.unwrap());
    let sender = a.sender::<Message>("n").await.unwrap();
    let mut number = 0;
    for round in 0..30 {
        let mut permits = Vec::new();
        for _ in 0..5 {
            permits.push(sender.clone().reserve_owned().await.unwrap());
        }
        if round % 3 == 0 {
            cluster.cut(0, 1);
        }
        for permit in permits.drain(..4) {
            permit.send(dchan_conformance::cluster::message(0, number, 10)).unwrap();
            oracle.note_accepted(0, number);
            number += 1;
        }
    }
    oracle.settle(&a, "n").await;
    stop(a).await;
    stop(b).await;
}

/// What is on its way to a receiver that is taken off the list comes before what is sent once it is back.
async fn a_receiver_off_the_list_and_back(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, cluster.node().await);
    if cluster.kind == Kind::Memory {
        let delay = Duration::ZERO..Duration::from_millis(2);
        cluster.set_faults(Faults { delay, ..Faults::default() });
    }
    let oracle = Oracle::new();
    let receiver = b.receiver("n").capacity(200).await.unwrap();
    let id = receiver.id();
    let _receiving = oracle.receive(receiver);
    let sender = a.sender::<Message>("n").await.unwrap();
    let sending = oracle.send(&sender, 0, 0..20_000, |n| n as usize % 500);
    let namespace = Namespace::new("n").unwrap();
    let view = a.view();
    let listed = || view.borrow().receivers.contains_key(&(namespace.clone(), id));
    for _ in 0..20 {
        let before = oracle.received();
        until("it flows", || oracle.received() >= (before + 200).min(20_000)).await;
        cluster.black_hole(0, 1);
        sleep(Duration::from_millis(3)).await;
        cluster.list.change(&[Change::ReceiverGone { namespace: namespace.clone(), id }]);
        until("it is back", listed).await;
        cluster.cut(0, 1);
        cluster.heal(0, 1);
    }
    sending.await.unwrap();
    oracle.settle(&a, "n").await;
    stop(a).await;
    stop(b).await;
}
