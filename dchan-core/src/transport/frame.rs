use std::collections::VecDeque;

use bytes::Bytes;

use crate::LaneId;

/// What a transport carries: some bytes of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whose bytes they are.
    pub lane: LaneId,
    /// The bytes: from none to [`Frame::MAX`].
    pub payload: Bytes,
    /// The lane is over: a transport that gives each lane a stream may finish it.
    pub last: bool,
}

impl Frame {
    /// The largest payload, in bytes: two messages of 64 KiB, and what comes with them. A constant of the
    /// contract: there is nothing to negotiate.
    pub const MAX: usize = 136 * 1024;

    /// A frame that is not its lane's last.
    pub fn new(lane: LaneId, payload: Bytes) -> Self {
        Self { lane, payload, last: false }
    }
}

/// Frames on their way through the seam, oldest first.
#[derive(Debug, Default)]
pub struct FrameBatch {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl FrameBatch {
    /// No frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a frame behind all others.
    pub fn push(&mut self, frame: Frame) {
        self.bytes += frame.payload.len();
        self.frames.push_back(frame);
    }

    /// Puts a frame before all others.
    pub fn push_front(&mut self, frame: Frame) {
        self.bytes += frame.payload.len();
        self.frames.push_front(frame);
    }

    /// Takes the oldest frame.
    pub fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.payload.len();
        Some(frame)
    }

    /// Takes the oldest frame for which `wanted` holds. The others keep their order.
    pub fn take_where(&mut self, wanted: impl FnMut(&Frame) -> bool) -> Option<Frame> {
        let at = self.frames.iter().position(wanted)?;
        let frame = self.frames.remove(at)?;
        self.bytes -= frame.payload.len();
        Some(frame)
    }

    /// The frames, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter()
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// How many bytes of payload there are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_order_and_counts_bytes() {
        let mut batch = FrameBatch::new();
        for (lane, text) in [(16, "a"), (17, "bb"), (16, "ccc")] {
            batch.push(Frame::new(LaneId(lane), Bytes::from_static(text.as_bytes())));
        }
        assert_eq!((batch.len(), batch.bytes()), (3, 6));
        let taken = batch.take_where(|f| f.lane == LaneId(17)).unwrap();
        assert_eq!((&taken.payload[..], batch.bytes()), (&b"bb"[..], 4));
        batch.push_front(taken);
        let rest: Vec<_> = std::iter::from_fn(|| batch.pop()).map(|f| f.payload.len()).collect();
        assert_eq!((rest, batch.bytes()), (vec![2, 1, 3], 0));
    }
}
