//! How fast bytes arrive, after draft-cheng-iccrg-delivery-rate-estimation: what has arrived between
//! the sending of a piece and the news of its arrival, over the longer of the times that it took to
//! send that much and to hear of it. News that come in bursts do not make a path look faster.

use std::{collections::VecDeque, time::Duration};

/// Pieces that follow each other closer than this are not told apart.
const GRAIN: u64 = 16 * 1024;
/// Rounds after which a rate is forgotten: enough to bridge one that was disturbed.
const ROUNDS: usize = 3;

/// Estimates the rate of a path, in bytes a second.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Pieces under way, oldest first.
    pieces: VecDeque<Piece>,
    /// When the oldest of what the next sample covers was sent.
    first_sent: Duration,
    /// When something arrived last.
    arrived_at: Duration,
    /// Up to here, what was sent was all that there was to send.
    idle_until: Option<u64>,
    /// The highest rate of the present round, and of those before it.
    rounds: [u64; ROUNDS],
    /// The present round is over when what is sent from now on arrives: beyond this number.
    round_ends: u64,
    /// The present round says something about the path.
    counts: bool,
}

/// Something that was sent, and how things stood then.
#[derive(Debug)]
struct Piece {
    end: u64,
    sent_at: Duration,
    first_sent: Duration,
    arrived: u64,
    arrived_at: Duration,
    /// There was not more to send.
    idle: bool,
}

/// What the arrival of a piece tells.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) round_trip: Duration,
    /// It was sent after all that the last round was about had arrived.
    pub(super) new_round: bool,
}

impl Rate {
    /// The highest of the last rounds, if there was any.
    pub(super) fn highest(&self) -> Option<u64> {
        self.rounds.iter().copied().max().filter(|rate| *rate > 0)
    }

    /// `bytes` were sent behind number `from`, when all up to number `arrived` had arrived.
    pub(super) fn on_sent(&mut self, from: u64, bytes: u64, arrived: u64, now: Duration) {
        if from == arrived {
            // The path was empty: no time before this counts.
            (self.first_sent, self.arrived_at) = (now, now);
        }
        let end = from + bytes;
        if self.pieces.back().is_none_or(|last| end - last.end >= GRAIN) {
            let Self { first_sent, arrived_at, .. } = *self;
            let idle = self.idle_until.is_some();
            self.pieces.push_back(Piece {
                end,
                sent_at: now,
                first_sent,
                arrived,
                arrived_at,
                idle,
            });
        }
    }

    pub(super) fn on_idle(&mut self, sent: u64) {
        self.idle_until = Some(sent);
    }

    /// All up to that number has arrived.
    pub(super) fn on_received(&mut self, total: u64, now: Duration) -> Option<Arrived> {
        let mut newest = None;
        while self.pieces.front().is_some_and(|piece| piece.end <= total) {
            newest = self.pieces.pop_front();
        }
        self.arrived_at = now;
        if self.idle_until.is_some_and(|until| total > until) {
            self.idle_until = None;
        }
        let piece = newest?;
        self.first_sent = piece.sent_at;
        let new_round = piece.arrived >= self.round_ends;
        if new_round {
            self.round_ends = total;
            if std::mem::take(&mut self.counts) {
                self.rounds.rotate_right(1);
                self.rounds[0] = 0;
            }
        }
        let sending = piece.sent_at.saturating_sub(piece.first_sent);
        let arriving = now.saturating_sub(piece.arrived_at);
        let micros = sending.max(arriving).as_micros().clamp(1, u128::from(u32::MAX));
        let rate = u128::from(total - piece.arrived) * 1_000_000 / micros;
        self.add(u64::try_from(rate).unwrap_or(u64::MAX), piece.idle);
        let round_trip = now.saturating_sub(piece.sent_at);
        Some(Arrived { round_trip, new_round })
    }

    /// Who has little to send does not show how slow the path is, but may show how fast it is.
    fn add(&mut self, rate: u64, idle: bool) {
        if !idle || self.highest().is_none_or(|highest| rate > highest) {
            self.rounds[0] = self.rounds[0].max(rate);
            self.counts |= !idle;
        }
    }
}
