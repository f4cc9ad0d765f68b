//! Connections come and go.

use std::sync::{Arc, Weak, atomic::Ordering};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument, debug, info, warn};

use super::{Heard, Installed, Peer, Role};
use crate::{
    Connection, Frame,
    lane::Epoch,
    link::{Cut, Drive, Driven, Outbox, Rank, Ranks, Session, Side, welcome},
    log::Whole,
    wire::{Attach, Control, Hello, LaneFrame, Refusal},
};

impl Peer {
    /// Lets a connection stand, unless another one has a rank as high.
    pub(in crate::peers) fn install(
        self: &Arc<Self>,
        hello: &Hello,
        rank: Rank,
    ) -> Result<Installed, Refusal> {
        let _passage = self.passage.lock();
        let mut state = self.state.lock();
        let known = state.hello.as_ref().map(|known| (known.boot, known.incarnation));
        let reborn = known.is_some_and(|(boot, _)| boot != hello.boot);
        match known {
            Some((boot, ours)) if reborn && state.standing.is_some() => {
                let theirs = hello.incarnation;
                if theirs < ours {
                    return Err(Refusal::Outdated { ours, theirs });
                }
                // One that was restarted comes in a new life, or finds the old one's connection gone.
                if theirs == ours {
                    return Err(Refusal::Duplicate { ours: boot, theirs: hello.boot });
                }
                state.ranks = Ranks::default();
            }
            _ if reborn => state.ranks = Ranks::default(),
            _ => {}
        }
        state.ranks.establish(rank).map_err(|standing| Refusal::Established {
            attempt: standing.attempt,
            dialler: standing.dialler,
        })?;
        state.epoch += 1;
        let epoch = state.epoch;
        let outbox = Arc::new(Outbox::new(epoch, self.shared.config.limits.link));
        // One that comes to stand while the node stops ends with all others.
        let cancel = self.shared.stopping.child_token();
        let old = state.standing.replace(cancel.clone());
        let replaced = old.is_some();
        old.inspect(CancellationToken::cancel);
        state.addr = Some(hello.addr.clone());
        state.hello = Some(hello.clone());
        state.heard = Heard::default();
        (state.suspect, state.lost, state.dial_failed) = (false, false, None);
        self.outbox.store(Some(outbox.clone()));
        drop(state);
        self.asks.lock().on_down();
        self.cut_incoming();
        self.revive(reborn, &outbox);
        self.up.send_replace(epoch);
        self.publish();
        let by = if rank.dialler == self.id { "accepted" } else { "dialled" };
        self.counters.links.count(by);
        if replaced {
            debug!(peer = %self.id, addr = %hello.addr, by, epoch, "another connection");
        } else if let Some(held) = self.may_log("link") {
            let suppressed = held.lines();
            info!(peer = %self.id, addr = %hello.addr, by, reborn, suppressed, "peer up");
        }
        Ok(Installed { epoch, outbox, cancel })
    }

    /// Brings the lanes into a new connection, or buries those of a process that is gone.
    pub(super) fn revive(self: &Arc<Self>, reborn: bool, outbox: &Arc<Outbox>) {
        let (lanes, given_up, boot) = {
            let mut state = self.state.lock();
            let given_up = std::mem::take(&mut state.given_up);
            let boot = state.hello.as_ref().map(|hello| hello.boot);
            (state.outs.values().cloned().collect::<Vec<_>>(), given_up, boot)
        };
        for lane in lanes {
            if Some(lane.receiver.boot) == boot {
                lane.on_up(outbox);
                if let Some(owner) = lane.owner() {
                    owner.recount(&lane);
                }
            } else {
                self.kill(&lane);
            }
        }
        if reborn {
            self.bury_incoming();
            return;
        }
        let tombstones = self.incoming.lock().tombstones();
        for closed in tombstones {
            outbox.control(Control::Closed(closed));
        }
        for (lane, (namespace, receiver)) in given_up {
            let attach = Attach { namespace, receiver, fresh: false, taken: 0, wanting: false };
            let words = [LaneFrame::Attach(attach), LaneFrame::Fin];
            let payloads = words.iter().filter_map(LaneFrame::encode_plain);
            outbox.frames(payloads.map(|payload| Frame::new(lane, payload)));
        }
    }

    /// Serves a connection until it ends.
    pub(in crate::peers) async fn serve(
        self: Arc<Self>,
        installed: Installed,
        mut connection: Connection,
        role: Role,
    ) {
        let Installed { epoch, outbox, cancel } = installed;
        let side = match role {
            Role::Dialler => Side::Dialler,
            Role::Listener(mine) => {
                let welcomed = welcome(&mut *connection.sink, &mine);
                let limit = self.shared.config.times.handshake;
                match tokio::time::timeout(limit, welcomed).await {
                    Ok(Ok(())) => Side::Listener,
                    Ok(Err(error)) => return self.on_cut(epoch, &error.into()),
                    Err(_) => return self.on_cut(epoch, &Cut::Silent),
                }
            }
        };
        let session = Session {
            epoch,
            outbox: outbox.clone(),
            endpoint: Arc::new(self.clone()),
            times: self.shared.config.times,
            timers: self.shared.timers.clone(),
            heard: Arc::default(),
            counters: self.counters.clone(),
        };
        let Connection { sink, stream, .. } = connection;
        let silence = self.shared.config.times.silence;
        let writing = session.clone().write(sink, side);
        let writer = Arc::new(Driven::new(writing.instrument(self.span.clone())));
        outbox.set_writer(Arc::downgrade(&writer) as Weak<dyn Drive>);
        // Tasks of their own, as they are called with each message, and what is below is not.
        let mut writer = AbortOnDropHandle::new(self.spawn(async move { writer.run().await }));
        let mut reader = AbortOnDropHandle::new(self.spawn(session.clone().read(stream)));
        let _announcer = AbortOnDropHandle::new(self.spawn(async move { outbox.announce().await }));
        let cut = tokio::select! {
            () = cancel.cancelled() => Cut::Superseded,
            cut = session.watch(side) => cut,
            read = &mut reader => read.unwrap_or(Cut::Ended),
            written = &mut writer => match written {
                Ok((Cut::Closed, _)) => {
                    // Our side is done; the other may still have things to say, for a while.
                    let _ended = tokio::time::timeout(silence, &mut reader).await;
                    Cut::Closed
                }
                Ok((cut, _sink)) => cut,
                Err(_) => Cut::Closed,
            },
        };
        // Nothing comes in any more once it is said that the connection is gone.
        reader.abort();
        if !reader.is_finished() {
            let _ended = (&mut reader).await;
        }
        self.on_cut(epoch, &cut);
    }

