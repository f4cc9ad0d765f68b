//! One lane in a window.

use crate::lane::{Amount, UNTOLD};

/// What a lane was granted, and what became of it.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Slot {
    pub(super) live: bool,
    pub(super) granted: Amount,
    pub(super) returned: Amount,
    pub(super) received: Amount,
    pub(super) taken: Amount,
    /// Bytes of a large message of which some has come.
    pub(super) partial: u64,
    pub(super) wanting: bool,
    pub(super) hungry: bool,
    pub(super) reclaiming: bool,
    pub(super) need_bytes: u64,
    pub(super) active: u64,
    /// `taken` as the sender was last told.
    pub(super) told: Amount,
    /// Somebody waits for messages below this number to be settled.
    pub(super) hurry: u64,
}

impl Slot {
    pub(super) fn limit(&self) -> Amount {
        self.granted.saturating_sub(self.returned)
    }

    /// How far the lane has come or may come. A message may pass the limit in bytes by a chunk: new
    /// credit counts from where it ended, or it would go into what was overdrawn.
    pub(super) fn reach(&self) -> Amount {
        self.limit().max(self.received)
    }

    pub(super) fn used(&self) -> Amount {
        self.reach().saturating_sub(self.taken)
    }

    /// Whether it has a message that is larger than its credit.
    pub(super) fn is_short_of_bytes(&self) -> bool {
        self.need_bytes > self.reach().bytes
    }

    pub(super) fn unused(&self) -> Amount {
        self.limit().saturating_sub(self.received)
    }

    pub(super) fn owes(&self) -> bool {
        self.live && self.told.messages != self.taken.messages
    }

    pub(super) fn owes_much(&self) -> bool {
        let untold = self.taken.saturating_sub(self.told);
        self.owes() && (untold.messages >= UNTOLD.messages || untold.bytes >= UNTOLD.bytes)
    }
}
