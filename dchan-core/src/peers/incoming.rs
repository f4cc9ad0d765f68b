//! The lanes that come in from a peer.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use tracing::warn;

use super::{Peer, in_lanes::InEntry};
use crate::{
    Breach, LaneId,
    inbox::{Haste, Inbox, Source, Upstream},
    lane::{Epoch, LaneFault, SlotId},
    link::ProtocolError,
    wire::{Attach, Closed, Control, LaneFrame, Resumed},
};

impl Peer {
    /// The connection is gone.
    pub(super) fn cut_incoming(&self) {
        let live = {
            let mut incoming = self.incoming.lock();
            incoming.cut();
            incoming.live()
        };
        live.into_iter().for_each(|(inbox, slot)| inbox.with(|core| core.cut(slot)));
    }

    /// A sender may be slow to give credit back, but not for ever: others wait for it.
    pub(super) fn check_reclaims(&self, epoch: Epoch) -> Result<(), ProtocolError> {
        self.incoming.lock().check_answers(epoch, self.shared.config.times.lane)
    }

    /// The process at the other end is gone: it will not ask how its lanes ended.
    pub(super) fn bury_incoming(&self) {
        let live = self.incoming.lock().live();
        self.incoming.lock().clear();
        self.fewer_lanes.notify_waiters();
        live.into_iter().for_each(|(inbox, slot)| inbox.with(|core| core.sender_lost(slot, false)));
    }

    /// The process at the other end has been out of reach for too long. It may come back and ask.
    pub(super) fn lose_incoming(&self) {
        let live = self.incoming.lock().live();
        live.into_iter().for_each(|(inbox, slot)| inbox.with(|core| core.sender_lost(slot, true)));
    }

    pub(super) fn on_lane_frame(
        self: &Arc<Self>,
        epoch: Epoch,
        id: LaneId,
        payload: Bytes,
    ) -> Result<u64, ProtocolError> {
        let frame = LaneFrame::decode(payload)?;
        let messages = frame.messages();
        match frame {
            LaneFrame::Attach(attach) => {
                self.on_attach(epoch, id, &attach)?;
                return Ok(0);
            }
            LaneFrame::ClosedAck => {
                self.incoming.lock().confirm(id);
                self.fewer_lanes.notify_waiters();
                return Ok(0);
            }
            _ => {}
        }
        let (inbox, slot) = match self.incoming.lock().get(id) {
            Some(InEntry::Live(inbox, slot)) => (inbox.clone(), *slot),
            // It was closed while this was under way: its sender has it, too.
            Some(InEntry::Over(_)) => return Ok(messages),
            None => return self.on_unknown(epoch, id, &frame).map(|()| messages),
        };
        if let LaneFrame::Want(_) | LaneFrame::Fin = frame {
            self.incoming.lock().answered(id);
        }
        if let LaneFrame::Want(_) = frame {
            // It may wait for what was taken in the midst of a batch.
            inbox.sync(Haste::None);
        }
        let handled = inbox.with(|core| match frame {
            LaneFrame::Data(header, records) => {
                core.data(slot, epoch, &header, records, &self.shared.in_place)
            }
            LaneFrame::Chunk(header, chunk) => core.chunk(slot, epoch, &header, chunk),
            LaneFrame::Want(want) => core.want(slot, epoch, &want),
            LaneFrame::Fin => {
                core.finish(slot, epoch);
                Ok(())
            }
            LaneFrame::Attach(_) | LaneFrame::ClosedAck => Ok(()),
        });
        handled.map_err(|fault| self.fail_incoming(id, &inbox, slot, &fault))?;
        Ok(messages)
    }

    /// A frame of a lane that is not here. Of one that was given up, its sender says that it is over.
    fn on_unknown(&self, epoch: Epoch, id: LaneId, frame: &LaneFrame) -> Result<(), ProtocolError> {
        if self.outbox_of(epoch).is_none() || matches!(frame, LaneFrame::Fin) {
            return Ok(());
        }
        let what = format!("data of lane {id}, which was never opened");
        Err(ProtocolError::new(Breach::UnknownLane, what))
    }

    /// A lane whose sender breaks the rules ends, or the same would happen in the next connection.
    fn fail_incoming(
        &self,
        id: LaneId,
        inbox: &Arc<Inbox>,
        slot: SlotId,
        fault: &LaneFault,
    ) -> ProtocolError {
        if let Some(held) = self.may_log("lane") {
            let suppressed = held.lines();
            warn!(peer = %self.id, lane = %id, namespace = %inbox.namespace, %fault, suppressed, "lane ended");
        }
        self.incoming.lock().forget(id);
        self.fewer_lanes.notify_waiters();
        inbox.with(|core| core.sender_lost(slot, false));
        ProtocolError::in_lane(id, fault)
    }

    fn on_attach(
        self: &Arc<Self>,
        epoch: Epoch,
        id: LaneId,
        attach: &Attach,
    ) -> Result<(), ProtocolError> {
        let known = match self.incoming.lock().get(id) {
            Some(InEntry::Live(inbox, slot)) => Some((inbox.clone(), *slot)),
            Some(InEntry::Over(closed)) => {
                self.control_in(epoch, Control::Closed(closed.clone()));
                return Ok(());
            }
            None => None,
        };
        if let Some((inbox, slot)) = known {
            inbox.with(|core| core.attach(slot, epoch, attach));
            return Ok(());
        }
        if !attach.fresh {
            self.control_in(epoch, Control::NotFound(id));
            return Ok(());
        }
        self.open_incoming(epoch, id, attach)
    }

