//! Control messages and credit, on their way into frames.

use std::collections::VecDeque;

use crate::{Frame, LaneId, wire::Control};

/// The bytes that a control message takes, as a rule.
const CONTROL: usize = 32;

/// What belongs before all data. The writer keeps it, empty, from one time to the next.
#[derive(Debug, Default)]
pub(crate) struct Urgent {
    pub(crate) controls: VecDeque<Control>,
    /// Lanes coming in whose sender should be told of credit.
    pub(crate) owed: Vec<LaneId>,
}

impl Urgent {
    /// More room than for so many is not kept.
    const KEPT: usize = 1024;

    /// Makes it ready for the next time.
    pub(crate) fn clear(&mut self) {
        self.owed.clear();
        if self.owed.capacity().max(self.controls.capacity()) > Self::KEPT {
            *self = Self::default();
        }
    }

    /// Frames that hold the control messages, as few as possible. A large one is alone in its frame.
    pub(crate) fn frames(&mut self) -> impl Iterator<Item = Frame> {
        let room = (CONTROL * self.controls.len()).min(Frame::MAX / 2);
        let mut payload = Vec::with_capacity(room);
        std::iter::from_fn(move || {
            while let Some(control) = self.controls.pop_front() {
                let before = payload.len();
                payload = control.encode(std::mem::take(&mut payload));
                if payload.len() > Frame::MAX / 2 {
                    let rest = if before > 0 { payload.split_off(before) } else { Vec::new() };
                    return Some(std::mem::replace(&mut payload, rest));
                }
            }
            (!payload.is_empty()).then(|| std::mem::take(&mut payload))
        })
        .map(|payload| Frame::new(LaneId::CONTROL, payload.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Credit;

    #[test]
    fn a_large_control_message_leaves_no_room_for_others() {
        // Each of them fits into a frame, and no two do.
        let credit = |lane| {
            let skipped = (0..30_000).collect();
            let (taken, limit_messages, limit_bytes) = (30_000, 0, 0);
            Control::Credit(Credit { lane, taken, limit_messages, limit_bytes, skipped })
        };
        let small = || (0..100).map(|n| Control::Stop(LaneId(n)));
        let large = [LaneId(20), LaneId(21)].map(credit);
        let all: Vec<_> = small().chain(large).chain(small()).collect();
        let mut urgent = Urgent { controls: all.clone().into(), ..Urgent::default() };
        let frames: Vec<_> = urgent.frames().collect();
        assert_eq!(frames.len(), 4);
        let mut found = Vec::new();
        for mut frame in frames {
            assert!(frame.payload.len() <= Frame::MAX, "{} bytes", frame.payload.len());
            while let Some(control) = Control::decode_next(&mut frame.payload).unwrap() {
                found.push(control);
            }
        }
        assert_eq!(found, all);
    }
}
