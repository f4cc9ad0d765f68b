//! Sending and receiving.

use std::collections::VecDeque;

use dchan_core::{Frame, FrameBatch, FrameSink, LaneId};
use tokio::sync::Notify;

use super::{
    TransportFixture,
    pair::{Pair, Role, any_frame, fill, is_alive, meet},
    script::{Checker, Script},
};
use crate::{
    bounded::{bounded, some_polls},
    failure::{Failure, Outcome, ensure},
};

/// T-BATCH-1: whole frames, of each lane the oldest first, the rest left in order.
pub async fn t_batch_1(fixture: &dyn TransportFixture) -> Outcome {
    // From 8 bytes on no two frames are equal: what was left can be told from what was taken.
    let script = Script { lanes: 5, per_lane: 2000, sizes: &[20, 2000, 8, 300] };
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        let sending = async {
            let mut batch = FrameBatch::new();
            let mut next = 0;
            while next < script.total() || !batch.is_empty() {
                while batch.len() < 64 && next < script.total() {
                    batch.push(script.frame(next));
                    next += 1;
                }
                let before: VecDeque<Frame> = batch.iter().cloned().collect();
                from.sink.send(&mut batch).await?;
                took_well(before, &batch)?;
            }
            Outcome::Ok(from.sink.send(&mut batch).await?)
        };
        tokio::try_join!(sending, script.recv(&mut to.stream))?;
    }
    Ok(())
}

/// Checks what a `send` made of its batch.
fn took_well(mut before: VecDeque<Frame>, after: &FrameBatch) -> Outcome {
    ensure!(after.len() < before.len(), "send took no frame");
    let mut blocked: Vec<LaneId> = Vec::new();
    for left in after.iter() {
        loop {
            let frame = before.pop_front();
            let Some(frame) = frame else {
                ensure!(false, "send left a frame that was not there, or in another order");
                return Outcome::Ok(());
            };
            if frame == *left {
                break;
            }
            let lane = frame.lane;
            ensure!(!blocked.contains(&lane), "lane {lane}: send left a frame, took a later one");
        }
        blocked.push(left.lane);
    }
    let later = before.iter().find(|frame| blocked.contains(&frame.lane));
    ensure!(later.is_none(), "send left a frame and took a later one of its lane: {later:?}");
    Ok(())
}

/// T-CANCEL-1: dropping sends loses and repeats nothing.
pub async fn t_cancel_1(fixture: &dyn TransportFixture) -> Outcome {
    let script = Script { lanes: 4, per_lane: 600, sizes: &[30_000, 10, 60_000, 0, 16_000] };
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        let mut rng = fastrand::Rng::new();
        let dropped = Notify::new();
        let sending = async {
            let mut batch = FrameBatch::new();
            let (mut next, mut drops) = (0, 0);
            while next < script.total() || !batch.is_empty() {
                while batch.len() < 8 && next < script.total() {
                    batch.push(script.frame(next));
                    next += 1;
                }
                match some_polls(from.sink.send(&mut batch), rng.usize(1..4)).await {
                    Some(sent) => sent?,
                    None => {
                        drops += 1;
                        dropped.notify_one();
                    }
                }
            }
            dropped.notify_one();
            ensure!(
                script.total() < 100 || drops > 0,
                "no send ever had to wait: nothing was tested"
            );
            Outcome::Ok(from.sink.send(&mut batch).await?)
        };
        // Reading starts when sends have begun to wait, so that there are some to drop.
        let receiving = async {
            dropped.notified().await;
            script.recv(&mut to.stream).await
        };
        tokio::try_join!(sending, receiving)?;
    }
    Ok(())
}