    /// The connection is gone: everything waits for the next one.
    pub(super) fn on_cut(self: &Arc<Self>, epoch: Epoch, cut: &Cut) {
        self.counters.cuts.count(cut.reason());
        if let Some(kind) = cut.breach() {
            self.counters.protocol_errors.count(kind.name());
            self.shared.counters.breaches.count(kind.name());
        }
        let passage = self.passage.lock();
        let lanes = {
            let mut state = self.state.lock();
            if state.epoch != epoch || state.standing.take().is_none() {
                return;
            }
            state.ranks.fall();
            state.fell = Some(Instant::now());
            state.outs.values().cloned().collect::<Vec<_>>()
        };
        self.up.send_replace(0);
        self.outbox.store(None);
        self.log_cut(cut);
        for lane in lanes {
            lane.on_down();
            if let Some(owner) = lane.owner() {
                owner.recount(&lane);
            }
        }
        self.cut_incoming();
        self.asks.lock().on_down();
        self.publish();
        drop(passage);
        // Messages of other peers may have been taken there.
        self.look_after_inboxes();
        if !self.shared.stopping.is_cancelled() {
            self.dial_if_wanted();
            self.spawn(self.clone().give_up_later(epoch));
        }
        self.shared.idle.notify_one();
    }

    fn log_cut(&self, cut: &Cut) {
        let reason = cut.reason();
        match (cut, cut.breach()) {
            (error, Some(kind)) => {
                if let Some(held) = self.may_log("protocol") {
                    let suppressed = held.lines();
                    warn!(peer = %self.id, reason, %kind, error = %Whole(error), suppressed, "peer down");
                }
            }
            // In good order.
            (Cut::Closed, _) => debug!(peer = %self.id, reason, "peer down"),
            (error, None) => {
                if let Some(held) = self.may_log("link") {
                    let suppressed = held.lines();
                    info!(peer = %self.id, reason, error = %Whole(error), suppressed, "peer down");
                }
            }
        }
    }

    /// The one deadline of a link: if no connection comes in time, its lanes are given up.
    pub(super) async fn give_up_later(self: Arc<Self>, epoch: Epoch) {
        let mut up = self.watch_up();
        let back = tokio::time::timeout(self.shared.config.times.lane, up.wait_for(|up| *up != 0));
        let came_back = tokio::select! {
            () = self.shared.stopping.cancelled() => return,
            back = back => back.is_ok(),
        };
        {
            let mut state = self.state.lock();
            if came_back || state.epoch != epoch {
                return;
            }
            state.lost = true;
        }
        let lanes = self.state.lock().outs.len() + self.incoming.lock().count().0;
        if lanes > 0 {
            self.counters.given_up.fetch_add(1, Ordering::Relaxed);
            if let Some(held) = self.may_log("given up") {
                let (after, suppressed) = (self.shared.config.times.lane, held.lines());
                warn!(peer = %self.id, lanes, ?after, suppressed, "peer given up: what was handed to it is unknown");
            }
        }
        self.give_up();
        self.shared.idle.notify_one();
    }

    /// Gives up all lanes: what was handed has an unknown fate.
    pub(crate) fn give_up(&self) {
        let lanes: Vec<_> = self.state.lock().outs.values().cloned().collect();
        for lane in lanes {
            let namespace = lane.look(|out| out.lane.namespace.clone());
            let most = self.shared.config.limits.lanes;
            let mut state = self.state.lock();
            if state.given_up.len() < most {
                state.given_up.insert(lane.id, (namespace, lane.receiver));
            }
            drop(state);
            self.lose(&lane);
        }
        self.lose_incoming();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Addr, Node, NodeOptions, StaticMembership, memory::MemoryNetwork};

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_comes_to_stand_while_the_node_stops_ends_with_it() {
        let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
        let start = async |name: &str| {
            let listen: Addr = name.parse().unwrap();
            let transport = network.transport(&listen);
            Node::start(NodeOptions::new(listen), transport, list.member()).await.unwrap()
        };
        let (a, b) = (start("a:1").await, start("b:1").await);
        let hello = b.inner().shared.hello(1);
        let rank = Rank { attempt: 1, dialler: b.id() };
        let peer = a.inner().peers.peer(b.id(), None);
        // All that stands was told to end, and then another one comes.
        a.inner().shared.stopping.cancel();
        let installed = peer.install(&hello, rank).unwrap();
        assert!(installed.cancel.is_cancelled());
        b.shutdown().await.unwrap();
    }
}
