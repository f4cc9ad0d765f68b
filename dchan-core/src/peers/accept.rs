//! Taking connections in.

use std::sync::Arc;

use tokio::time::timeout;
use tracing::{debug, error};

use super::{Peers, dial::with_source, door::Door, peer::Role};
use crate::{
    Breach, Connection, Incoming, Listener,
    link::{Introduction, Rank, expect_hello, refuse},
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
                error!(%error, "this node no longer listens");
                return;
            }
        };
        // Dropping it aborts it: nothing waits for a peer when too many knock at once.
        let Some(place) = door.enter(&stopping) else {
            metrics::counter!("dchan_handshakes_refused_total").increment(1);
            let most = peers.shared.config.limits.handshakes;
            let what = format_args!("more than {most} connections in their handshake");
            peers.shared.breach(Breach::Crowded, &incoming.peer, &what);
            continue;
        };
        let peers = peers.clone();
        peers.clone().shared.tasks.spawn(async move {
            let peer = incoming.peer.clone();
            let taken_in = place.cancel.run_until_cancelled(peers.take_in(incoming)).await;
            if taken_in.is_none() && !peers.shared.stopping.is_cancelled() {
                let what = "it dawdled in its handshake while others waited";
                peers.shared.breach(Breach::Late, &peer, &what);
            }
            if let Some(Err(error)) = taken_in {
                metrics::counter!("dchan_handshakes_failed_total").increment(1);
                if let Some(kind) = error.breach() {
                    peers.shared.breach(kind, &peer, &with_source(&error));
                }
            }
            drop(place);
        });
    }
}

impl Peers {
    async fn take_in(self: &Arc<Self>, incoming: Incoming) -> Result<(), Introduction> {
        let limit = self.shared.config.times.handshake;
        let late = || {
            crate::TransportError::new(
                crate::ErrorKind::TimedOut,
                "shake hands with",
                &incoming.peer,
            )
        };
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
                    let told = refuse(connection, refusal.clone(), self.shared.hello(0));
                    timeout(limit, told).await.map_err(|_| late())??;
                }
                return Err(error);
            }
        };
        match timeout(limit, self.answer(connection, theirs)).await {
            Ok(answered) => answered,
            Err(_) => Err(late().into()),
        }
    }

    async fn answer(
        self: &Arc<Self>,
        connection: Connection,
        theirs: Hello,
    ) -> Result<(), Introduction> {
        let mine = self.shared.hello(theirs.attempt);
        if let Err(refusal) = mine.check(&theirs) {
            refuse(connection, refusal.clone(), mine).await?;
            return Err(Introduction::Refused(refusal, Some(Box::new(theirs))));
        }
        let Some(peer) = self.admit(theirs.node) else {
            refuse(connection, Refusal::Busy, mine).await?;
            return Err(Introduction::Refused(Refusal::Busy, Some(Box::new(theirs))));
        };
        let rank = Rank { attempt: theirs.attempt, dialler: theirs.node };
        match peer.install(&theirs, rank) {
            Ok(installed) => {
                let role = Role::Listener(Box::new(mine));
                self.shared.tasks.spawn(peer.clone().serve(installed, connection, role));
                peer.send_waiting();
                Ok(())
            }
            Err(refusal) => {
                refuse(connection, refusal.clone(), mine).await?;
                if refusal.breach().is_some() {
                    return Err(Introduction::Refused(refusal, Some(Box::new(theirs))));
                }
                debug!(peer = %theirs.node, %refusal, "one link is enough");
                Ok(())
            }
        }
    }
}
