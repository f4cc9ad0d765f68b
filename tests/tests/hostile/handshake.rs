//! Who may be linked.

use std::{sync::Arc, time::Duration};

use dchan_conformance::{
    adversary::{
        Adversary, reach,
        wire::{self, Control, Hello, Refusal},
    },
    cluster::{Cluster, until},
};
use dchan_core::{Breach, Frame, FrameBatch, LaneId, Received};
use futures::future::join_all;
use tokio::time::{Instant, timeout};

use crate::pair::Pair;

dchan_conformance::cluster_tests![
    strangers_hear_what_does_not_fit,
    what_is_no_handshake_ends_it,
    of_two_processes_with_one_id_the_first_stays,
    those_who_never_speak_keep_nobody_out,
    node_ids_without_number_are_bounded,
];

/// How long those who never speak may stay, if nobody else comes.
const SILENT: Duration = Duration::from_secs(60);

async fn strangers_hear_what_does_not_fit(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let decent = pair.hello();
    let transport = decent.transport.clone();
    let (text, own) = (String::from, pair.b.id().0);
    let cases = [
        (
            Hello { version: 7, ..decent.clone() },
            Refusal::Version { ours: 1, theirs: 7 },
            Breach::Version,
        ),
        (
            Hello { cluster_name: "shop".repeat(1000), ..decent.clone() },
            Refusal::ClusterName { ours: text("dchan"), theirs: "shop".repeat(16) },
            Breach::Cluster,
        ),
        (
            Hello { cluster: Some(2), ..decent.clone() },
            Refusal::Cluster { ours: 1, theirs: 2 },
            Breach::Cluster,
        ),
        (
            Hello { transport: text("pigeon"), ..decent.clone() },
            Refusal::Transport { ours: transport, theirs: text("pigeon") },
            Breach::Transport,
        ),
        (Hello { node: own, ..decent.clone() }, Refusal::Oneself, Breach::Oneself),
    ];
    for (hello, expected, kind) in cases {
        let before = pair.seen(kind);
        let refused = pair.meet(hello).await.map(|_| "welcome");
        assert_eq!(refused, Err(Some(expected)));
        pair.sees(kind, before + 1).await;
    }
    pair.finish().await;
}

/// Sends these frames first thing. What the other side answers.
async fn first_words(pair: &Pair, frames: Vec<Frame>) -> Vec<Control> {
    let mut connection = reach(&*pair.transport(), pair.addr()).await;
    let mut batch = FrameBatch::new();
    frames.into_iter().for_each(|frame| batch.push(frame));
    while !batch.is_empty() && connection.sink.send(&mut batch).await.is_ok() {}
    let _broken = connection.sink.send(&mut batch).await;
    let mut controls = Vec::new();
    let mut heard = FrameBatch::new();
    let listening = async {
        while let Ok(Received::Frames) = connection.stream.recv(&mut heard).await {
            while let Some(frame) = heard.pop() {
                controls.extend(wire::decode(&frame.payload));
            }
        }
    };
    let limit = Duration::from_secs(30);
    timeout(limit, listening).await.expect("the connection is ended");
    controls
}

async fn what_is_no_handshake_ends_it(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let frame = |lane: u64, payload: Vec<u8>| Frame::new(LaneId(lane), payload.into());
    let hello = wire::encode(&Control::Hello(pair.hello()));
    let bad_addr = Hello { addr: "http://x".into(), ..pair.hello() };
    let cases = [
        vec![frame(0, vec![])],
        vec![frame(0, vec![0xff; 1000])],
        vec![frame(0, hello[..hello.len() - 1].to_vec())],
        vec![frame(0, [&hello[..], b"x"].concat())],
        vec![frame(0, wire::encode(&Control::Hello(bad_addr)))],
        vec![frame(0, wire::encode(&Control::Bye))],
        vec![frame(16, hello.clone())],
    ];
    let count = cases.len() as u64;
    for case in cases {
        let heard = first_words(&pair, case.clone()).await;
        assert_eq!(heard, [], "{case:?}");
    }
    pair.sees(Breach::Handshake, count).await;
    // Another version may have another hello: it is told all the same.
    let alien = [&[0, 9][..], &[0xff; 50]].concat();
    let heard = first_words(&pair, vec![frame(0, alien)]).await;
    let version = Refusal::Version { ours: 1, theirs: 9 };
    assert!(matches!(&heard[..], [Control::Refuse(told, _)] if *told == version), "{heard:?}");
    pair.sees(Breach::Version, 1).await;
    pair.finish().await;
}