    fn open_incoming(
        self: &Arc<Self>,
        epoch: Epoch,
        id: LaneId,
        attach: &Attach,
    ) -> Result<(), ProtocolError> {
        let inbox = self.shared.inbox(&attach.receiver);
        let inbox = inbox.filter(|inbox| inbox.namespace == attach.namespace);
        let most = self.shared.config.limits.lanes;
        self.incoming.lock().check_room(attach.receiver, most)?;
        let upstream: Arc<dyn Upstream> = self.clone();
        let source = Source::Remote { node: self.id, lane: id, upstream };
        let opened = inbox.is_some_and(|inbox| {
            inbox.with(|core| {
                // The last frames of a connection may be worked on while the next one stands already. A
                // lane that both of them bring is one lane: another one would keep its credit for ever.
                let known = match self.incoming.lock().get(id) {
                    Some(InEntry::Live(there, slot)) if Arc::ptr_eq(there, &inbox) => Some(*slot),
                    _ => None,
                };
                if let Some(slot) = known {
                    core.attach(slot, epoch, attach);
                    return true;
                }
                let opened = core.open(source, epoch, attach);
                if let Some(slot) = opened {
                    // Before anybody can hear of the lane, or end it.
                    self.incoming.lock().begin(id, inbox.clone(), slot);
                }
                opened.is_some()
            })
        });
        if !opened {
            let (taken, skipped) = (0, Vec::new());
            self.control_in(epoch, Control::Closed(Closed { lane: id, taken, skipped }));
        }
        Ok(())
    }

    /// The credit of those of the lanes that this connection has.
    pub(super) fn credit_of(
        &self,
        epoch: Epoch,
        lanes: &[LaneId],
    ) -> impl Iterator<Item = Control> {
        lanes.iter().filter_map(move |id| {
            let (inbox, slot) = match self.incoming.lock().get(*id)? {
                InEntry::Live(inbox, slot) => (inbox.clone(), *slot),
                InEntry::Over(_) => return None,
            };
            inbox.with(|core| core.credit(slot, *id, epoch)).map(Control::Credit)
        })
    }
}

impl Upstream for Peer {
    fn resumed(&self, epoch: Epoch, resumed: Resumed) {
        self.control_in(epoch, Control::Resumed(resumed));
    }

    fn owe(&self, epoch: Epoch, lane: LaneId) {
        if let Some(outbox) = self.outbox_of(epoch) {
            outbox.owe(lane);
        }
    }

    fn owe_with_more(&self, epoch: Epoch, lane: LaneId) {
        if let Some(outbox) = self.outbox_of(epoch) {
            outbox.owe_with_more(lane);
        }
    }

    fn reclaim(&self, epoch: Epoch, lane: LaneId) {
        self.incoming.lock().ask(epoch, lane);
        self.control_in(epoch, Control::Reclaim(lane));
    }

    fn stop(&self, lane: LaneId) {
        self.control(Control::Stop(lane));
    }

    fn closed(&self, closed: Closed) {
        self.incoming.lock().end(closed.clone());
        self.control(Control::Closed(closed));
        if !self.is_up() {
            self.shared.idle.notify_one();
        }
    }

    fn watch(&self, inbox: &Weak<Inbox>) -> bool {
        Peer::watch(self, inbox)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryNetwork, NodeId, StaticMembership, link::Rank, node::tests::node as start};

    #[tokio::test(start_paused = true)]
    async fn what_a_lane_owes_is_told_in_its_own_connection() {
        let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
        let node = start(&network, &list, "a:1").await;
        let (shared, peer) = (&node.inner().shared, node.inner().peers.peer(NodeId(9), None));
        let mut outboxes = Vec::new();
        for attempt in [1, 2] {
            let rank = Rank { attempt, dialler: NodeId(9) };
            peer.install(&shared.hello(1), rank).unwrap();
            outboxes.push(peer.outbox().unwrap());
        }
        let waiting = || [0, 1].map(|at| outboxes[at].metrics().control);
        // The lane has not come into the second connection: its sender would not listen.
        let upstream: &dyn Upstream = &*peer;
        let lane = LaneId(17);
        for (outbox, expected) in outboxes.iter().zip([[0, 0], [0, 3]]) {
            upstream.owe(outbox.epoch, lane);
            upstream.owe_with_more(outbox.epoch, lane);
            upstream.reclaim(outbox.epoch, lane);
            assert_eq!(waiting(), expected);
        }
        node.shutdown().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_two_connections_bring_at_one_time_is_one() {
        let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
        let node = start(&network, &list, "a:1").await;
        let receiver = node.receiver::<u32>("n").capacity(4).await.unwrap();
        let attach = Attach {
            namespace: receiver.namespace().clone(),
            receiver: receiver.id(),
            fresh: true,
            taken: 0,
            wanting: true,
        };
        let (peer, id) = (node.inner().peers.peer(NodeId(9), None), LaneId(17));
        // Neither has seen that the other one opens it.
        for epoch in [1, 2] {
            peer.open_incoming(epoch, id, &attach).unwrap();
        }
        let credit: Vec<_> = peer.credit_of(2, &[id]).collect();
        assert!(
            matches!(&credit[..], [Control::Credit(credit)] if credit.limit_messages == 4),
            "{credit:?}"
        );
        assert_eq!(peer.credit_of(1, &[id]).next(), None);
        drop(receiver);
    }
}
