//! Questions and answers that are none.

use std::sync::Arc;

use dchan_conformance::{
    adversary::wire::{self, REQUESTS},
    cluster::{Cluster, until},
};
use dchan_core::{Breach, Requests};

use crate::pair::Pair;

dchan_conformance::cluster_tests![questions_that_make_no_sense, questions_without_end];

const QUESTION: u8 = 1;
const ANSWER: u8 = 2;
const BUSY: u8 = 3;
const MORE: u8 = 0x80;

async fn questions_that_make_no_sense(cluster: Arc<Cluster>) {
    use Breach::*;
    let pair = Pair::start(&cluster).await;
    let part = vec![0; 64 * 1024];
    let too_many = Requests::MAX / part.len() + 1;
    let cases = [
        (Undecodable, vec![vec![0; 8]]),
        (Undecodable, vec![wire::request(1, 0, b"")]),
        (Undecodable, vec![wire::request(1, 5 | MORE, b"")]),
        (Part, vec![wire::request(1, QUESTION | MORE, b"a"), wire::request(2, QUESTION, b"b")]),
        (Part, vec![wire::request(1, QUESTION | MORE, b"a"), wire::request(1, ANSWER, b"b")]),
        (TooLarge, vec![wire::request(1, QUESTION | MORE, &part); too_many]),
        (Future, vec![wire::request(0, ANSWER, b"")]),
        (Future, vec![wire::request(u64::MAX, BUSY, b"")]),
    ];
    for (kind, frames) in cases {
        let mut adversary = pair.adversary().await;
        let before = pair.seen(kind);
        adversary.frames(frames.into_iter().map(|frame| (REQUESTS, frame))).await;
        adversary.cut().await;
        pair.sees(kind, before + 1).await;
    }
    pair.finish().await;
}

async fn questions_without_end(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let mut adversary = pair.adversary().await;
    let count = cluster.kind.scale(20_000, 10_000);
    for from in (0..count).step_by(500) {
        let frames = (from..from + 500).map(|id| (REQUESTS, wire::request(id, QUESTION, b"why")));
        assert!(adversary.frames(frames).await);
    }
    // Nobody here answers: each is told so.
    until("all are answered", || adversary.frames_of(REQUESTS).len() as u64 >= count).await;
    assert!(adversary.frames_of(REQUESTS).iter().all(|frame| frame[8] == BUSY));
    assert!(pair.breaches().is_empty(), "{:?}", pair.breaches());
    drop(adversary);
    pair.finish().await;
}
