//! Metrics tell what has happened.

use std::time::Duration;

use bytes::Bytes;
use dchan_conformance::cluster::{Message, Oracle, message, run, stop, until};
use dchan_core::{Frame, Metrics, Namespace, Node, PeerMetrics};

use super::memory;

fn name(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn peer(of: &Node, peer: &Node) -> PeerMetrics {
    of.metrics().peers[&peer.id()].clone()
}

fn total(counts: &std::collections::BTreeMap<&'static str, u64>) -> u64 {
    counts.values().sum()
}

#[tokio::test(start_paused = true)]
async fn what_goes_over_a_link_is_counted_at_both_ends() {
    run(memory(), |cluster| async move {
        let (a, b) = (cluster.node().await, cluster.node().await);
        let oracle = Oracle::new();
        let _receiving = oracle.receive(b.receiver::<Message>("n").await.unwrap());
        let sender = a.sender::<Message>("n").await.unwrap();
        // Some are large, and travel in parts.
        oracle.send(&sender, 0, 0..500, |n| if n % 100 == 0 { 200_000 } else { 10 }).await.unwrap();
        oracle.settle(&a, "n").await;
        let (from, to) = (peer(&a, &b), peer(&b, &a));
        assert_eq!((from.sent.messages, to.received.messages), (500, 500));
        assert_eq!((from.received.messages, to.sent.messages), (0, 0));
        assert!(from.sent.bytes > 1_000_000 && to.received.bytes > 1_000_000, "{from:?} {to:?}");
        // Nothing is in any queue: what was given to the transport comes in.
        let all_in = || {
            let (from, to) = (peer(&a, &b), peer(&b, &a));
            let same = |sent: dchan_core::Traffic, received| sent == received;
            same(from.sent, to.received) && same(to.sent, from.received)
        };
        until("what was sent has come in", all_in).await;
        assert!(from.up && to.up && from.links.len() == 1, "{from:?}");
        assert_eq!((total(&from.links), total(&to.links)), (1, 1));
        assert_ne!(from.links, to.links, "one dialled, the other accepted");
        assert_eq!((from.lanes_out, to.lanes_in), (1, 1));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let times = peer(&a, &b).round_trips;
        assert!(times.histogram.count() > 20, "{times:?}");
        assert!(times.min <= times.smoothed && times.last.is_some(), "{times:?}");
        drop(sender);
        let gone = || !a.metrics().namespaces.contains_key(&name("n"));
        until("the namespace is gone", gone).await;
        let ledger = a.metrics().ledger;
        assert_eq!((ledger.accepted, ledger.taken, ledger.balances()), (500, 500, true));
        stop(a).await;
        stop(b).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_shows_who_waits_and_what_lies_there() {
    run(memory(), |cluster| async move {
        let (a, b) = (cluster.node().await, cluster.node().await);
        let sender = a.sender::<Message>("n").await.unwrap();
        let lone = sender.clone();
        let waiting = tokio::spawn(async move { lone.send(message(0, 0, 1)).await });
        let of = |node: &Node| node.metrics().namespaces[&name("n")].clone();
        until("a send waits", || of(&a).waiting == 1).await;
        let idle = of(&a);
        assert_eq!((idle.senders, idle.receivers, idle.credit), (1, 0, 0));
        let mut receiver = b.receiver::<Message>("n").capacity(10).await.unwrap();
        waiting.await.unwrap().unwrap();
        for number in 1..10 {
            sender.send(message(0, number, 1)).await.unwrap();
        }
        until("all are there", || of(&b).queued == 10).await;
        let (sending, receiving) = (of(&a), of(&b));
        assert_eq!((sending.senders, sending.receivers, sending.waiting), (1, 1, 0));
        assert_eq!((sending.credit, sending.ledger.in_flight), (0, 10));
        assert_eq!((receiving.receivers, receiving.receivers_here), (1, 1));
        assert!(receiving.queued_bytes >= 10 && receiving.senders == 0, "{receiving:?}");
        let mut got = Vec::new();
        while got.len() < 4 {
            let want = 4 - got.len();
            receiver.recv_many(&mut got, want).await.unwrap();
        }
        assert_eq!(of(&b).queued, 6);
        while got.len() < 10 {
            receiver.recv_many(&mut got, 10).await.unwrap();
        }
        sender.flush().await.unwrap();
        assert_eq!(of(&b).queued, 0);
        let ledger = of(&a).ledger;
        assert_eq!((ledger.accepted, ledger.taken, ledger.balances()), (10, 10, true));
        drop((sender, receiver));
        stop(a).await;
        stop(b).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_breaks_says_why() {
    run(memory(), |cluster| async move {
        let (a, b) = (cluster.node().await, cluster.node().await);
        let oracle = Oracle::new();
        let _receiving = oracle.receive(b.receiver::<Message>("n").await.unwrap());
        let sender = a.sender::<Message>("n").await.unwrap();
        oracle.send(&sender, 0, 0..10, |_| 10).await.unwrap();
        oracle.settle(&a, "n").await;
        cluster.cut(0, 1);
        let back = |links| move |node: &Node, to: &Node| total(&peer(node, to).links) == links;
        until("it is back", || back(2)(&a, &b) && peer(&a, &b).up).await;
        // Silence in both directions is noticed, and told apart from a cut.
        cluster.black_hole(0, 1);
        cluster.black_hole(1, 0);
        until("it is suspect", || peer(&a, &b).suspect).await;
        assert_eq!(a.metrics().namespaces[&name("n")].credit, 0, "a suspect is not chosen");
        until("it is given up", || !peer(&a, &b).up).await;
        assert_eq!(peer(&a, &b).cuts.get("silent"), Some(&1));
        until("dialling fails", || total(&peer(&a, &b).dials_failed) > 0).await;
        until("its lanes are given up", || peer(&a, &b).given_up == 1).await;
        cluster.heal(0, 1);
        until("it is back", || peer(&a, &b).up).await;
        oracle.send(&sender, 0, 10..20, |_| 10).await.unwrap();
        oracle.settle(&a, "n").await;
        assert_eq!(a.metrics().ledger.unknown, 0);
        stop_both([a, b], sender).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_fills_the_window_and_no_more() {
    run(memory(), |cluster| async move {
        let a = cluster.node_with(|config| config.limits.link = 256 << 10).await;
        let b = cluster.node().await;
        let mut receiver = b.receiver::<Bytes>("n").capacity_bytes(64 << 20).await.unwrap();
        let sender = a.sender::<Bytes>("n").await.unwrap();
        sender.wait_for_receivers(1).await.unwrap();
        sender.send(Bytes::from(vec![0; 100])).await.unwrap();
        receiver.recv().await.unwrap();
        cluster.black_hole(0, 1);
        let body = Bytes::from(vec![7; 60_000]);
        while sender.try_send(body.clone()).is_ok() {}
        let full = || {
            let queue = peer(&a, &b).queue;
            queue.window <= 256 << 10 && queue.unconfirmed > queue.window / 2 && queue.lanes == 1
        };
        until("the window is full", full).await;
        let queue = peer(&a, &b).queue;
        assert!(queue.unconfirmed < queue.window + Frame::MAX as u64, "{queue:?}");
        cluster.heal(0, 1);
        until("it flows again", || peer(&a, &b).queue.lanes == 0).await;
        let accepted = sender.ledger().accepted;
        let rest = tokio::spawn(async move {
            for _ in 1..accepted {
                receiver.recv().await.unwrap();
            }
            receiver
        });
        sender.flush().await.unwrap();
        let ledger = sender.ledger();
        assert_eq!((ledger.taken, ledger.balances()), (accepted, true), "{ledger}");
        drop(rest.await.unwrap());
        stop_both([a, b], sender).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_list_and_the_leader_are_shown() {
    run(memory(), |cluster| async move {
        let nodes = super::founders::three(&cluster).await;
        let leads = super::founders::leader(&nodes).await;
        let receiver = nodes[0].receiver::<u8>("n").await.unwrap();
        let version = nodes[0].metrics().list.version;
        until("all see it", || nodes.iter().all(|n| n.metrics().list.version == version)).await;
        let seen: Vec<Metrics> = nodes.iter().map(Node::metrics).collect();
        for metrics in &seen {
            let list = &metrics.list;
            assert_eq!(list.leader, Some(nodes[leads].id()));
            assert_eq!((list.nodes, list.receivers), (3, 1));
            assert!(list.status.quorum && list.status.term > 0, "{list:?}");
            assert!(list.status.leader_changes > 0 && metrics.ready && metrics.live);
        }
        let text = seen[leads].to_prometheus();
        assert!(text.contains("\ndchan_leads 1\n") && text.contains("\ndchan_raft_log_bytes "));
        let proposed = |metrics: &Metrics| {
            let mut samples = metrics.list.status.samples.iter();
            samples.find(|sample| sample.name == "dchan_raft_calls_total").unwrap().value
        };
        assert!(proposed(&seen[0]) > 0.0);
        drop(receiver);
        super::founders::stop_all(nodes).await;
    })
    .await;
}

async fn stop_both<T>(nodes: [Node; 2], sender: T) {
    drop(sender);
    for node in nodes {
        stop(node).await;
    }
}
