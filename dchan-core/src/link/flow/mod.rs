//! Bounds what is on its way to a peer.
//!
//! A transport may take megabytes into buffers of its own, behind which heartbeats and Raft would
//! queue. So no more is handed to it than a window beyond what the peer says has come in: about what
//! the path holds, which is its rate times its least round trip, and a frame.
//!
//! Both are measured as BBR does (N. Cardwell and others, "BBR: Congestion-Based Congestion Control",
//! ACM Queue 14(5), 2016): the rate is the highest of the last rounds, and the round trip is the least
//! of the last seconds. Other than BBR, nothing is paced, as the transport below does that, and the
//! window follows the round trips of each round: it doubles while they show no queue, and else leaves
//! a queue of a quarter of what the path holds.

mod rate;
mod round_trip;

use std::time::Duration;

use rate::{Arrived, Rate};
use round_trip::RoundTrip;

/// What a frame of messages has, as a rule: 64 KiB, and what comes with them.
pub(super) const FRAME: u64 = 68 * 1024;
/// The smallest window, and the first. With one frame at a time nothing would be under way while the
/// news of its arrival is, and the rate would look as low as that makes it.
const LEAST: u64 = 2 * FRAME;
/// A peer is told what has come in whenever it is so much more, in bytes.
pub(crate) const TELL_AFTER: u64 = 16 * 1024;
/// The window while the queue is let run dry. Behind what the peer does not tell of yet, a frame has room:
/// or else it would wait for the news, and the news for more to come.
const DRY: u64 = FRAME + TELL_AFTER;
/// A queue that takes no longer than this disturbs nobody, as for CoDel (RFC 8289). On short paths it
/// is more than they hold, and makes up for tasks that do not run at once.
const QUEUE: Duration = Duration::from_millis(5);

/// What may be on its way through one connection. Times are since its beginning.
#[derive(Debug)]
pub(crate) struct Flow {
    sent: u64,
    received: u64,
    window: u64,
    ceiling: u64,
    rate: Rate,
    round_trip: RoundTrip,
}

impl Flow {
    /// With a window of at most so many bytes.
    pub(crate) fn new(ceiling: u64) -> Self {
        Self {
            sent: 0,
            received: 0,
            window: LEAST.min(ceiling),
            ceiling,
            rate: Rate::default(),
            round_trip: RoundTrip::default(),
        }
    }

    /// How many bytes may go behind `more` that go anyway.
    pub(crate) fn room(&self, more: u64) -> u64 {
        self.window.saturating_sub(self.sent + more - self.received)
    }

    /// How many bytes the peer has not confirmed.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.sent - self.received
    }

    /// How many that may be now.
    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// How many bytes may be on their way at most, however much the path holds.
    pub(crate) fn ceiling(&self) -> u64 {
        self.ceiling
    }

    /// How many bytes leave in that time, as far as is known.
    pub(crate) fn leave_in(&self, time: Duration) -> u64 {
        let bytes = u128::from(self.rate.highest().unwrap_or(0)) * time.as_micros() / 1_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    pub(crate) fn on_sent(&mut self, bytes: u64, now: Duration) {
        if bytes > 0 {
            if self.round_trip.is_draining() {
                // It is our own doing that it is slow.
                self.rate.on_idle(self.sent);
            }
            self.rate.on_sent(self.sent, bytes, self.received, now);
            self.sent += bytes;
        }
    }

    /// There was room for more than there was to send.
    pub(crate) fn on_idle(&mut self) {
        self.rate.on_idle(self.sent);
    }

    /// The peer says how much has come in. More than was sent is a lie: `false`.
    pub(crate) fn on_received(&mut self, total: u64, now: Duration) -> bool {
        let plausible = total <= self.sent;
        if plausible && total > self.received {
            self.received = total;
            if let Some(arrived) = self.rate.on_received(total, now) {
                let Arrived { round_trip, new_round } = arrived;
                self.round_trip.on_data(round_trip, new_round, now);
                self.resize();
            }
        }
        plausible
    }

    /// A heartbeat and its answer took so long. It is smaller than any frame, and so nearer to what the
    /// path takes by itself.
    pub(crate) fn on_heartbeat(&mut self, took: Duration, now: Duration) {
        self.round_trip.on_sample(took, now);
        self.resize();
    }

    fn resize(&mut self) {
        let (rate, round_trip) = (self.rate.highest(), self.round_trip.least());
        let (Some(rate), Some(round_trip)) = (rate, round_trip) else { return };
        let (gain, frames) = self.round_trip.gain(Duration::from_micros(FRAME * 1_000_000 / rate));
        let time = round_trip.mul_f64(gain) + QUEUE;
        let held = u128::from(rate) * time.as_micros() / 1_000_000;
        let window = u64::try_from(held).unwrap_or(u64::MAX).saturating_add(frames * FRAME);
        let least = if self.round_trip.is_draining() { DRY } else { LEAST };
        self.window = window.max(least).min(self.ceiling);
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
