//! Taking connections in.

use std::sync::Arc;

use tokio::time::timeout;
use tracing::{debug, error, warn};

use super::{Peers, Shared, door::Door, peer::Role};
use crate::{
    Addr, Breach, Connection, ErrorKind, Incoming, Listener, TransportError,
    link::{Introduction, Rank, expect_hello, refuse},
    log::Whole,
    wire::{Hello, Refusal},
};

/// Takes connections in until the node stops. Each is shaken hands with in a task of its own.
pub(crate) async fn serve_listener(peers: Arc<Peers>, mut listener: Box<dyn Listener>) {
    let config = &peers.shared.config;
    let door = Door::new(config.limits.handshakes, config.times.handshake / 5);
    let stopping = peers.shared.stopping.clone();
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let incoming = match accepted {
            Ok(incoming) => incoming,
            Err(error) => {
                let reason = error.kind.word();
                error!(reason, error = %Whole(&error), "this node no longer listens");
                return;
            }
        };
        // Dropping it aborts it: nothing waits for a peer when too many knock at once.
        let Some(place) = door.enter(&stopping) else {
            peers.turned_away(&incoming.peer);
            continue;
        };
        let peers = peers.clone();
        peers.clone().shared.spawn(async move {
            let from = incoming.peer.clone();
            match place.cancel.run_until_cancelled(peers.take_in(incoming)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => peers.not_taken_in(&from, &error),
                None if peers.shared.stopping.is_cancelled() => {}
                None => peers.not_taken_in(&from, &late(&from).into()),
            }
            drop(place);
        });
    }
}

impl Peers {
    /// Too many are in their handshake.
    fn turned_away(&self, from: &Addr) {
        let Shared { counters, log, config, .. } = &*self.shared;
        counters.handshakes_failed.count("crowded");
        counters.breaches.count(Breach::Crowded.name());
        if let Some(held) = log.pass("crowded") {
            let (most, suppressed) = (config.limits.handshakes, held.lines());
            warn!(%from, most, suppressed, "connection dropped: too many are in their handshake");
        }
    }

    /// Each kind has lines of its own: noise does not hide that a node is misconfigured.
    fn not_taken_in(&self, from: &Addr, error: &Introduction) {
        let (reason, kind) = (error.word(), error.breach().map(Breach::name));
        self.shared.counters.handshakes_failed.count(reason);
        if let Some(kind) = kind {
            self.shared.counters.breaches.count(kind);
        }
        if let Some(held) = self.shared.log.pass(kind.unwrap_or("handshake")) {
            let suppressed = held.lines();
            warn!(%from, reason, kind, error = %Whole(error), suppressed, "connection refused: no handshake");
        }
    }

    async fn take_in(self: &Arc<Self>, incoming: Incoming) -> Result<(), Introduction> {
        let limit = self.shared.config.times.handshake;
        let from = incoming.peer.clone();
        let late = || late(&from);
        let heard = async {
            let mut connection = incoming.ready.await?;
            let theirs = expect_hello(&mut connection).await;
            Ok::<_, Introduction>((connection, theirs))
        };
        let (connection, theirs) = timeout(limit, heard).await.map_err(|_| late())??;
        let theirs = match theirs {
            Ok(theirs) => theirs,
            Err(error) => {
                if let Introduction::Refused(refusal, _) = &error {
                    self.turn_away(connection, refusal, self.shared.hello(0)).await;
                }
                return Err(error);
            }
        };
        self.answer(connection, theirs).await
    }

    /// Whether it listens, and when it goes, makes no difference to why it was refused.
    async fn turn_away(&self, connection: Connection, refusal: &Refusal, mine: Hello) {
        let refused = refuse(connection, refusal.clone(), mine);
        let _gone = timeout(self.shared.config.times.handshake, refused).await;
    }

    async fn answer(
        self: &Arc<Self>,
        connection: Connection,
        theirs: Hello,
    ) -> Result<(), Introduction> {
        let mine = self.shared.hello(theirs.attempt);
        if let Err(refusal) = mine.check(&theirs, connection.identity.as_ref()) {
            self.turn_away(connection, &refusal, mine).await;
            return Err(Introduction::Refused(refusal, Some(Box::new(theirs))));
        }
        let Some(peer) = self.admit(theirs.node) else {
            self.turn_away(connection, &Refusal::Busy, mine).await;
            return Err(Introduction::Refused(Refusal::Busy, Some(Box::new(theirs))));
        };
        let rank = Rank { attempt: theirs.attempt, dialler: theirs.node };
        match peer.install(&theirs, rank) {
            Ok(installed) => {
                let role = Role::Listener(Box::new(mine));
                peer.spawn(peer.clone().serve(installed, connection, role));
                peer.send_waiting();
                Ok(())
            }
            Err(refusal) => {
                self.turn_away(connection, &refusal, mine).await;
                if refusal.breach().is_some() {
                    return Err(Introduction::Refused(refusal, Some(Box::new(theirs))));
                }
                self.shared.counters.handshakes_failed.count(refusal.word());
                debug!(peer = %theirs.node, reason = refusal.word(), %refusal, "one link is enough");
                Ok(())
            }
        }
    }
}

fn late(from: &Addr) -> TransportError {
    TransportError::new(ErrorKind::TimedOut, "shake hands with", from)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{
        Frame, FrameBatch, FrameSink, FrameStream, LaneId, MemoryNetwork, Node, NodeId,
        NodeOptions, Received, StaticMembership, wire::Control,
    };

    /// A peer that says this. When it is answered it has gone, or it stays and says nothing more.
    #[derive(Debug)]
    struct Rude(Option<Frame>, bool);

    fn gone() -> TransportError {
        TransportError::new(ErrorKind::Broken, "send to", &"c:1".parse::<Addr>().unwrap())
    }

    #[async_trait]
    impl FrameStream for Rude {
        async fn recv(&mut self, batch: &mut FrameBatch) -> Result<Received, TransportError> {
            let Some(frame) = self.0.take() else { return std::future::pending().await };
            batch.push(frame);
            Ok(Received::Frames)
        }
    }

    #[async_trait]
    impl FrameSink for Rude {
        async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
            batch.pop();
            Ok(())
        }

        async fn close(self: Box<Self>) -> Result<(), TransportError> {
            if self.1 { Ok(()) } else { Err(gone()) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_and_does_not_listen_counts_as_refused() {
        let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
        let listen: Addr = "a:1".parse().unwrap();
        let transport = network.transport(&listen);
        let node = Node::start(NodeOptions::new(listen), transport, list.member()).await.unwrap();
        let peers = &node.inner().peers;
        let hello = Hello { node: NodeId(7), ..peers.shared.hello(1) };
        let others = [
            Control::Hello(Hello { cluster_name: "other".into(), ..hello.clone() })
                .encode(Vec::new()),
            // Of another version.
            [&[0, 9][..], &[0xff; 50]].concat(),
        ];
        for (words, stays) in
            others.iter().flat_map(|words| [(words.clone(), false), (words.clone(), true)])
        {
            let from: Addr = "c:1".parse().unwrap();
            let frame = Frame::new(LaneId::CONTROL, words.into());
            let connection =
                Connection::new(Rude(None, stays), Rude(Some(frame), stays), from.clone());
            let incoming = Incoming::new(from, async { Ok(connection) });
            let error = peers.take_in(incoming).await.unwrap_err();
            assert!(matches!(error, Introduction::Refused(..)), "{error}");
        }
        node.shutdown().await.unwrap();
    }
}
