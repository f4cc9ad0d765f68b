//! How long the path takes by itself, and whether there is a queue.

use std::time::Duration;

use super::QUEUE;

/// A least round trip that was not seen for so long may be history: is it the path, or our own queue?
const FORGET: Duration = Duration::from_secs(10);
/// Then the window is made small to find out, until a round trip is as short again, or for so long:
/// enough for some heartbeats, as one may be behind a frame.
const DRAIN: Duration = Duration::from_secs(1);
/// Nor longer than this, also if a round trip seems to have taken an hour, as the clock has jumped.
const LONGEST_DRAIN: Duration = FORGET;

/// The least round trip of the last seconds.
#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    least: Option<Duration>,
    /// When a round trip was last about as short.
    seen: Duration,
    /// The queue is let run dry.
    draining: bool,
    drains_until: Duration,
    /// What was sent before this met a queue that had run dry: that says nothing about the window.
    steady_from: Duration,
    recent: Recent,
    /// The least of the present round, and of the one before it.
    rounds: [Option<Duration>; 2],
}

/// The least of what was seen lately.
#[derive(Debug, Default)]
struct Recent {
    began: Duration,
    /// Since `began`, and in as long a time before it.
    least: [Option<Duration>; 2],
}

impl RoundTrip {
    pub(super) fn least(&self) -> Option<Duration> {
        self.least
    }

    /// How much may be under way: so many times what the path holds, and so many frames. `frame`: how
    /// long one takes.
    pub(super) fn gain(&self, frame: Duration) -> (f64, u64) {
        let queue_beyond = |most: Duration| self.rounds[1].is_none_or(|round| round > most);
        match self.least {
            _ if self.draining => (0.5, 1),
            Some(least) if !queue_beyond(least * 6 / 5) => (2.0, 1),
            // Where a frame takes long, it is what data waits for: with one more the path may be full.
            Some(least) if !queue_beyond(least * 11 / 10 + frame) => (1.25, 2),
            _ => (1.25, 1),
        }
    }

    /// Whether the window is small for a while, to let the queue run dry.
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Data took so long.
    pub(super) fn on_data(&mut self, took: Duration, new_round: bool, now: Duration) {
        if new_round {
            self.rounds = [None, self.rounds[0]];
        }
        if !self.draining && now.saturating_sub(took) >= self.steady_from {
            self.rounds[0] = lesser(self.rounds[0], took);
        }
        self.on_sample(took, now);
    }

    /// Something took so long.
    pub(super) fn on_sample(&mut self, took: Duration, now: Duration) {
        self.recent.add(took, now);
        let least = *self.least.get_or_insert(took);
        // What a queue that disturbs nobody adds is no reason to look for it.
        if took <= least + least / 8 + QUEUE {
            self.least = Some(least.min(took));
            self.on_seen(now);
        } else if self.draining {
            if now >= self.drains_until {
                self.least = self.recent.least();
                self.on_seen(now);
            }
        } else if now.saturating_sub(self.seen) > FORGET {
            self.draining = true;
            self.drains_until = now + (took * 2).clamp(DRAIN, LONGEST_DRAIN);
            self.rounds = [None; 2];
        }
    }

    fn on_seen(&mut self, now: Duration) {
        self.seen = now;
        if std::mem::take(&mut self.draining) {
            self.steady_from = now + self.least.unwrap_or_default();
        }
    }
}

impl Recent {
    fn add(&mut self, took: Duration, now: Duration) {
        if now.saturating_sub(self.began) > FORGET / 3 {
            self.began = now;
            self.least = [None, self.least[0]];
        }
        self.least[0] = lesser(self.least[0], took);
    }

    fn least(&self) -> Option<Duration> {
        self.least.into_iter().flatten().min()
    }
}

fn lesser(least: Option<Duration>, took: Duration) -> Option<Duration> {
    Some(least.map_or(took, |least| least.min(took)))
}
