//! Messages are taken.

use super::{Core, Next, Notice, Present, State};
use crate::{
    inbox::{Batch, Haste, Source},
    lane::{Amount, AnyQueue, Ledger, SlotId},
};

impl Core {
    /// The receiver is so far in its batch.
    pub(crate) fn sync(&mut self, so_far: Amount, haste: Haste) {
        let Some(present) = &mut self.present else { return };
        let news = so_far.saturating_sub(present.accounted);
        let slot = present.slot;
        if news.messages > 0 {
            present.accounted = so_far;
            self.take(slot, news, Ledger { taken: news.messages, ..Ledger::default() });
        }
        match haste {
            Haste::None => {}
            Haste::Soon => self.tell_soon(slot),
            Haste::Now => self.owe(slot),
        }
    }

    /// The receiver is through with its batch, and goes on with the next one.
    pub(crate) fn end_batch(&mut self, so_far: Amount, haste: Haste) -> Option<Batch> {
        self.sync(so_far, haste);
        let next = self.next_batch();
        if next.is_none() {
            self.tell_all_with_more();
        }
        next
    }

    /// An empty queue of values can be filled again.
    pub(crate) fn keep_spare(&mut self, spare: Option<Box<dyn AnyQueue>>) {
        self.spare = self.spare.take().or(spare);
    }

    #[cfg(test)]
    pub(crate) fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    fn tell_soon(&mut self, slot: SlotId) {
        if !self.untold.contains(&slot) {
            self.untold.push(slot);
        }
    }

    /// Senders hear of it with whatever is sent to them next: an answer, as a rule. If the application comes for
    /// more before that, they hear of it at once.
    fn tell_all_with_more(&mut self) {
        for at in 0..self.untold.len() {
            if let Some((upstream, epoch, lane)) = self.owed(self.untold[at]) {
                self.notices.push(Notice::OweWithMore(upstream, epoch, lane));
            }
        }
    }

    pub(super) fn tell_all(&mut self) {
        for slot in std::mem::take(&mut self.untold) {
            self.owe(slot);
        }
    }

    /// The next message of the batch is settled, but not taken.
    pub(crate) fn skip(&mut self, bytes: u64) {
        let Some(present) = &mut self.present else { return };
        present.accounted += Amount::new(1, bytes);
        let slot = present.slot;
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.inbound.note_skipped();
        }
        let mut ledger = Ledger::default();
        ledger.dropped.decode = 1;
        self.take(slot, Amount::new(1, bytes), ledger);
        self.owe(slot);
    }

    pub(super) fn take(&mut self, slot: SlotId, amount: Amount, settled: Ledger) {
        let Some(lane) = self.lanes.get_mut(&slot) else { return };
        lane.inbound.take(amount.messages);
        self.window.taken(slot, amount);
        if let Source::Local { sender, .. } = &lane.source {
            self.notices.push(Notice::Settled(sender.clone(), settled));
        } else if self.window.is_awaited(slot) {
            self.owe(slot);
        } else if self.window.owes_much(slot) {
            self.tell_soon(slot);
        }
        self.balance(None);
        self.end_if_drained(slot);
    }

    fn next_batch(&mut self) -> Option<Batch> {
        // What is here of a receiver that was stopped waits to be given back.
        if self.state == State::Stopped {
            return None;
        }
        let batch = self.queue.pop_front()?;
        let (slot, all) = (batch.slot, Amount::new(batch.count, batch.bytes));
        self.present = Some(Present { slot, accounted: Amount::default(), all });
        self.watch();
        Some(batch)
    }

    /// The next batch, if there is one.
    pub(crate) fn next(&mut self) -> Next {
        self.present = None;
        if let Some(batch) = self.next_batch() {
            return Next::Batch(batch);
        }
        self.tell_all();
        if let Some(node) = self.lost.pop_front() {
            return Next::Lost(node);
        }
        self.settle_state();
        match self.state {
            State::Closed => Next::Closed,
            State::Stopped => Next::Stopped,
            State::Open | State::Closing => {
                self.idle = true;
                Next::Empty
            }
        }
    }

    /// If the receiver is in the midst of a batch from another process, sees to it that somebody will look how
    /// far it has come.
    pub(super) fn watch(&mut self) {
        if self.watched {
            return;
        }
        let midst = |present: &&Present| present.accounted.messages < present.all.messages;
        let lane = self.present.as_ref().filter(midst).and_then(|at| self.lanes.get(&at.slot));
        if let Some(Source::Remote { upstream, .. }) = lane.map(|lane| &lane.source) {
            // Under the lock: of two who ask, one may fail, and the other must not rely on it.
            self.watched = upstream.watch(&self.inbox);
        }
    }

    /// Somebody looks.
    pub(crate) fn look(&mut self) {
        self.watched = false;
        self.untold = self.lanes.keys().copied().collect();
        self.tell_all();
        self.watch();
    }
}
