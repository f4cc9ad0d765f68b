use std::{ops::Range, time::Duration};

/// What goes wrong by chance on a [`MemoryNetwork`](super::MemoryNetwork): nothing, unless it is said
/// here. What chance does follows from the network's seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// How long a frame, or a dial, takes: drawn anew for each. Frames of one lane stay in order. An
    /// empty range means its start.
    pub delay: Range<Duration>,
    /// A connection is cut once in so many frames, on average; what is in flight is lost. 0: never.
    pub cut_every: u64,
}

impl Faults {
    /// Draws how long the next frame takes.
    pub(super) fn draw_delay(&self, rng: &mut fastrand::Rng) -> Duration {
        let span = self.delay.end.saturating_sub(self.delay.start);
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 {
            return self.delay.start;
        }
        self.delay.start + Duration::from_nanos(rng.u64(..nanos))
    }

    /// Draws whether the connection is cut at this frame.
    pub(super) fn draw_cut(&self, rng: &mut fastrand::Rng) -> bool {
        self.cut_every > 0 && rng.u64(..self.cut_every) == 0
    }
}
