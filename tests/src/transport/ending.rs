//! Endings.

use dchan_core::{ErrorKind, FrameBatch, Received};
use tokio::runtime::Handle;

use super::{
    TransportFixture,
    pair::{Pair, Role, any_frame, fill, is_alive, is_over, meet, one_frame, sends_fail},
    script::{Checker, Script},
};
use crate::{
    bounded::{bounded, eventually},
    failure::{Outcome, ensure},
};

/// T-CLOSE-1: everything taken comes before the end.
pub async fn t_close_1(fixture: &dyn TransportFixture) -> Outcome {
    let large = Script { lanes: 3, per_lane: 500, sizes: &[60_000, 0, 10] };
    let small = Script { lanes: 1, per_lane: 1, sizes: &[5] };
    for (role, script) in Role::BOTH.into_iter().flat_map(|role| [(role, small), (role, large)]) {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        let closing = async {
            let mut batch = FrameBatch::new();
            (0..script.total()).for_each(|at| batch.push(script.frame(at)));
            // No flush: what was taken is the sink's to finish.
            while !batch.is_empty() {
                from.sink.send(&mut batch).await?;
            }
            from.sink.close().await?;
            is_over(&mut from.stream).await
        };
        let receiving = async {
            let mut checker = Checker::new(script);
            while checker.recv_some(&mut to.stream).await? {}
            to.sink.close().await?;
            Outcome::Ok(checker.seen)
        };
        let both = async { tokio::try_join!(closing, receiving) };
        let ((), seen) = bounded("closing", both).await??;
        ensure!(seen == script.total(), "{seen} of {} frames came before the end", script.total());
    }
    Ok(())
}

/// T-CLOSE-2: the end stays the end.
pub async fn t_close_2(fixture: &dyn TransportFixture) -> Outcome {
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        one_frame(&mut from.sink, &mut to.stream).await?;
        tokio::try_join!(async { Outcome::Ok(from.sink.close().await?) }, async {
            for _ in 0..3 {
                let mut batch = FrameBatch::new();
                let got = bounded("the end", to.stream.recv(&mut batch)).await??;
                ensure!(got == Received::End && batch.is_empty(), "{got:?} came, not the end");
            }
            Outcome::Ok(())
        })?;
    }
    Ok(())
}

/// T-CLOSE-3: one direction ends, the other goes on.
pub async fn t_close_3(fixture: &dyn TransportFixture) -> Outcome {
    let script = Script { lanes: 2, per_lane: 200, sizes: &[1000, 10_000] };
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        one_frame(&mut to.sink, &mut from.stream).await?;
        tokio::try_join!(async { Outcome::Ok(from.sink.close().await?) }, is_over(&mut to.stream))?;
        tokio::try_join!(script.send(&mut to.sink), script.recv(&mut from.stream))?;
        tokio::try_join!(async { Outcome::Ok(to.sink.close().await?) }, async {
            let got = from.stream.recv(&mut FrameBatch::new()).await?;
            ensure!(got == Received::End, "the second close was not seen as the end");
            Outcome::Ok(())
        })?;
    }
    Ok(())
}

/// T-ABORT-1: dropping both halves is noticed.
pub async fn t_abort_1(fixture: &dyn TransportFixture) -> Outcome {
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        is_alive(&mut from, &mut to).await?;
        drop(from);
        is_over(&mut to.stream).await?;
        sends_fail(&mut to.sink).await?;
        // A peer that is sending and not reading must notice too.
        let (from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        drop(from);
        sends_fail(&mut to.sink).await?;
    }
    Ok(())
}

/// T-ABORT-2: full buffers keep nothing alive.
pub async fn t_abort_2(fixture: &dyn TransportFixture) -> Outcome {
    for role in Role::BOTH {
        let (mut from, mut to, _listener) = Pair::new(fixture).await?.by(role);
        fill(&mut from.sink, 64 << 20, |_| any_frame(64 * 1024)).await?;
        fill(&mut to.sink, 64 << 20, |_| any_frame(64 * 1024)).await?;
        drop(from);
        is_over(&mut to.stream).await?;
        sends_fail(&mut to.sink).await?;
    }
    Ok(())
}

