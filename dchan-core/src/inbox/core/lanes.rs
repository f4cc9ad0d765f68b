//! Lanes come, go on, and go.

use std::sync::Arc;

use super::{Core, InLane, Notice, State};
use crate::{
    NodeId,
    inbox::{LocalSender, Source},
    lane::{Epoch, Inbound, SlotId},
    wire::{Attach, Closed, Resumed},
};

impl Core {
    /// A lane begins. `None` if nothing new may come.
    pub(crate) fn open(&mut self, source: Source, epoch: Epoch, attach: &Attach) -> Option<SlotId> {
        if self.state != State::Open {
            return None;
        }
        let slot = self.window.add();
        let lane = InLane { source, inbound: Inbound::default(), ended: false, wants_end: true };
        self.lanes.insert(slot, lane);
        self.attach(slot, epoch, attach);
        Some(slot)
    }

    /// A lane goes on in a new connection. Its sender is answered, unless the lane is over: then it
    /// hears how it ended as soon as what is here is taken.
    pub(crate) fn attach(&mut self, slot: SlotId, epoch: Epoch, attach: &Attach) {
        let state = self.state;
        let Some(lane) = self.lanes.get_mut(&slot).filter(|lane| !lane.ended) else {
            self.end_if_drained(slot);
            return;
        };
        let Source::Remote { lane: id, upstream, .. } = lane.source.clone() else { return };
        if !lane.inbound.attach(epoch, attach.taken) {
            // A connection that is history by now.
            return;
        }
        let next_frame = lane.inbound.next_frame();
        self.window.attach(slot, attach.wanting && state == State::Open);
        self.balance(Some(slot));
        let credit = self.credit_of(slot, id);
        // As a notice, and so in order: what is said of the lane before this is not listened to.
        let resumed = Resumed { next_frame, credit };
        self.notices.push(Notice::Resumed(upstream.clone(), epoch, resumed));
        if state != State::Open {
            // Behind the answer: what the last connection lost goes to others, too.
            self.notices.push(Notice::Stop(upstream, id));
        }
        // The receiver may be in the midst of what an earlier connection brought.
        self.watch();
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
        let node = lane.source.node();
        // Told once, however many lanes it had: the queue is no longer than there are peers.
        if self.report_lost && !lane.ended && !self.lost.contains(&node) {
            self.lost.push_back(node);
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
        self.untold.retain(|untold| *untold != slot);
        self.window.remove(slot);
    }
}
