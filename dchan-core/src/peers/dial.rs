//! Making connections, and serving what membership asks of them.

use std::sync::Arc;

use tokio::{sync::mpsc, time::timeout};
use tracing::{debug, info, warn};

use super::{
    Peer, Peers, Shared,
    peer::{Role, info_of},
};
use crate::{
    Addr, Breach, Call, ErrorKind, Identify, PeerInfo, RequestError,
    link::{Backoff, Introduction, Rank, greet},
    log::Whole,
    wire::{Hello, Refusal},
};

/// A dial that came to nothing.
struct Failed {
    kind: ErrorKind,
    /// One word for metrics.
    word: &'static str,
    reason: String,
    /// Who is there all the same.
    found: Option<Box<Hello>>,
    transient: bool,
}

impl Peer {
    /// Begins to dial, unless there is a connection, or a dial, or no need.
    pub(crate) fn dial_if_wanted(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.dialling || self.shared.stopping.is_cancelled() {
            return;
        }
        state.dialling = true;
        drop(state);
        if self.is_up() || !self.is_wanted() {
            self.state.lock().dialling = false;
            return;
        }
        let peer = self.clone();
        self.spawn(async move {
            let stopping = peer.shared.stopping.clone();
            stopping.run_until_cancelled(peer.dial_until_up()).await;
            peer.state.lock().dialling = false;
            peer.shared.idle.notify_one();
            // Something may have come to want a link in the last moment.
            if !stopping.is_cancelled() && !peer.is_up() && peer.is_wanted() {
                peer.dial_if_wanted();
            }
        });
    }

    async fn dial_until_up(self: &Arc<Self>) {
        let (first, most) = self.shared.config.times.redial;
        let mut backoff = Backoff::new(first, most, self.shared.random());
        while !self.is_up() && self.is_wanted() {
            let Some(addr) = self.addr() else { return };
            match self.dial_once(&addr).await {
                Ok(()) => return,
                Err(failed) => {
                    self.on_dial_failed(&addr, &failed);
                    self.asks.lock().on_unreachable(failed.kind, &failed.reason);
                }
            }
            // One that comes from the other side in the meantime will do.
            let mut up = self.watch_up();
            let _came = timeout(backoff.next_wait(), up.wait_for(|up| *up != 0)).await;
        }
    }

    /// Says so when it begins to fail and when the reason changes, not each time.
    fn on_dial_failed(&self, addr: &Addr, failed: &Failed) {
        let Failed { word: reason, reason: error, transient, .. } = failed;
        self.counters.dials_failed.count(reason);
        let before = self.state.lock().dial_failed.replace(reason);
        if before == Some(*reason) {
            debug!(peer = %self.id, %addr, reason, error, "cannot link yet");
        } else if let Some(held) = self.may_log("dial") {
            let suppressed = held.lines();
            if *transient {
                info!(peer = %self.id, %addr, reason, error, suppressed, "cannot link yet");
            } else {
                warn!(peer = %self.id, %addr, reason, error, suppressed, "cannot link");
            }
        }
    }

    async fn dial_once(self: &Arc<Self>, addr: &Addr) -> Result<(), Failed> {
        let attempt = self.state.lock().ranks.next_attempt();
        let (hello, connection) =
            shake(&self.shared, addr, attempt).await.inspect_err(|failed| {
                if let Some(found) = &failed.found {
                    self.state.lock().ranks.seen(found.attempt);
                }
            })?;
        if hello.node != self.id {
            let reason = format!("expected node {}, found {}", self.id, hello.node);
            return Err(Failed::new(ErrorKind::Refused, reason));
        }
        let rank = Rank { attempt, dialler: self.shared.me.id };
        let installed = self
            .install(&hello, rank)
            .map_err(|refusal| Failed::new(ErrorKind::Refused, refusal.to_string()))?;
        self.send_waiting();
        self.spawn(self.clone().serve(installed, connection, Role::Dialler));
        Ok(())
    }
}

impl Failed {
    fn new(kind: ErrorKind, reason: String) -> Self {
        Self { kind, word: kind.word(), reason, found: None, transient: true }
    }
}

