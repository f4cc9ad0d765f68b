//! Messages that are traps for whoever decodes them.

use std::{sync::Arc, time::Duration};

use dchan_conformance::{
    adversary::wire::{self, Credit, Stamp},
    cluster::Cluster,
};
use dchan_core::{Frame, RecvError, SendError};
use serde::{Deserialize, Serialize};

use crate::pair::Pair;

dchan_conformance::cluster_tests![messages_of_any_depth, messages_that_nobody_can_read];

const LANE: u64 = 16;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Chain>>,
    empty: Vec<()>,
}

async fn messages_of_any_depth(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let mut receiver = pair.b.receiver::<Chain>("bait").await.unwrap();
    let mut adversary = pair.adversary().await;
    adversary.open(LANE, &receiver).await;
    // An option after the other, and a list of 2^64 elements without bytes.
    let mut endless = vec![0];
    endless.extend_from_slice(&[0xff; 9]);
    endless.push(1);
    for (at, trap) in [vec![1; 60_000], endless].into_iter().enumerate() {
        let at = at as u64;
        let stamp = Stamp { frame_no: at, first_seq: at, count: 1, settled: 0 };
        adversary.frame(LANE, wire::data(stamp, &[trap])).await;
        assert!(matches!(receiver.recv().await, Err(RecvError::Undecodable { .. })));
    }
    let part = vec![1; 65 * 1024];
    let total = 15 * part.len() as u64;
    for at in 0..15 {
        let stamp =
            Stamp { frame_no: 2 + at, first_seq: 2, count: u32::from(at == 14), settled: 2 };
        let chunk = wire::chunk(stamp, at == 0, at == 14, total, &part);
        adversary.frame(LANE, chunk).await;
    }
    let third = tokio::time::timeout(Duration::from_secs(20), receiver.recv()).await;
    assert!(matches!(third, Ok(Err(RecvError::Undecodable { .. }))), "{:?}", pair.breaches());
    // Nor can a sender send such a message.
    let sender = pair.a.sender::<Chain>("bait").await.unwrap();
    let chain = |len| {
        (0..len)
            .fold(Chain::default(), |next, _| Chain { next: Some(Box::new(next)), empty: vec![] })
    };
    match sender.send(chain(200)).await {
        Err(SendError::Encode { reason, .. }) => {
            assert_eq!(reason, "it is nested more than 128 deep");
        }
        other => panic!("{other:?}"),
    }
    sender.send(chain(10)).await.unwrap();
    assert!(receiver.recv().await.unwrap().is_some());
    drop((adversary, sender, receiver));
    pair.finish().await;
}

/// Messages that cannot be decoded are told to their sender, which says that it knows. One that never
/// does is stopped.
async fn messages_that_nobody_can_read(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let mut receiver = pair.b.receiver::<String>("bait").capacity(100).await.unwrap();
    let mut adversary = pair.adversary().await;
    let Credit { limit_messages, .. } = adversary.open(LANE, &receiver).await;
    let mut limit = limit_messages;
    let (mut frame_no, mut sent) = (0, 0);
    while !adversary.has_ended() {
        let count = (limit - sent).min(100) as u32;
        let stamp = Stamp { frame_no, first_seq: sent, count, settled: 0 };
        if count > 0 {
            let messages = vec![vec![2, 0xff, 0xff]; count as usize];
            adversary.frame(LANE, wire::data(stamp, &messages)).await;
            (frame_no, sent) = (frame_no + 1, sent + u64::from(count));
        }
        while let Err(error) = receiver.try_recv() {
            if error == dchan_core::TryRecvError::Empty {
                break;
            }
        }
        let (before, mut turns) = (limit, 0);
        while limit == before && !adversary.has_ended() && turns < 10_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            while let Err(dchan_core::TryRecvError::Recv(_)) = receiver.try_recv() {}
            limit = adversary.granted(LANE).max(limit);
            turns += 1;
        }
    }
    pair.sees(dchan_core::Breach::Unconfirmed, 1).await;
    // Its bound: what is on its way, and a frame.
    assert!(sent < 100 + Frame::MAX as u64 / 4 + 200, "{sent}");
    drop((adversary, receiver));
    pair.finish().await;
}
