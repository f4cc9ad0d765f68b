//! Taking connections in.

use std::sync::Arc;

use tokio::{sync::Semaphore, time::timeout};
use tracing::{debug, error, warn};

use super::{Peers, peer::Role};
use crate::{
    Connection, Incoming, Listener,
    link::{Introduction, Rank, expect_hello, refuse},
    wire::{Hello, Refusal},
};

/// Takes connections in until the node stops. Each is shaken hands with in a task of its own.
pub(crate) async fn serve_listener(peers: Arc<Peers>, mut listener: Box<dyn Listener>) {
    let places = Arc::new(Semaphore::new(peers.shared.config.limits.handshakes));
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
        let Ok(place) = places.clone().try_acquire_owned() else {
            metrics::counter!("dchan_handshakes_refused_total").increment(1);
            continue;
        };
        let peers = peers.clone();
        peers.clone().shared.tasks.spawn(async move {
            let stopping = peers.shared.stopping.clone();
            let peer = incoming.peer.clone();
            if let Some(Err(error)) = stopping.run_until_cancelled(peers.take_in(incoming)).await {
                metrics::counter!("dchan_handshakes_failed_total").increment(1);
                if let Some(held) = peers.shared.log.pass("handshake") {
                    let suppressed = held.lines();
                    warn!(%peer, %error, suppressed, "a connection did not come to stand");
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
            let theirs = expect_hello(&mut connection).await?;
            Ok::<_, Introduction>((connection, theirs))
        };
        let (connection, theirs) = timeout(limit, heard).await.map_err(|_| late())??;
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
        let peer = self.peer(theirs.node, None);
        let rank = Rank { attempt: theirs.attempt, dialler: theirs.node };
        match peer.install(&theirs, rank) {
            Ok(installed) => {
                let role = Role::Listener(Box::new(mine));
                self.shared.tasks.spawn(peer.clone().serve(installed, connection, role));
                peer.send_waiting();
                Ok(())
            }
            Err(refusal) => {
                debug!(peer = %theirs.node, %refusal, "one link is enough");
                if let Refusal::Established { .. } | Refusal::Outdated { .. } = refusal {
                    refuse(connection, refusal, mine).await?;
                }
                Ok(())
            }
        }
    }
}
