//! A peer that claims to receive, and lies about it.

use std::sync::Arc;

use dchan_conformance::{
    adversary::{
        Adversary,
        wire::{Attach, Control, Credit},
    },
    cluster::{Cluster, until},
};
use dchan_core::{
    Addr, Boot, Breach, Change, Incarnation, Namespace, NodeEntry, NodeId, ReceiverId,
};

use crate::pair::Pair;

dchan_conformance::cluster_tests![lies_about_what_was_taken, lanes_that_are_lost_for_ever];

const BAIT: &str = "bait";

/// Puts an adversary on the list, as one that receives. Returns the lane that leads to it.
async fn listed(cluster: &Cluster, pair: &Pair, counter: u64) -> (Adversary, u64, Change) {
    let hello = pair.hello();
    let addr: Addr = hello.addr.parse().unwrap();
    let (id, boot, incarnation) = (NodeId(hello.node), Boot(hello.boot), Incarnation(1));
    let adversary = pair.meet(hello).await.unwrap();
    let entry = NodeEntry { addr, boot, incarnation, tags: Default::default() };
    let namespace = Namespace::new(BAIT).unwrap();
    cluster.list.change(&[
        Change::Node { id, entry },
        Change::Receiver { namespace, id: ReceiverId { boot, counter }, node: id },
    ]);
    until("a lane comes", || !adversary.attached().is_empty()).await;
    let (lane, Attach { fresh, wanting, .. }) = adversary.attached()[0].clone();
    assert!(fresh && wanting);
    (adversary, lane, Change::NodeGone { id, incarnation })
}

async fn lies_about_what_was_taken(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let sender = pair.b.sender::<u64>(BAIT).await.unwrap();
    type Lie = fn(u64) -> Control;
    fn credit(lane: u64, taken: u64, limit_messages: u64, limit_bytes: u64) -> Credit {
        Credit { lane, taken, limit_messages, limit_bytes, skipped: vec![] }
    }
    fn skipping(lane: u64, skipped: &[u64]) -> Control {
        Control::Credit(Credit { skipped: skipped.to_vec(), ..credit(lane, 1, 10, 10_000) })
    }
    let lies: [(&str, Breach, Lie); 8] = [
        ("undecodable twice", Breach::Credit, |l| skipping(l, &[0, 0])),
        ("undecodable and not taken", Breach::Future, |l| skipping(l, &[2])),
        ("backwards", Breach::Credit, |l| Control::Credit(credit(l, 0, 5, 10_000))),
        ("bytes backwards", Breach::Credit, |l| Control::Credit(credit(l, 0, 10, 9))),
        ("endless", Breach::Credit, |l| Control::Credit(credit(l, 0, u64::MAX, u64::MAX))),
        ("the future", Breach::Future, |l| Control::Credit(credit(l, 9, 10, 10_000))),
        ("all of it", Breach::Future, |l| Control::Credit(credit(l, u64::MAX, 10, 10_000))),
        ("an end", Breach::Future, |l| Control::Closed { lane: l, taken: 99, skipped: vec![] }),
    ];
    let mut handed = 0;
    for (at, (what, kind, lie)) in lies.into_iter().enumerate() {
        let (mut adversary, lane, gone) = listed(&cluster, &pair, at as u64).await;
        let resumed = Control::Resumed { next_frame: 0, credit: credit(lane, 0, 10, 10_000) };
        adversary.say(&[resumed]).await;
        for number in 0..3 {
            sender.send(number).await.unwrap();
        }
        handed += 3;
        until("they come", || adversary.frames_of(lane).iter().any(|frame| frame[0] == 2)).await;
        until("all of them", || {
            let counts = adversary.frames_of(lane);
            let counts = counts.iter().filter(|frame| frame[0] == 2).map(|frame| frame[17]);
            counts.map(u64::from).sum::<u64>() == 3
        })
        .await;
        let before = pair.seen(kind);
        adversary.say(&[lie(lane)]).await;
        until(&format!("{what} is {kind}"), || pair.seen(kind) == before + 1).await;
        adversary.cut().await;
        cluster.list.change(&[gone]);
        // Nobody knows what became of them: it is said so, and nothing else.
        until("they are accounted for", || pair.b.ledger(BAIT).unknown == handed).await;
    }
    for (next_frame, kind) in [(1, Breach::Future), (u64::MAX, Breach::Future)] {
        let (mut adversary, lane, gone) = listed(&cluster, &pair, 100 + next_frame % 7).await;
        let before = pair.seen(kind);
        let credit = credit(lane, 0, 10, 10_000);
        adversary.say(&[Control::Resumed { next_frame, credit }]).await;
        adversary.cut().await;
        pair.sees(kind, before + 1).await;
        cluster.list.change(&[gone]);
    }
    // Endless credit in the first answer.
    let (mut adversary, lane, gone) = listed(&cluster, &pair, 200).await;
    let before = pair.seen(Breach::Credit);
    let credit = credit(lane, 0, u64::MAX, u64::MAX);
    adversary.say(&[Control::Resumed { next_frame: 0, credit }]).await;
    adversary.cut().await;
    pair.sees(Breach::Credit, before + 1).await;
    cluster.list.change(&[gone]);
    let ledger = pair.b.ledger(BAIT);
    assert!(ledger.balances() && ledger.accepted == handed, "{ledger}");
    drop(sender);
    pair.finish().await;
}

/// A peer that never knows the lanes that lead to it cannot keep a node busy with nothing else.
async fn lanes_that_are_lost_for_ever(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let sender = pair.b.sender::<u64>(BAIT).await.unwrap();
    let (mut adversary, _, gone) = listed(&cluster, &pair, 0).await;
    let mut answered = 0;
    while answered < 200 {
        let lanes: Vec<u64> = adversary.attached().into_iter().map(|(lane, _)| lane).collect();
        let news = &lanes[answered..];
        answered = lanes.len();
        let lost: Vec<Control> = news.iter().map(|lane| Control::NotFound(*lane)).collect();
        if !lost.is_empty() {
            assert!(adversary.say(&lost).await);
        }
        tokio::task::yield_now().await;
        until("another lane comes", || adversary.attached().len() > answered).await;
    }
    pair.carry_on().await;
    cluster.list.change(&[gone]);
    drop((adversary, sender));
    pair.finish().await;
}