/// Dials and introduces this node.
async fn shake(
    shared: &Shared,
    addr: &Addr,
    attempt: u64,
) -> Result<(Hello, crate::Connection), Failed> {
    let mine = shared.hello(attempt);
    let shaken = async {
        let connection = shared.transport.dial(addr).await?;
        greet(connection, &mine).await
    };
    match timeout(shared.config.times.handshake, shaken).await {
        Ok(Ok(shaken)) => Ok(shaken),
        Ok(Err(error)) => {
            // Whoever is not there, or slow, has broken nothing.
            let nobody = [Breach::Late, Breach::Unfinished];
            if let Some(kind) = error.breach().filter(|kind| !nobody.contains(kind)) {
                shared.counters.breaches.count(kind.name());
            }
            Err(failed(error))
        }
        Err(_) => Err(Failed::new(ErrorKind::TimedOut, "no connection in time".into())),
    }
}

fn failed(error: Introduction) -> Failed {
    let reason = Whole(&error).to_string();
    let word = error.word();
    match error {
        Introduction::Transport(error) => {
            let transient = error.kind.is_transient();
            Failed { kind: error.kind, word, reason, found: None, transient }
        }
        Introduction::Protocol(_) => Failed::new(ErrorKind::Protocol, reason),
        Introduction::Refused(refusal, found) => {
            let transient = refusal.is_transient();
            let found = found.map(|mut hello| {
                if let Refusal::Established { attempt, .. } = refusal {
                    hello.attempt = hello.attempt.max(attempt);
                }
                hello
            });
            Failed { kind: ErrorKind::Refused, word, reason, found, transient }
        }
    }
}

/// Serves what membership asks for, until the node stops. A membership may well keep its handle.
pub(crate) async fn serve_calls(peers: Arc<Peers>, mut calls: mpsc::Receiver<Call>) {
    let stopping = peers.shared.stopping.clone();
    while let Some(Some(call)) = stopping.run_until_cancelled(calls.recv()).await {
        match call {
            Call::Ask(ask) => {
                let peer = peers.peer(ask.to, None);
                if !peer.is_up() {
                    peer.set_addr(&ask.at);
                }
                peer.ask(ask);
            }
            Call::Identify(identify) => {
                peers.shared.spawn(peers.clone().identify(identify));
            }
        }
    }
}

impl Peers {
    async fn identify(self: Arc<Self>, identify: Identify) {
        let Identify { at, deadline, mut reply } = identify;
        let stopping = self.shared.stopping.clone();
        let found = tokio::select! {
            found = self.find_out(&at) => found,
            () = tokio::time::sleep_until(deadline) => Err(RequestError::TimedOut),
            () = reply.closed() => return,
            () = stopping.cancelled() => Err(RequestError::Stopped),
        };
        let _gone = reply.send(found);
    }

    async fn find_out(self: &Arc<Self>, at: &Addr) -> Result<PeerInfo, RequestError> {
        if let Some(info) = self.at(at).and_then(|peer| peer.info()) {
            return Ok(info);
        }
        let attempt = 1;
        let unreachable = |failed: Failed| RequestError::Unreachable {
            at: at.clone(),
            kind: failed.kind,
            reason: failed.reason,
        };
        let (hello, connection) = match shake(&self.shared, at, attempt).await {
            Ok(shaken) => shaken,
            // There is a link already, under another address, or it is being made.
            Err(Failed { found: Some(hello), transient: true, .. }) => return Ok(info_of(&hello)),
            // This node itself, or a copy of it: whoever asks must know.
            Err(Failed { found: Some(hello), .. }) if hello.node == self.shared.me.id => {
                return Ok(info_of(&hello));
            }
            Err(failed) => return Err(unreachable(failed)),
        };
        let info = info_of(&hello);
        let peer = self.peer(hello.node, None);
        let rank = Rank { attempt, dialler: self.shared.me.id };
        match peer.install(&hello, rank) {
            Ok(installed) => {
                peer.send_waiting();
                peer.spawn(peer.clone().serve(installed, connection, Role::Dialler));
            }
            Err(refusal) => {
                debug!(peer = %info.id, addr = %at, reason = refusal.word(), %refusal, "one link is enough");
            }
        }
        Ok(info)
    }
}
