//! Not too much waits for one connection.
//!
//! What waits in one lane is bounded by the credit of its receiver. Where thousands of lanes share a connection,
//! that bounds nothing: who sends through them in turn would fill a buffer for each, faster than the connection
//! empties any. So when much waits in all of them together, they take no message, as if they had no credit.
//! Whoever waits then is told when half of it has gone.
//!
//! Only what could be sent counts: a receiver that gives no credit keeps nobody else from sending. And a lane
//! in which nothing waits takes some even then, unless there are very many: it would be sent from next, so a
//! lone message overtakes the bulk of others.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

/// So many lanes may wait while others that have something to send keep none out.
const LANES: usize = 512;

/// How much waits. Anybody may look.
#[derive(Debug)]
pub(crate) struct Full {
    most: AtomicU64,
    /// The bytes of messages that wait, as far as lanes have told.
    bytes: AtomicU64,
    /// How many lanes have something to send.
    lanes: AtomicUsize,
    /// How many are to be told when there is room.
    outside: AtomicUsize,
}

impl Full {
    /// So many bytes may wait.
    pub(super) fn new(most: u64) -> Self {
        Self {
            most: AtomicU64::new(most),
            bytes: AtomicU64::new(0),
            lanes: AtomicUsize::new(0),
            outside: AtomicUsize::new(0),
        }
    }

    #[cfg(test)]
    pub(super) fn most(&self) -> u64 {
        self.most.load(SeqCst)
    }

    pub(super) fn set_most(&self, most: u64) {
        self.most.store(most, SeqCst);
    }

    /// Whether a lane should take no message. `waits`: it has something to send.
    #[inline]
    pub(crate) fn is_for(&self, waits: bool) -> bool {
        let (bytes, most) = (self.bytes.load(SeqCst), self.most.load(SeqCst));
        // Those who come when there is room for half of it would take the place of those who wait for that.
        let full = bytes > most || bytes > most / 2 && self.outside.load(SeqCst) > 0;
        full && (waits || self.lanes.load(SeqCst) >= LANES)
    }

    /// Whether those outside can come.
    pub(super) fn is_over(&self) -> bool {
        self.bytes.load(SeqCst) <= self.most.load(SeqCst) / 2
    }

    /// So many bytes wait in a lane now, instead of those before.
    #[inline]
    pub(crate) fn note(&self, before: u64, now: u64) {
        self.bytes.fetch_add(now.wrapping_sub(before), SeqCst);
    }

    pub(super) fn set_lanes(&self, lanes: usize) {
        self.lanes.store(lanes, SeqCst);
    }

    pub(super) fn set_outside(&self, lanes: usize) {
        self.outside.store(lanes, SeqCst);
    }

    /// As if very many lanes had something to send: what waits keeps each of them out.
    #[cfg(test)]
    pub(crate) fn crowd(&self) {
        self.set_lanes(LANES);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(SeqCst)
    }
}