/// T-CANCEL-2: dropping receives loses nothing.
pub async fn t_cancel_2(fixture: &dyn TransportFixture) -> Outcome {
    let script = Script { lanes: 4, per_lane: 500, sizes: &[30_000, 10, 0, 700, 100_000] };
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        let mut rng = fastrand::Rng::new();
        let receiving = async {
            let mut checker = Checker::new(script);
            let mut batch = FrameBatch::new();
            while checker.seen < script.total() {
                if let Some(got) = some_polls(to.stream.recv(&mut batch), rng.usize(1..3)).await {
                    let more = checker.check(got?, &mut batch)?;
                    ensure!(more, "the stream ended after {} frames", checker.seen);
                }
                ensure!(batch.is_empty(), "a receive that did not return filled the batch");
            }
            Outcome::Ok(())
        };
        tokio::try_join!(script.send(&mut from.sink), receiving)?;
    }
    Ok(())
}

/// T-FLUSH-1: what was flushed, or needs no flush, arrives though nobody touches the sink again.
pub async fn t_flush_1(fixture: &dyn TransportFixture) -> Outcome {
    for (role, believes) in Role::BOTH.into_iter().flat_map(|role| [(role, false), (role, true)]) {
        for (lanes, per_lane) in [(1, 1), (3, 1), (3, 300)] {
            let script = Script { lanes, per_lane, sizes: &[1, 1000] };
            let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
            let sending = async {
                script.send_unflushed(&mut from.sink).await?;
                if !(believes && from.sink.is_flushed()) {
                    from.sink.send(&mut FrameBatch::new()).await?;
                }
                Outcome::Ok(())
            };
            // Behind that, `from` stays, untouched.
            tokio::try_join!(sending, async {
                bounded("everything that was flushed", script.recv(&mut to.stream)).await?
            })?;
            drop(from);
        }
    }
    Ok(())
}

/// T-BACK-1: a reader that does not read blocks its writer.
pub async fn t_back_1(fixture: &dyn TransportFixture) -> Outcome {
    const SIZE: usize = 64 * 1024;
    const BOUND: usize = 32 << 20;
    let script = Script { lanes: 2, per_lane: BOUND / SIZE, sizes: &[SIZE] };
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        let taken = fill(&mut from.sink, 2 * BOUND, |at| script.frame(at)).await?;
        ensure!(taken * SIZE <= BOUND, "{} bytes were taken without a reader", taken * SIZE);
        let mut checker = Checker::new(script);
        let sending = async {
            let mut batch = FrameBatch::new();
            (taken..script.total()).for_each(|at| batch.push(script.frame(at)));
            while !batch.is_empty() {
                from.sink.send(&mut batch).await?;
            }
            Outcome::Ok(from.sink.send(&mut batch).await?)
        };
        let receiving = async {
            while checker.seen < script.total() {
                ensure!(checker.recv_some(&mut to.stream).await?, "the stream ended");
            }
            Outcome::Ok(())
        };
        tokio::try_join!(sending, receiving)?;
    }
    Ok(())
}

/// T-BACK-2: a blocked connection blocks no other.
pub async fn t_back_2(fixture: &dyn TransportFixture) -> Outcome {
    let Pair { transport, mut listener, at, mut dialled, mut accepted } =
        Pair::new(fixture).await?;
    let (mut a, mut b) = meet(&transport, &mut listener, &at).await?;
    fill(&mut dialled.sink, 64 << 20, |_| any_frame(64 * 1024)).await?;
    fill(&mut accepted.sink, 64 << 20, |_| any_frame(64 * 1024)).await?;
    let others = async {
        is_alive(&mut a, &mut b).await?;
        let (mut a, mut b) = meet(&transport, &mut listener, &at).await?;
        is_alive(&mut a, &mut b).await
    };
    // Sends that wait, rather than sends that have been given up.
    tokio::select! {
        biased;
        failure = send_for_ever(&mut dialled.sink) => Err(failure),
        failure = send_for_ever(&mut accepted.sink) => Err(failure),
        done = bounded("using other connections", others) => done?,
    }
}

async fn send_for_ever(sink: &mut Box<dyn FrameSink>) -> Failure {
    let mut batch = FrameBatch::new();
    loop {
        batch.push(any_frame(64 * 1024));
        if let Err(error) = sink.send(&mut batch).await {
            return error.into();
        }
    }
}
