//! Credit goes back to the senders.

use std::sync::Arc;

use super::{Core, InLane, Notice};
use crate::{
    LaneId,
    inbox::{LocalSender, Source, Upstream},
    lane::{Epoch, SlotId},
    wire::Credit,
};

impl Core {
    /// The credit of a lane, for its sender. `None` if the lane has no connection.
    pub(crate) fn credit(&mut self, slot: SlotId, id: LaneId, epoch: Epoch) -> Option<Credit> {
        let lane = self.lanes.get(&slot)?;
        lane.inbound.is_attached(epoch).then(|| self.credit_of(slot, id))
    }

    pub(super) fn credit_of(&mut self, slot: SlotId, id: LaneId) -> Credit {
        let limit = self.window.limit(slot);
        let (taken, skipped) = match self.lanes.get(&slot) {
            Some(lane) => (lane.inbound.taken(), lane.inbound.skipped()),
            None => (0, Vec::new()),
        };
        let (limit_messages, limit_bytes) = (limit.messages, limit.bytes);
        Credit { lane: id, taken, limit_messages, limit_bytes, skipped }
    }

    pub(super) fn owe(&mut self, slot: SlotId) {
        if let Some((upstream, epoch, lane)) = self.owed(slot) {
            self.notices.push(Notice::Owe(upstream, epoch, lane));
        }
    }

    /// The way to the sender of a lane that has not heard of all that was taken.
    pub(super) fn owed(&self, slot: SlotId) -> Option<(Arc<dyn Upstream>, Epoch, LaneId)> {
        let InLane { source, inbound, .. } =
            self.lanes.get(&slot).filter(|_| self.window.owes(slot))?;
        match source {
            Source::Remote { lane, upstream, .. } => {
                Some((upstream.clone(), inbound.epoch(), *lane))
            }
            Source::Local { .. } => None,
        }
    }

    /// Shares out what there is. The lane that is being answered anyway needs no notice.
    pub(super) fn balance(&mut self, answered: Option<SlotId>) {
        // What senders in this process give back is there at once, for those who were waiting for it.
        while self.share_out(answered) {}
    }

    /// One round of that. Whether there is something to share out again.
    fn share_out(&mut self, answered: Option<SlotId>) -> bool {
        let grants = self.window.balance();
        for slot in grants.granted {
            let Some(InLane { source, inbound, .. }) = self.lanes.get(&slot) else { continue };
            match source {
                Source::Remote { lane, upstream, .. } if answered != Some(slot) => {
                    self.notices.push(Notice::Owe(upstream.clone(), inbound.epoch(), *lane));
                }
                Source::Remote { .. } => {}
                Source::Local { sender, .. } => {
                    self.notices.push(Notice::Granted(sender.clone()));
                }
            }
        }
        let mut given_back = false;
        for slot in grants.reclaim {
            let Some(InLane { source, inbound, .. }) = self.lanes.get(&slot) else { continue };
            match source.clone() {
                Source::Remote { lane, upstream, .. } => {
                    self.notices.push(Notice::Reclaim(upstream, inbound.epoch(), lane));
                }
                Source::Local { sender, .. } => {
                    given_back |= self.reclaim_local(slot, &sender);
                }
            }
        }
        given_back
    }

    /// A sender in this process answers at once: what it has not used and not promised is given back.
    /// Whether that is anything.
    fn reclaim_local(&mut self, slot: SlotId, sender: &Arc<dyn LocalSender>) -> bool {
        let given_back = self.window.give_back(slot, sender.reserved(), sender.is_waiting());
        if given_back {
            self.notices.push(Notice::Granted(sender.clone()));
        }
        given_back
    }

    /// A sender in this process has dropped a permit. Others may have waited for just that credit.
    pub(crate) fn released_local(&mut self) {
        self.window.released();
        self.balance(None);
    }

    /// A sender in this process waits for credit.
    pub(crate) fn ask_local(&mut self, slot: SlotId) {
        self.window.ask(slot);
        self.balance(None);
    }
}