async fn of_two_processes_with_one_id_the_first_stays(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let first = Hello { incarnation: 5, ..pair.hello() };
    let mut standing = pair.meet(first.clone()).await.unwrap();
    let other = |incarnation, boot| Hello { incarnation, boot, attempt: 9, ..first.clone() };
    let refused = pair.meet(other(5, 1)).await.map(|_| "welcome");
    assert_eq!(refused, Err(Some(Refusal::Duplicate { ours: first.boot, theirs: 1 })));
    pair.sees(Breach::Duplicate, 1).await;
    let refused = pair.meet(other(4, 1)).await.map(|_| "welcome");
    assert_eq!(refused, Err(Some(Refusal::Outdated { ours: 5, theirs: 4 })));
    pair.sees(Breach::Outdated, 1).await;
    assert!(standing.say(&[]).await && !standing.has_ended());
    // A later life takes its place.
    let later = pair.meet(other(6, 1)).await.unwrap();
    standing.cut().await;
    // So does anybody once it is gone.
    drop(later);
    let gone = || !pair.b.links().borrow()[&dchan_core::NodeId(first.node)].alive;
    until("the link is down", gone).await;
    pair.meet(other(6, 2)).await.unwrap();
    pair.finish().await;
}

async fn those_who_never_speak_keep_nobody_out(cluster: Arc<Cluster>) {
    let pair = Pair::start_with(&cluster, |config| {
        config.limits.handshakes = 16;
        config.times.handshake = SILENT;
    });
    let pair = pair.await;
    let transport = pair.transport();
    let mut silent = Vec::new();
    while pair.seen(Breach::Crowded) == 0 {
        // All at once: else some are given up before the last have come. Those that are turned away may
        // see it at once, or not.
        let crowd = join_all((0..32).map(|_| transport.dial(pair.addr())));
        silent.extend(crowd.await.into_iter().flatten());
        assert!(silent.len() < 200, "{:?}", pair.breaches());
    }
    // One who comes now gets in all the same, long before the silent are given up.
    let started = Instant::now();
    let adversary = loop {
        let Ok(connection) = transport.dial(pair.addr()).await else { continue };
        let met = Adversary::meet_in(connection, pair.hello());
        if let Ok(Ok(adversary)) = timeout(Duration::from_secs(2), met).await {
            break adversary;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(started.elapsed() < SILENT / 2, "after {:?}", started.elapsed());
    until("who made room is counted", || pair.seen(Breach::Late) > 0).await;
    drop((adversary, silent));
    pair.finish().await;
}

async fn node_ids_without_number_are_bounded(cluster: Arc<Cluster>) {
    let pair = Pair::start_with(&cluster, |config| config.limits.strangers = 4).await;
    let mut linked = Vec::new();
    for _ in 0..4 {
        linked.push(pair.adversary().await);
    }
    assert_eq!(pair.meet(pair.hello()).await.map(|_| "welcome"), Err(Some(Refusal::Busy)));
    pair.sees(Breach::Stranger, 1).await;
    // One that is gone makes room.
    drop(linked.pop());
    let alive = || pair.b.links().borrow().values().filter(|link| link.alive).count();
    until("one is gone", || alive() == 4).await;
    for _ in 0..20 {
        drop(pair.adversary().await);
        until("it is gone", || alive() == 4).await;
    }
    assert!(pair.b.links().borrow().len() <= 6, "{:?}", pair.b.links().borrow());
    drop(linked);
    pair.finish().await;
}
