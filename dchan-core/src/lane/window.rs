//! What a receiver has room for, shared out among the lanes that lead to it.
//!
//! Each lane that wants credit has a share, `capacity / lanes that want`, but at least one message.
//! A lane is topped up to its share when half of it is used. When there is not enough for that, lanes
//! above their share are asked to give back what they do not need; so are lanes that rest while others
//! work. Lanes that wait are served first come, first served: none starves.

mod share;
mod slot;

use std::collections::VecDeque;

use litemap::LiteMap;

use self::slot::Slot;
use super::{Amount, LaneFault};
use crate::{
    Frame,
    wire::{CHUNK, RECORD_HEADER, Want},
};

/// A lane's place in a [`Window`].
pub(crate) type SlotId = u64;

/// The credit of one receiver.
///
/// *Use* of a lane is what it was granted and has not been taken. The sum over all lanes never exceeds
/// `max(capacity, lanes)` messages; in bytes it may exceed the capacity by a chunk for each lane, and
/// by one message that is larger than the capacity.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Window {
    capacity: Amount,
    used: Amount,
    /// Bytes that have arrived and are not taken.
    stored: u64,
    /// Few, as a rule: a tree would have room for eleven in each of ten thousand receivers.
    slots: LiteMap<SlotId, Slot>,
    wanting: u64,
    hungry: VecDeque<SlotId>,
    /// The lane whose message larger than the capacity is on its way.
    oversize: Option<SlotId>,
    tick: u64,
    /// Lanes that are asked for credit are not asked again before something has changed.
    asked_all: bool,
    next_slot: SlotId,
    /// The size of the largest message that a sender may ask room for.
    largest: u64,
}

/// No capacity is above this, and nobody can ask for more bytes: so sums stay far from overflowing.
const LARGEST: u64 = 1 << 40;
/// No frame has more messages than this.
const MOST_IN_FRAME: u64 = (Frame::MAX / RECORD_HEADER) as u64;

/// What to tell the senders.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    /// Lanes that have new credit.
    pub(crate) granted: Vec<SlotId>,
    /// Lanes that should give credit back.
    pub(crate) reclaim: Vec<SlotId>,
}

impl Window {
    pub(crate) fn new(capacity: Amount) -> Self {
        Self {
            capacity: Amount::new(
                capacity.messages.clamp(1, LARGEST),
                capacity.bytes.clamp(1, LARGEST),
            ),
            used: Amount::default(),
            stored: 0,
            slots: LiteMap::new(),
            wanting: 0,
            hungry: VecDeque::new(),
            oversize: None,
            tick: 0,
            asked_all: false,
            next_slot: 0,
            largest: LARGEST,
        }
    }

    /// Sets the size of the largest message that a sender may ask room for, in bytes.
    #[must_use]
    pub(crate) fn largest(self, largest: u64) -> Self {
        Self { largest: largest.min(LARGEST), ..self }
    }

    /// Adds a lane, without credit.
    pub(crate) fn add(&mut self) -> SlotId {
        let id = self.next_slot;
        self.next_slot += 1;
        self.slots.insert(id, Slot::default());
        id
    }

    /// The lane begins or goes on in a connection: its unused credit is void, and it gets new credit if
    /// it wants some.
    pub(crate) fn attach(&mut self, id: SlotId, wanting: bool) {
        self.detach(id);
        self.change(id, |slot| slot.live = true);
        self.set_wanting(id, wanting);
    }

    /// The lane is cut off or over: its unused credit is free. What has arrived still counts, but for
    /// the parts of a large message that is not complete: those were discarded.
    pub(crate) fn detach(&mut self, id: SlotId) {
        self.set_wanting(id, false);
        self.forget_oversize(id);
        let mut discarded = 0;
        self.change(id, |slot| {
            discarded = std::mem::take(&mut slot.partial);
            slot.received.bytes -= discarded;
            slot.granted = slot.received;
            slot.returned = Amount::default();
            slot.need_bytes = 0;
            slot.reclaiming = false;
            slot.live = false;
        });
        self.stored -= discarded;
    }

