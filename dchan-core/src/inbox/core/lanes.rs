//! Lanes come, go on, and go.

use std::sync::Arc;

use super::{Attachment, Core, InLane, Notice, State};
use crate::{
    LaneId, NodeId,
    inbox::{LocalSender, Source},
    lane::{Epoch, Inbound, SlotId},
    wire::{Attach, Closed, Resumed},
};

impl Core {
    /// A lane begins. `None` if nothing new may come.
    pub(crate) fn open(
        &mut self,
        source: Source,
        epoch: Epoch,
        attach: &Attach,
    ) -> Option<(SlotId, Resumed)> {
        if self.state != State::Open {
            return None;
        }
        let slot = self.window.add();
        let lane = InLane { source, inbound: Inbound::default(), ended: false, wants_end: true };
        self.lanes.insert(slot, lane);
        match self.attach(slot, epoch, attach) {
            Attachment::Resumed(slot, resumed) => Some((slot, resumed)),
            Attachment::Ending => None,
        }
    }

    /// A lane goes on in a new connection.
    pub(crate) fn attach(&mut self, slot: SlotId, epoch: Epoch, attach: &Attach) -> Attachment {
        let state = self.state;
        let Some(lane) = self.lanes.get_mut(&slot).filter(|lane| !lane.ended) else {
            self.end_if_drained(slot);
            return Attachment::Ending;
        };
        if !lane.inbound.attach(epoch, attach.taken) {
            // A connection that is history by now.
            return Attachment::Ending;
        }
        let id = match &lane.source {
            Source::Remote { lane: id, .. } => *id,
            Source::Local { .. } => LaneId::CONTROL,
        };
        let next_frame = lane.inbound.next_frame();
        self.window.attach(slot, attach.wanting && state == State::Open);
        self.balance(Some(slot));
        let credit = self.credit_of(slot, id);
        Attachment::Resumed(slot, Resumed { next_frame, credit })
    }

    /// A sender in this process begins.
    pub(crate) fn open_local(
        &mut self,
        node: NodeId,
        sender: Arc<dyn LocalSender>,
    ) -> Option<SlotId> {
        if self.state != State::Open {
            return None;
        }
        let slot = self.window.add();
        let source = Source::Local { node, sender };
        let lane = InLane { source, inbound: Inbound::default(), ended: false, wants_end: false };
        self.lanes.insert(slot, lane);
        self.window.attach(slot, true);
        self.balance(None);
        Some(slot)
    }

    /// The connection of a lane is gone.
    pub(crate) fn cut(&mut self, slot: SlotId) {
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.inbound.cut();
            self.window.detach(slot);
            self.balance(None);
            self.settle_state();
        }
    }

    /// The sender says that nothing more comes.
    pub(crate) fn finish(&mut self, slot: SlotId, epoch: Epoch) {
        let Some(lane) = self.lanes.get_mut(&slot) else { return };
        lane.inbound.finish(epoch);
        if lane.inbound.is_finished() {
            self.end(slot);
        }
    }

    /// The sender is gone for good. What is here is delivered. `tell`: it may come back and ask.
    pub(crate) fn sender_lost(&mut self, slot: SlotId, tell: bool) {
        let Some(lane) = self.lanes.get_mut(&slot) else { return };
        lane.inbound.abandon();
        lane.wants_end &= tell;
        if self.report_lost && !lane.ended {
            self.lost.push_back(lane.source.node());
        }
        self.end(slot);
    }

    /// A sender in this process says that nothing more comes.
    pub(crate) fn finish_local(&mut self, slot: SlotId) {
        if self.lanes.contains_key(&slot) {
            self.end(slot);
        }
    }

    pub(super) fn end(&mut self, slot: SlotId) {
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.ended = true;
        }
        self.window.detach(slot);
        self.end_if_drained(slot);
        self.balance(None);
        self.settle_state();
        self.wake = true;
    }

    pub(super) fn end_if_drained(&mut self, slot: SlotId) {
        let Some(lane) = self.lanes.get(&slot) else { return };
        if !lane.ended || !lane.inbound.is_drained() {
            return;
        }
        if let (Source::Remote { lane: id, upstream, .. }, true) = (&lane.source, lane.wants_end) {
            let closed =
                Closed { lane: *id, taken: lane.inbound.taken(), skipped: lane.inbound.skipped() };
            self.notices.push(Notice::Closed(upstream.clone(), closed));
        }
        self.lanes.remove(&slot);
        self.window.remove(slot);
    }
}
