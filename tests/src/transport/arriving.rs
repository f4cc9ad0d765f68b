//! What arrives.

use dchan_core::{ErrorKind, Frame, FrameBatch, LaneId, Received};

use super::{
    TransportFixture,
    pair::{Pair, Role, any_frame, fill, one_frame},
    script::{Checker, Script},
};
use crate::{
    bounded::bounded,
    failure::{Outcome, ensure},
};

/// Sends a script one way and checks what arrives, both ways round.
async fn carries(fixture: &dyn TransportFixture, script: Script) -> Outcome {
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        tokio::try_join!(script.send(&mut from.sink), script.recv(&mut to.stream))?;
    }
    Ok(())
}

/// T-ORD-1: the order of each lane is kept.
pub async fn t_ord_1(fixture: &dyn TransportFixture) -> Outcome {
    carries(fixture, Script { lanes: 1, per_lane: 5000, sizes: &[9, 8, 1000, 64, 8] }).await?;
    carries(fixture, Script { lanes: 8, per_lane: 2000, sizes: &[100, 16, 3000] }).await
}

/// T-WHOLE-1: every size arrives whole, with its lane and flag.
pub async fn t_whole_1(fixture: &dyn TransportFixture) -> Outcome {
    let sizes = &[0, 1, 2, 127, 128, 16383, 16384, 65535, 65536, Frame::MAX - 1, Frame::MAX];
    carries(fixture, Script { lanes: 3, per_lane: 44, sizes }).await?;
    carries(fixture, Script { lanes: 2, per_lane: 1000, sizes: &[0] }).await?;
    let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(Role::DiallerSends);
    for lane in
        [LaneId::CONTROL, LaneId::REQUESTS, LaneId(u64::from(u32::MAX) + 1), LaneId(u64::MAX)]
    {
        for last in [false, true] {
            let frame = Frame { last, ..Frame::new(lane, vec![1, 2, 3].into()) };
            let (mut batch, mut got) = (FrameBatch::new(), FrameBatch::new());
            batch.push(frame.clone());
            from.sink.send(&mut batch).await?;
            from.sink.send(&mut batch).await?;
            bounded("one frame", to.stream.recv(&mut got)).await??;
            let got = got.pop();
            ensure!(got.as_ref() == Some(&frame), "{frame:?} came as {got:?}");
        }
    }
    Ok(())
}

/// T-WHOLE-2: too large a frame is refused by its sender.
pub async fn t_whole_2(fixture: &dyn TransportFixture) -> Outcome {
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        let mut batch = FrameBatch::new();
        batch.push(any_frame(Frame::MAX + 1));
        let sent = from.sink.send(&mut batch).await;
        let kind = sent.as_ref().err().map(|error| error.kind);
        ensure!(kind == Some(ErrorKind::Protocol), "send gave {sent:?}, not a Protocol error");
        ensure!(batch.len() == 1, "the frame was taken out of the batch");
        drop(from);
        let mut got = FrameBatch::new();
        while let Ok(Received::Frames) = bounded("the end", to.stream.recv(&mut got)).await? {}
        ensure!(got.is_empty(), "something of it arrived");
    }
    Ok(())
}

/// T-ONCE-1: nothing twice, nothing left out.
pub async fn t_once_1(fixture: &dyn TransportFixture) -> Outcome {
    let script = Script { lanes: 100, per_lane: 100, sizes: &[8, 200] };
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        let mut checker = Checker::new(script);
        let sending = async {
            script.send(&mut from.sink).await?;
            Outcome::Ok(from.sink.close().await?)
        };
        let receiving = async {
            while checker.recv_some(&mut to.stream).await? {}
            Outcome::Ok(())
        };
        tokio::try_join!(sending, receiving)?;
        ensure!(checker.seen == script.total(), "{} of {} arrived", checker.seen, script.total());
    }
    Ok(())
}

/// T-LANES-1: a thousand lanes at once.
pub async fn t_lanes_1(fixture: &dyn TransportFixture) -> Outcome {
    carries(fixture, Script { lanes: 1000, per_lane: 20, sizes: &[100, 10, 700] }).await
}

/// T-DUPLEX-1: a blocked direction leaves the other free.
pub async fn t_duplex_1(fixture: &dyn TransportFixture) -> Outcome {
    let script = Script { lanes: 4, per_lane: 500, sizes: &[5000, 10] };
    let Pair { mut dialled, mut accepted, .. } = Pair::new(fixture).await?;
    tokio::try_join!(
        script.send(&mut dialled.sink),
        script.recv(&mut accepted.stream),
        script.send(&mut accepted.sink),
        script.recv(&mut dialled.stream),
    )?;
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        fill(&mut from.sink, 64 << 20, |_| any_frame(64 * 1024)).await?;
        for _ in 0..100 {
            bounded(
                "a frame against a blocked direction",
                one_frame(&mut to.sink, &mut from.stream),
            )
            .await??;
        }
    }
    Ok(())
}
