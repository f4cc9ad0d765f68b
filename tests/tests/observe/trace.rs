//! A scenario leaves a readable trace: the key lines, in order, each once, and no flood.

use std::time::Duration;

use dchan_conformance::cluster::{Message, Oracle, run, stop, until};
use dchan_core::{Addr, MemoryNetwork, Node, NodeOptions, StaticMembership};
use tracing::Level;

use super::{
    capture::{Capture, story},
    memory,
};

/// The lines of one kind that a minute may have.
const A_MINUTE: usize = 5;
const MORE: &str = "more of the same was not logged";

#[tokio::test(start_paused = true)]
async fn a_link_that_flaps_is_told_of_and_then_summed_up() {
    let (capture, _guard) = Capture::start();
    run(memory(), |cluster| async move {
        let (a, b) = (cluster.node().await, cluster.node().await);
        let oracle = Oracle::new();
        let _receiving = oracle.receive(b.receiver::<Message>("n").await.unwrap());
        let sender = a.sender::<Message>("n").await.unwrap();
        oracle.send(&sender, 0, 0..10, |_| 10).await.unwrap();
        let up = || a.metrics().peers[&b.id()].up && b.metrics().peers[&a.id()].up;
        let cuts = || a.metrics().peers[&b.id()].cuts.values().sum::<u64>();
        for flap in 0..100 {
            until("the link is up", up).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(cuts(), flap);
            cluster.cut(0, 1);
            until("the link is down", || cuts() > flap).await;
        }
        until("the link is up", up).await;
        oracle.settle(&a, "n").await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        for (node, peer) in [(&a, &b), (&b, &a)] {
            let lines = capture.of_peer(peer.id());
            let told = story(&lines);
            assert_eq!(told[0], "peer up");
            assert!(told[1].starts_with("peer down: "), "{told:#?}");
            assert_eq!(told[2], "peer up");
            let minutes = told.iter().filter(|line| *line == MORE).count();
            assert!((1..=2).contains(&minutes), "{told:#?}");
            assert!(told.len() <= (minutes + 1) * (A_MINUTE + 1), "{told:#?}");
            let last = lines.last().unwrap();
            assert_eq!((last.message.as_str(), last.field("up")), (MORE, Some("true")));
            // Nothing is lost of what happened: it is written, or counted.
            let written = told.iter().filter(|line| line.starts_with("peer ")).count() as u64;
            let held: u64 = lines.iter().map(|line| line.number("suppressed")).sum();
            let metrics = node.metrics().peers[&peer.id()].clone();
            assert!(metrics.cuts.values().sum::<u64>() >= 100, "{metrics:?}");
            assert!(written + held >= 200, "{written} and {held}");
        }
        drop(sender);
        stop(a).await;
        stop(b).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_dead_for_an_hour_is_told_of_once() {
    let (capture, _guard) = Capture::start();
    let cluster = memory();
    let (a, b) = (cluster.node().await, cluster.node().await);
    let oracle = Oracle::new();
    let _receiving = oracle.receive(b.receiver::<Message>("n").await.unwrap());
    let sender = a.sender::<Message>("n").await.unwrap();
    oracle.send(&sender, 0, 0..10, |_| 10).await.unwrap();
    oracle.settle(&a, "n").await;
    cluster.black_hole(0, 1);
    cluster.black_hole(1, 0);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let failed = &a.metrics().peers[&b.id()].dials_failed;
    assert!(failed["timed_out"] > 400, "it was dialled all the time: {failed:?}");
    cluster.heal(0, 1);
    until("it is back", || a.metrics().peers[&b.id()].up).await;
    oracle.send(&sender, 0, 10..20, |_| 10).await.unwrap();
    oracle.settle(&a, "n").await;
    let lines = capture.of_peer(b.id());
    let expected = [
        ("INFO", "peer up"),
        ("INFO", "peer down: silent"),
        ("INFO", "cannot link yet: timed_out"),
        ("WARN", "peer given up: what was handed to it is unknown"),
        ("INFO", "peer up"),
    ];
    let levels = lines.iter().map(|line| line.level.to_string());
    let told: Vec<_> = levels.zip(story(&lines)).collect();
    assert_eq!(told, expected.map(|(level, said)| (level.to_owned(), said.to_owned())));
    drop(sender);
    stop(a).await;
    stop(b).await;
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_scanned_leaves_a_few_lines_and_a_number() {
    let (capture, _guard) = Capture::start();
    let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
    let (at, scanner): (Addr, Addr) = ("a:1".parse().unwrap(), "s:1".parse().unwrap());
    let options = NodeOptions::new(at.clone());
    let node = Node::start(options, network.transport(&at), list.member()).await.unwrap();
    let scans = network.transport(&scanner);
    for _ in 0..1000 {
        drop(scans.dial(&at).await);
    }
    let failed = || node.metrics().handshakes_failed.values().sum::<u64>();
    until("all are counted", || failed() == 1000).await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    let refused = capture.saying("connection refused: no handshake");
    assert_eq!(refused.len(), A_MINUTE);
    let of_scanner = |line: &super::capture::Line| line.field("from") == Some("s:1");
    assert!(refused.iter().all(|line| line.level == Level::WARN && of_scanner(line)));
    let summed = capture.saying(MORE);
    assert_eq!((summed.len(), summed[0].number("suppressed")), (1, 995));
    assert_eq!(summed[0].field("kind"), Some("unfinished"));
    stop(node).await;
    let told = story(&capture.lines());
    assert_eq!((told[0].as_str(), told.last().unwrap().as_str()), ("node started", "node stopped"));
    assert_eq!(told.len(), 2 + A_MINUTE + 1, "{told:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_goes_leaves_its_story() {
    let (capture, _guard) = Capture::start();
    run(memory(), |cluster| async move {
        let mut nodes = super::founders::three(&cluster).await;
        let leads = super::founders::leader(&nodes).await;
        let gone = nodes.remove(leads);
        let id = gone.id();
        drop(gone);
        let another = || {
            nodes.iter().all(|node| {
                let list = node.metrics().list;
                list.leader.is_some_and(|leader| leader != id)
                    && list.nodes == 2
                    && node.health().ready
            })
        };
        until("another one leads", another).await;
        let lines = capture.lines();
        let of = |leader: String| {
            lines.iter().position(|line| {
                line.message == "leader elected" && line.field("leader") == Some(&leader)
            })
        };
        let next = nodes[0].view().borrow().leader.unwrap();
        let first = of(id.to_string()).expect("the first leader is named");
        let second = of(next.to_string()).expect("the second leader is named");
        let off =
            lines.iter().position(|line| line.message == "taken off the list: its lease ran out");
        assert!(first < second && Some(second) < off, "{:#?}", story(&lines));
        let off = capture.saying("taken off the list: its lease ran out");
        assert_eq!(off.len(), 1, "{lines:#?}");
        assert_eq!(off[0].field("peer"), Some(id.to_string().as_str()));
        assert!(lines.len() < 60, "{:#?}", story(&lines));
        super::founders::stop_all(nodes).await;
    })
    .await;
}
