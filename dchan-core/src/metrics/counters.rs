//! What is counted while a node runs. Readers may see one number before another: each is right by
//! itself.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

use super::{RoundTrips, Traffic};

/// Counts what happens seldom, by a word of the code.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    pub(crate) fn count(&self, word: &'static str) {
        *self.0.lock().entry(word).or_default() += 1;
    }

    pub(crate) fn read(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().clone()
    }
}

/// Counts what goes one way through a link, a batch at a time.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    frames: AtomicU64,
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl Meter {
    pub(crate) fn add_frames(&self, frames: usize, bytes: usize) {
        self.frames.fetch_add(frames as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn add_messages(&self, messages: u64) {
        self.messages.fetch_add(messages, Relaxed);
    }

    pub(crate) fn read(&self) -> Traffic {
        let [frames, bytes, messages] =
            [&self.frames, &self.bytes, &self.messages].map(|count| count.load(Relaxed));
        Traffic { frames, bytes, messages }
    }
}

/// What is counted for one peer.
#[derive(Debug, Default)]
pub(crate) struct PeerCounters {
    pub(crate) sent: Meter,
    pub(crate) received: Meter,
    pub(crate) round_trips: Mutex<RoundTrips>,
    /// Connections that came to stand, by who dialled.
    pub(crate) links: Tally,
    /// Connections that ended, by reason.
    pub(crate) cuts: Tally,
    /// Dials that came to nothing, by reason.
    pub(crate) dials_failed: Tally,
    /// Breaches of the protocol, by kind.
    pub(crate) protocol_errors: Tally,
    /// How often all lanes were given up because the peer was out of reach for too long.
    pub(crate) given_up: AtomicU64,
}

/// What is counted for a node as a whole.
#[derive(Debug, Default)]
pub(crate) struct NodeCounters {
    /// Connections of strangers and peers that did not come to stand, by reason.
    pub(crate) handshakes_failed: Tally,
    /// Breaches of the protocol by strangers and peers, by kind.
    pub(crate) breaches: Tally,
}
