//! Meeting: dialling, listening, accepting.

use dchan_core::{ErrorKind, FrameBatch, Received, TransportError};
use tokio::task::yield_now;

use super::{
    TransportFixture,
    pair::{Pair, any_frame, is_alive, is_over, meet, sends_fail},
};
use crate::{
    bounded::{bounded, some_polls},
    failure::{Outcome, ensure},
};

fn kind_of<T>(result: Result<T, TransportError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

/// T-DIAL-1: nobody there is `Unreachable`.
pub async fn t_dial_1(fixture: &dyn TransportFixture) -> Outcome {
    let dead = fixture.dead().await;
    let dialled = bounded("dial", fixture.transport().dial(&dead.addr)).await?;
    let kind = kind_of(dialled);
    ensure!(kind == Some(ErrorKind::Unreachable), "the dial gave {kind:?}");
    Ok(())
}

/// T-DIAL-2: a dial that hangs delays nothing else.
pub async fn t_dial_2(fixture: &dyn TransportFixture) -> Outcome {
    let hole = fixture.black_hole().await;
    let mut pair = Pair::new(fixture).await?;
    let mut hanging = Vec::new();
    for _ in 0..8 {
        let (transport, to) = (pair.transport.clone(), hole.addr.clone());
        hanging.push(tokio::spawn(async move { kind_of(transport.dial(&to).await) }));
        yield_now().await;
    }
    for _ in 0..3 {
        let (mut dialled, mut accepted) =
            meet(&pair.transport, &mut pair.listener, &pair.at).await?;
        is_alive(&mut dialled, &mut accepted).await?;
        is_alive(&mut pair.dialled, &mut pair.accepted).await?;
    }
    ensure!(hanging.iter().any(|dial| !dial.is_finished()), "no dial hung: nothing was tested");
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

/// T-DIAL-3: a dial that is dropped leaves nothing behind.
pub async fn t_dial_3(fixture: &dyn TransportFixture) -> Outcome {
    let Pair { transport, mut listener, at, .. } = Pair::new(fixture).await?;
    for polls in 1..8 {
        drop(some_polls(transport.dial(&at), polls).await);
        // Which of those that knock is the one that stayed? The one that answers.
        let stayed = async {
            let mut dialled = transport.dial(&at).await?;
            dialled.sink.send(&mut one()).await?;
            Outcome::Ok(dialled)
        };
        let accepting = async {
            loop {
                let incoming = listener.accept().await?;
                let Ok(mut accepted) = bounded("ready", incoming.ready).await? else { continue };
                let mut batch = FrameBatch::new();
                let first = bounded("a frame or the end", accepted.stream.recv(&mut batch)).await?;
                if matches!(first, Ok(Received::Frames)) {
                    return Outcome::Ok(accepted);
                }
            }
        };
        let both = async { tokio::try_join!(stayed, accepting) };
        let (mut dialled, mut accepted) = bounded("a good dial after", both).await??;
        is_alive(&mut dialled, &mut accepted).await?;
    }
    Ok(())
}

fn one() -> FrameBatch {
    let mut batch = FrameBatch::new();
    batch.push(any_frame(1));
    batch
}

/// T-LISTEN-1: port 0 is resolved.
pub async fn t_listen_1(fixture: &dyn TransportFixture) -> Outcome {
    let first = Pair::new(fixture).await?;
    let at = fixture.listen_at();
    let second = first.transport.listen(&at).await?.local_addr();
    for found in [&first.at, &second] {
        ensure!(found.port() != 0, "the port is still 0");
        ensure!(found.host() == at.host(), "the host became {}", found.host());
    }
    ensure!(first.at != second, "two listeners were given one port");
    Ok(())
}

/// T-LISTEN-2: an address is taken once.
pub async fn t_listen_2(fixture: &dyn TransportFixture) -> Outcome {
    let pair = Pair::new(fixture).await?;
    let kind = kind_of(pair.transport.listen(&pair.at).await);
    ensure!(kind == Some(ErrorKind::InUse), "listening twice gave {kind:?}");
    Ok(())
}

/// T-LISTEN-3: dropping a listener stops listening and nothing else.
pub async fn t_listen_3(fixture: &dyn TransportFixture) -> Outcome {
    let Pair { transport, listener, at, mut dialled, mut accepted } = Pair::new(fixture).await?;
    drop(listener);
    is_alive(&mut dialled, &mut accepted).await?;
    let late = bounded("a dial to a listener that was dropped", transport.dial(&at)).await?;
    ensure!(late.is_err(), "a listener that was dropped was dialled");
    let again = transport.listen(&at).await;
    ensure!(again.is_ok(), "the address was not free again: {again:?}");
    is_alive(&mut dialled, &mut accepted).await
}

/// T-ACCEPT-1: a peer that dawdles holds up no other.
pub async fn t_accept_1(fixture: &dyn TransportFixture) -> Outcome {
    let mut pair = Pair::new(fixture).await?;
    let (transport, at) = (pair.transport.clone(), pair.at.clone());
    let slow = tokio::spawn(async move { transport.dial(&at).await });
    let dawdling = bounded("accept", pair.listener.accept()).await??;
    let (mut dialled, mut accepted) = meet(&pair.transport, &mut pair.listener, &pair.at).await?;
    is_alive(&mut dialled, &mut accepted).await?;
    let mut accepted = bounded("ready at last", dawdling.ready).await??;
    let dialled = bounded("the slow dial", slow).await?;
    let Ok(dialled) = dialled else {
        ensure!(false, "the slow dial panicked");
        return Outcome::Ok(());
    };
    is_alive(&mut dialled?, &mut accepted).await
}

/// T-ACCEPT-2: dropping `ready` is noticed by the peer.
pub async fn t_accept_2(fixture: &dyn TransportFixture) -> Outcome {
    let mut pair = Pair::new(fixture).await?;
    let accepting = async {
        drop(pair.listener.accept().await?.ready);
        Outcome::Ok(())
    };
    let dialling = async { bounded("the dial", pair.transport.dial(&pair.at)).await };
    let (dialled, ()) = tokio::try_join!(dialling, accepting)?;
    if let Ok(mut dialled) = dialled {
        is_over(&mut dialled.stream).await?;
        sends_fail(&mut dialled.sink).await?;
    }
    Ok(())
}

/// T-CANCEL-3: dropping accepts loses no connection.
pub async fn t_cancel_3(fixture: &dyn TransportFixture) -> Outcome {
    let Pair { transport, mut listener, at, .. } = Pair::new(fixture).await?;
    for polls in 1..6 {
        let dialling = async { Outcome::Ok(transport.dial(&at).await?) };
        let accepting = async {
            let incoming = loop {
                if let Some(incoming) = some_polls(listener.accept(), polls).await {
                    break incoming?;
                }
            };
            Outcome::Ok(incoming.ready.await?)
        };
        let both = async { tokio::try_join!(dialling, accepting) };
        let (mut dialled, mut accepted) = bounded("meeting", both).await??;
        is_alive(&mut dialled, &mut accepted).await?;
    }
    Ok(())
}

/// T-PEER-1: both ends say who the other is.
pub async fn t_peer_1(fixture: &dyn TransportFixture) -> Outcome {
    let mut pair = Pair::new(fixture).await?;
    let dialling = async { Outcome::Ok(pair.transport.dial(&pair.at).await?) };
    let accepting = async {
        let incoming = pair.listener.accept().await?;
        Outcome::Ok((incoming.peer.clone(), incoming.ready.await?))
    };
    let (dialled, (knocked, accepted)) = tokio::try_join!(dialling, accepting)?;
    ensure!(dialled.peer == pair.at, "{} was dialled, not {}", pair.at, dialled.peer);
    ensure!(accepted.peer == knocked, "{knocked} knocked, {} came in", accepted.peer);
    Ok(())
}
