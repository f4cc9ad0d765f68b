use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use crate::{Frame, FrameBatch, LaneId};

/// One direction of a connection: frames in flight, in the order in which they will arrive.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// In flight, by (when it arrives, its place among those, its number).
    frames: BTreeMap<(Instant, u64, u64), Frame>,
    /// For each lane with frames in flight: when its last one arrives, and how many there are.
    lanes: HashMap<LaneId, Tail>,
    cost: usize,
    next: u64,
    /// The writer has closed: the stream ends behind the last frame.
    pub(super) closed: bool,
    /// What is sent vanishes, and the reader sees nothing.
    pub(super) dark: bool,
}

#[derive(Debug)]
struct Tail {
    at: (Instant, u64),
    frames: usize,
}

/// What the reader finds.
pub(super) enum Found {
    Frames,
    Nothing,
    NothingBefore(Instant),
    End,
}

impl Pipe {
    /// How many places a frame of one lane may overtake frames of others by.
    const SHUFFLE: u64 = 16;
    /// What a frame costs beside its payload, so that empty ones are bounded too.
    const FRAME_COST: usize = 64;

    /// Whether a frame fits within `limit` bytes. One frame always fits an empty pipe.
    pub(super) fn fits(&self, frame: &Frame, limit: usize) -> bool {
        self.cost == 0 || self.cost + cost(frame) <= limit
    }

    /// Sends a frame that arrives at `at`, or later if one of its lane is on the way still.
    pub(super) fn push(&mut self, frame: Frame, at: Instant, rng: &mut fastrand::Rng) {
        let place = (at, self.next + rng.u64(..=Self::SHUFFLE));
        let tail = self.lanes.entry(frame.lane).or_insert(Tail { at: place, frames: 0 });
        if tail.frames > 0 {
            tail.at = place.max((tail.at.0, tail.at.1 + 1));
        }
        tail.frames += 1;
        self.cost += cost(&frame);
        self.frames.insert((tail.at.0, tail.at.1, self.next), frame);
        self.next += 1;
    }

    /// Moves up to `most` frames that have arrived into the batch.
    pub(super) fn pull(&mut self, now: Instant, most: usize, batch: &mut FrameBatch) -> Found {
        if self.dark {
            return Found::Nothing;
        }
        let mut found = Found::Nothing;
        for _ in 0..most {
            match self.frames.first_entry() {
                Some(first) if first.key().0 <= now => {
                    let frame = first.remove();
                    self.arrived(&frame);
                    batch.push(frame);
                    found = Found::Frames;
                }
                Some(first) => {
                    let at = first.key().0;
                    return if matches!(found, Found::Frames) {
                        found
                    } else {
                        Found::NothingBefore(at)
                    };
                }
                None if self.closed && matches!(found, Found::Nothing) => return Found::End,
                None => return found,
            }
        }
        found
    }

    /// Loses everything in flight.
    pub(super) fn lose(&mut self) {
        self.frames.clear();
        self.lanes.clear();
        self.cost = 0;
    }

    /// Whether anything that was sent has not arrived.
    pub(super) fn owes(&self) -> bool {
        self.closed || !self.frames.is_empty()
    }

    fn arrived(&mut self, frame: &Frame) {
        self.cost -= cost(frame);
        if let Some(tail) = self.lanes.get_mut(&frame.lane) {
            tail.frames -= 1;
            if tail.frames == 0 {
                self.lanes.remove(&frame.lane);
            }
        }
    }
}

fn cost(frame: &Frame) -> usize {
    frame.payload.len() + Pipe::FRAME_COST
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lanes_overtake_each_other_but_never_themselves() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut pipe = Pipe::default();
        for n in 0..200u8 {
            let lane = LaneId(16 + u64::from(n % 4));
            pipe.push(Frame::new(lane, Bytes::copy_from_slice(&[n])), Instant::now(), &mut rng);
        }
        let mut batch = FrameBatch::new();
        while matches!(pipe.pull(Instant::now(), 7, &mut batch), Found::Frames) {}
        let order: Vec<u8> = batch.iter().map(|frame| frame.payload[0]).collect();
        assert_eq!((order.len(), pipe.cost, pipe.lanes.len()), (200, 0, 0));
        assert!(!order.is_sorted(), "lanes are interleaved");
        for lane in 0..4 {
            assert!(order.iter().filter(|n| *n % 4 == lane).is_sorted());
        }
    }
}
