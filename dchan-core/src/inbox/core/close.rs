//! The receiver closes.

use super::{Core, InLane, Notice, State};
use crate::{
    inbox::{Batch, Source},
    lane::SlotId,
    wire::Closed,
};

impl Core {
    /// No new messages. What is on its way still comes.
    pub(crate) fn close(&mut self) {
        if self.state != State::Open {
            return;
        }
        self.state = State::Closing;
        let mut local = Vec::new();
        for (&slot, lane) in self.lanes.iter() {
            match &lane.source {
                Source::Remote { lane: id, upstream, .. } => {
                    self.notices.push(Notice::Stop(upstream.clone(), *id));
                }
                Source::Local { sender, .. } => {
                    self.notices.push(Notice::StopLocal(sender.clone()));
                    local.push(slot);
                }
            }
        }
        for slot in local {
            self.end(slot);
        }
        self.settle_state();
        self.wake = true;
    }

    /// Gives everything that was not taken back to its senders. `rest`: what is left of the batch that
    /// the receiver was in.
    ///
    /// Without it, the receiver may still hold values of a sender in this process, which nobody else
    /// has: their lane stays, and what is behind them too, until the receiver comes with the rest.
    pub(crate) fn hand_back(&mut self, rest: Option<Batch>, then: State) {
        let held = if rest.is_none() { self.held_by_receiver() } else { None };
        if let Some(present) = self.present.take() {
            self.counted = Some(present.accounted.messages);
        }
        let mut batches: Vec<Batch> = rest.into_iter().chain(self.queue.drain(..)).collect();
        for (slot, mut lane) in std::mem::take(&mut self.lanes) {
            match lane.source {
                Source::Local { ref sender, .. } if held == Some(slot) => {
                    self.notices.push(Notice::StopLocal(sender.clone()));
                    let (own, others): (Vec<_>, _) =
                        batches.into_iter().partition(|batch| batch.slot == slot);
                    (self.queue, batches) = (own.into(), others);
                    lane.ended = true;
                    self.lanes.insert(slot, lane);
                    self.window.detach(slot);
                    continue;
                }
                Source::Remote { lane: id, upstream, .. } if lane.wants_end => {
                    let (taken, skipped) = (lane.inbound.taken(), lane.inbound.skipped());
                    self.notices
                        .push(Notice::Closed(upstream, Closed { lane: id, taken, skipped }));
                }
                Source::Remote { .. } => {}
                Source::Local { sender, .. } => {
                    let (own, others) = batches.into_iter().partition(|batch| batch.slot == slot);
                    batches = others;
                    self.notices.push(Notice::StopLocal(sender.clone()));
                    self.notices.push(Notice::Returned(sender, own));
                }
            }
            self.window.remove(slot);
        }
        self.untold.clear();
        self.state = then;
        self.wake = true;
    }

    /// The lane of the batch that the receiver is in the midst of, if its values are nowhere else.
    pub(super) fn held_by_receiver(&self) -> Option<SlotId> {
        let present = self.present.as_ref()?;
        let lane = self.lanes.get(&present.slot)?;
        let local = matches!(lane.source, Source::Local { .. });
        (local && present.accounted.messages < present.all.messages).then_some(present.slot)
    }

    /// Whether the receiver may return one more message, the `so_far`th of its batch: it counts as taken, or
    /// will when everything is handed back.
    pub(crate) fn may_return(&self, so_far: u64) -> bool {
        self.counted.is_none_or(|counted| so_far <= counted)
    }

    /// Closed once nothing more can come: a lane without a connection brings nothing, and its sender
    /// hears how it ended when it comes back.
    pub(super) fn settle_state(&mut self) {
        if self.state != State::Closing || !self.queue.is_empty() {
            return;
        }
        let waiting = |lane: &InLane| !lane.inbound.is_drained() || lane.inbound.has_connection();
        if !self.lanes.values().any(waiting) {
            self.hand_back(None, State::Closed);
        }
    }
}