    /// Forgets a lane of which nothing is left.
    pub(crate) fn remove(&mut self, id: SlotId) {
        self.detach(id);
        let mut rest = 0;
        self.change(id, |slot| {
            rest = slot.received.bytes - slot.taken.bytes;
            slot.taken = slot.received;
        });
        self.stored -= rest;
        self.slots.remove(&id);
        self.recount();
    }

    /// Messages have arrived: an error if there was no credit for them.
    pub(crate) fn received(&mut self, id: SlotId, amount: Amount) -> Result<(), LaneFault> {
        let tick = self.tick;
        let mut fault = None;
        self.change(id, |slot| {
            let (limit, received) = (slot.limit(), slot.received + amount);
            let most = limit.bytes + CHUNK as u64;
            if received.messages > limit.messages {
                let (expected, found) = (limit.messages, received.messages);
                fault = Some(LaneFault::Credit { what: "messages", expected, found });
            } else if received.bytes > most {
                fault = Some(LaneFault::Credit {
                    what: "bytes",
                    expected: most,
                    found: received.bytes,
                });
            } else {
                slot.received = received;
                slot.partial = if amount.messages == 0 { slot.partial + amount.bytes } else { 0 };
                slot.active = tick;
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        self.stored += amount.bytes;
        if self.slots.get(&id).is_some_and(|slot| slot.received.bytes >= slot.need_bytes) {
            self.forget_oversize(id);
        }
        Ok(())
    }

    /// A sender in this process has put something in. It picked the lane by its credit in messages; its
    /// bytes may pass the limit, as those of a message that another receiver had do.
    pub(crate) fn put_in(&mut self, id: SlotId, amount: Amount) {
        let tick = self.tick;
        self.change(id, |slot| {
            slot.received += amount;
            slot.active = tick;
        });
        self.stored += amount.bytes;
    }

    /// The application took messages. Their room is free again.
    pub(crate) fn taken(&mut self, id: SlotId, amount: Amount) {
        self.change(id, |slot| slot.taken += amount);
        self.stored = self.stored.saturating_sub(amount.bytes);
        self.consider(id);
    }

    /// The sender says what it needs and gives back.
    pub(crate) fn want(&mut self, id: SlotId, want: &Want) -> Result<(), LaneFault> {
        let largest = self.largest;
        let mut fault = None;
        self.change(id, |slot| {
            let returned = Amount::new(want.returned_messages, want.returned_bytes);
            let most = slot.granted.saturating_sub(slot.received);
            if returned.messages > most.messages.max(slot.returned.messages) {
                fault = Some(LaneFault::Credit {
                    what: "messages given back",
                    expected: most.messages,
                    found: returned.messages,
                });
                return;
            }
            let most = slot.granted.bytes;
            if returned.bytes > most {
                let (what, found) = ("bytes given back", returned.bytes);
                fault = Some(LaneFault::Credit { what, expected: most, found });
                return;
            }
            let most = slot.reach().bytes.max(most) + CHUNK as u64 + largest;
            if want.need_bytes > most {
                let (what, found) = ("bytes needed", want.need_bytes);
                fault = Some(LaneFault::Credit { what, expected: most, found });
                return;
            }
            slot.returned = slot.returned.max(returned);
            slot.reclaiming = false;
            slot.need_bytes = want.need_bytes;
            slot.hurry = slot.hurry.max(want.hurry);
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        self.set_wanting(id, want.wanting);
        self.consider(id);
        Ok(())
    }

    /// The sender is in this process and gives back at once what it has not used and not promised to
    /// permits. `wanting`: it waits for more. Returns whether it had anything to give.
    pub(crate) fn give_back(&mut self, id: SlotId, reserved: u64, wanting: bool) -> bool {
        let mut given = Amount::default();
        self.change(id, |slot| {
            let unused = slot.unused();
            let bytes = if reserved > 0 { 0 } else { unused.bytes };
            given = Amount::new(unused.messages.saturating_sub(reserved), bytes);
            slot.returned += given;
            slot.reclaiming = false;
        });
        // One that has nothing to give must not seem to have changed: it would be asked again at once.
        self.set_wanting(id, wanting);
        given != Amount::default()
    }

    /// A sender in this process has a permit less: it may have something to give back now.
    pub(crate) fn released(&mut self) {
        self.asked_all = false;
    }

    /// The sender is in this process and waits for credit.
    pub(crate) fn ask(&mut self, id: SlotId) {
        self.set_wanting(id, true);
    }

    /// How many messages a sender in this process may put in.
    pub(crate) fn unused(&self, id: SlotId) -> u64 {
        let unused = self.slots.get(&id).filter(|slot| slot.live).map(Slot::unused);
        unused.filter(|unused| unused.bytes > 0).map_or(0, |unused| unused.messages)
    }

    /// What the sender may send, as a number counted from the lane's beginning. The sender is told now.
    pub(crate) fn limit(&mut self, id: SlotId) -> Amount {
        let Some(slot) = self.slots.get_mut(&id) else { return Amount::default() };
        slot.told = slot.taken;
        slot.granted
    }

    /// Whether a lane has taken messages that its sender has not been told of.
    pub(crate) fn owes(&self, id: SlotId) -> bool {
        self.slots.get(&id).is_some_and(Slot::owes)
    }

    /// Whether that is so much that it does not wait for a heartbeat.
    pub(crate) fn owes_much(&self, id: SlotId) -> bool {
        self.slots.get(&id).is_some_and(Slot::owes_much)
    }

    /// Whether the sender waits for it.
    pub(crate) fn is_awaited(&self, id: SlotId) -> bool {
        self.slots.get(&id).is_some_and(|slot| slot.owes() && slot.told.messages < slot.hurry)
    }

    /// How many messages may have come from a lane whose sender has not heard of those before: it says
    /// what it knows in each frame, and is granted no more than there is room for beyond that.
    pub(crate) fn most_unconfirmed(&self) -> u64 {
        self.capacity.messages + MOST_IN_FRAME
    }

    fn set_wanting(&mut self, id: SlotId, wanting: bool) {
        let tick = self.tick;
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.wanting != wanting {
            slot.wanting = wanting;
            slot.active = tick;
            // The shares are others now.
            self.asked_all = false;
            self.wanting = if wanting { self.wanting + 1 } else { self.wanting - 1 };
        }
        self.consider(id);
    }

    fn forget_oversize(&mut self, id: SlotId) {
        if self.oversize == Some(id) {
            self.oversize = None;
        }
    }

    /// Changes a slot and keeps the sums right.
    fn change(&mut self, id: SlotId, change: impl FnOnce(&mut Slot)) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let before = slot.used();
        change(slot);
        let after = slot.used();
        self.used = (self.used + after).saturating_sub(before);
        if after.messages < before.messages || after.bytes < before.bytes {
            self.asked_all = false;
        }
    }

    /// The queue may wait for a lane that is gone.
    fn recount(&mut self) {
        self.asked_all = false;
        let slots = &self.slots;
        self.hungry.retain(|id| slots.contains_key(id));
    }

    /// What all lanes use together: at most what the documentation of [`Window`] says.
    #[cfg(test)]
    pub(crate) fn used(&self) -> Amount {
        self.used
    }
}

/// For the tests that search through states. Left out is how long a lane has been idle: short searches
/// never reach the patience with idle lanes.
#[cfg(test)]
impl std::hash::Hash for Window {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.used, self.stored, self.wanting, self.oversize, self.asked_all).hash(state);
        self.hungry.hash(state);
        for (id, slot) in self.slots.iter() {
            (id, slot.live, slot.granted, slot.returned, slot.received, slot.taken).hash(state);
            (slot.partial, slot.wanting, slot.hungry, slot.reclaiming).hash(state);
            (slot.need_bytes, slot.told, slot.hurry).hash(state);
        }
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
