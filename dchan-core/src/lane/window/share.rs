//! Who gets credit, how much, and who is asked to give some back.

use super::{Grants, Slot, SlotId, Window};
use crate::lane::Amount;

impl Window {
    /// Whether a lane has used up half of its share.
    fn is_half_used(&self, slot: &Slot) -> bool {
        let (share, used) = (self.share(), slot.used());
        used.messages * 2 <= share.messages || used.bytes * 2 <= share.bytes
    }

    fn share(&self) -> Amount {
        let lanes = self.wanting.max(1);
        Amount::new(self.capacity.messages / lanes, self.capacity.bytes / lanes)
            .max(Amount::new(1, 1))
    }

    fn room(&self) -> Amount {
        let lanes = self.slots.len() as u64;
        let mut used = self.used;
        // It comes on top of the capacity: however slowly it comes, the others go on.
        if let Some(slot) = self.oversize.and_then(|id| self.slots.get(&id)) {
            used.bytes = used.bytes.saturating_sub(slot.used().bytes);
        }
        self.capacity.max(Amount::new(lanes, lanes)).saturating_sub(used)
    }

    /// Puts a lane in the queue for credit, if it wants some and has used up half of its share.
    pub(super) fn consider(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get(&id) else { return };
        if slot.hungry || !slot.wanting || !slot.live || slot.reclaiming {
            return;
        }
        if self.is_half_used(slot) || slot.is_short_of_bytes() {
            self.hungry.push_back(id);
            self.change(id, |slot| slot.hungry = true);
        }
    }

    /// Hands out what there is, in the order in which lanes asked.
    pub(crate) fn balance(&mut self) -> Grants {
        let mut grants = Grants::default();
        while let Some(at) = self.serve(&mut grants) {
            let id = self.hungry.remove(at).unwrap_or_default();
            self.change(id, |slot| slot.hungry = false);
            self.tick += 1;
            self.reclaim_one_idle(&mut grants);
        }
        grants
    }

    /// Serves the first lane in the queue, or else one that waits with a large message. Such a lane
    /// holds credit that is too little for it and that it cannot give back: the others may be waiting
    /// for just that. Returns whose place in the queue is free.
    fn serve(&mut self, grants: &mut Grants) -> Option<usize> {
        let first = *self.hungry.front()?;
        if self.top_up(first, grants) {
            return Some(0);
        }
        if self.stored > 0 || self.oversize.is_some() {
            return None;
        }
        let holds = |id: &SlotId| self.slots.get(id).is_some_and(Slot::is_short_of_bytes);
        let held: Vec<SlotId> = self.hungry.iter().copied().skip(1).filter(holds).collect();
        let served = held.into_iter().find(|id| self.top_up(*id, grants))?;
        self.hungry.iter().position(|id| *id == served)
    }

    /// Raises a lane's limit towards its share. Whether the lane can leave the queue.
    fn top_up(&mut self, id: SlotId, grants: &mut Grants) -> bool {
        let Some(slot) = self.slots.get(&id).filter(|slot| slot.live && slot.wanting) else {
            return true;
        };
        let (room, lacking) = (self.room(), self.share().saturating_sub(slot.used()));
        let needed = slot.need_bytes.saturating_sub(slot.reach().bytes);
        let messages = lacking.messages.min(room.messages);
        let bytes = match lacking.bytes.max(needed) {
            _ if needed <= room.bytes => lacking.bytes.max(needed).min(room.bytes),
            // A message that is larger than what is free goes alone, into an empty inbox.
            _ if self.stored == 0
                && self.oversize.is_none()
                && slot.unused().messages + messages > 0 =>
            {
                needed
            }
            _ => return false,
        };
        if needed > room.bytes {
            self.oversize = Some(id);
        }
        let has = slot.unused() + Amount::new(messages, bytes);
        let stores = slot.received.messages > slot.taken.messages;
        if messages > 0 || bytes > 0 {
            self.change(id, |slot| {
                slot.granted = slot.reach() + Amount::new(messages, bytes) + slot.returned;
            });
            grants.granted.push(id);
        }
        let enough = |lacking: u64, more: u64| more * 2 >= lacking;
        if !enough(lacking.messages, messages) || !enough(lacking.bytes, bytes) {
            self.reclaim_for(id, grants);
        }
        // A lane of which something is stored here can go: it comes back when that is taken. Any other
        // stays until it can send, as nothing would bring it back.
        let sendable = has.messages > 0 && has.bytes > 0;
        sendable || stores
    }

    /// A lane cannot have its share: others that have more than theirs give back what is not in use.
    fn reclaim_for(&mut self, hungry: SlotId, grants: &mut Grants) {
        if std::mem::replace(&mut self.asked_all, true) {
            return;
        }
        let share = self.share();
        for (&id, slot) in self.slots.iter_mut() {
            let (unused, used) = (slot.unused(), slot.used());
            let has_some = unused.messages > 0 || unused.bytes > 0;
            let above = used.messages > share.messages || used.bytes > share.bytes;
            let above = above || !slot.wanting;
            if id != hungry && slot.live && has_some && above && !slot.reclaiming {
                slot.reclaiming = true;
                grants.reclaim.push(id);
            }
        }
    }

    /// Asks one lane that rests while others work for its credit, so that theirs can grow.
    fn reclaim_one_idle(&mut self, grants: &mut Grants) {
        if self.wanting < 2 {
            return;
        }
        let at = self.tick % self.next_slot.max(1);
        let (Ok(next) | Err(next)) = self.slots.find_index(&at);
        let Some((&id, slot)) = self.slots.get_indexed(next) else { return };
        let patience = 8 + 2 * self.wanting;
        let rests = slot.wanting && slot.live && !slot.hungry && !slot.reclaiming;
        let is_idle = rests && slot.active + patience < self.tick && slot.used() == slot.unused();
        if is_idle && let Some(slot) = self.slots.get_mut(&id) {
            slot.reclaiming = true;
            grants.reclaim.push(id);
        }
    }
}