/// T-BREAK-1: a break is noticed at both ends, and leaves no gap before it.
pub async fn t_break_1(fixture: &dyn TransportFixture) -> Outcome {
    let script = Script { lanes: 3, per_lane: 100_000, sizes: &[3000, 100] };
    for role in Role::BOTH {
        let transport = fixture.transport();
        let mut listener = transport.listen(&fixture.listen_at()).await?;
        let road = fixture.breakable(&listener.local_addr()).await;
        let (dialled, accepted) = meet(&transport, &mut listener, &road.addr).await?;
        let (mut from, mut to) = match role {
            Role::DiallerSends => (dialled, accepted),
            Role::AcceptorSends => (accepted, dialled),
        };
        // Fails in mid-script: that is what this is about.
        let sending = async { Outcome::Ok(script.send(&mut from.sink).await.is_err()) };
        let receiving = async {
            let mut checker = Checker::new(script);
            let mut cut = Some(road.cut);
            loop {
                let mut batch = FrameBatch::new();
                let Ok(got) = to.stream.recv(&mut batch).await else { return Ok(()) };
                if !checker.check(got, &mut batch)? {
                    return Outcome::Ok(());
                }
                if let Some(cut) = cut.take_if(|_| checker.seen > 500) {
                    cut();
                }
            }
        };
        let both = async { tokio::try_join!(sending, receiving) };
        let (failed, ()) = bounded("noticing a break while sending", both).await??;
        ensure!(failed, "the whole script was sent through a broken connection");
        is_over(&mut from.stream).await?;
        sends_fail(&mut from.sink).await?;
        sends_fail(&mut to.sink).await?;
        let at = listener.local_addr();
        let (mut dialled, mut accepted) = meet(&transport, &mut listener, &at).await?;
        is_alive(&mut dialled, &mut accepted).await?;
    }
    Ok(())
}

/// T-MALFORMED-1: bytes that are no frames end their own connection only.
pub async fn t_malformed_1(fixture: &dyn TransportFixture) -> Outcome {
    let Pair { transport, mut listener, at, mut dialled, mut accepted } =
        Pair::new(fixture).await?;
    for nth in 0.. {
        if !fixture.garble(&at, nth).await {
            break;
        }
        let incoming = bounded("the intruder", listener.accept()).await??;
        if let Ok(mut connection) = bounded("ready", incoming.ready).await? {
            let mut batch = FrameBatch::new();
            let got = bounded("the error", connection.stream.recv(&mut batch)).await?;
            let kind = got.as_ref().err().map(|error| error.kind);
            ensure!(
                kind == Some(ErrorKind::Protocol),
                "kind {nth} gave {got:?} and {} frames",
                batch.len()
            );
            ensure!(batch.is_empty(), "frames came out of what is none");
        }
        is_alive(&mut dialled, &mut accepted).await?;
        let (mut dialled, mut accepted) = meet(&transport, &mut listener, &at).await?;
        is_alive(&mut dialled, &mut accepted).await?;
    }
    Ok(())
}

/// T-TIDY-1: no task is left.
pub async fn t_tidy_1(fixture: &dyn TransportFixture) -> Outcome {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..3 {
        let mut pair = Pair::new(fixture).await?;
        is_alive(&mut pair.dialled, &mut pair.accepted).await?;
        let (dialled, accepted) = meet(&pair.transport, &mut pair.listener, &pair.at).await?;
        drop((dialled, accepted));
        let (mut dialled, accepted) = meet(&pair.transport, &mut pair.listener, &pair.at).await?;
        fill(&mut dialled.sink, 64 << 20, |_| any_frame(64 * 1024)).await?;
        drop((dialled, accepted));
        let Pair { listener, mut dialled, mut accepted, .. } = pair;
        drop(listener);
        tokio::try_join!(
            async { Outcome::Ok(dialled.sink.close().await?) },
            async { Outcome::Ok(accepted.sink.close().await?) },
            is_over(&mut dialled.stream),
            is_over(&mut accepted.stream),
        )?;
    }
    eventually("as many tasks as before", || tasks() <= before).await
}
