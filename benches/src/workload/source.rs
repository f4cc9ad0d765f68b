use std::time::Duration;

use tokio::time::Instant;

use crate::{Msg, Point};

/// Makes messages until the time is up: a few at least.
pub(super) struct Source {
    body: Vec<u8>,
    next: u64,
    first: u64,
    began: Instant,
    lasts: Duration,
}

impl Source {
    pub(super) fn new(point: &Point) -> Self {
        Self::numbered(point, 0)
    }

    /// Whose first message has that number.
    pub(super) fn numbered(point: &Point, first: u64) -> Self {
        let body = (0..point.size).map(|at| at as u8).collect();
        let lasts = Duration::from_secs_f64(point.secs);
        Self { body, next: first, first, began: Instant::now(), lasts }
    }

    /// Whether the time is not up.
    #[inline]
    pub(super) fn has_more(&self) -> bool {
        let looks = self.next.is_multiple_of(32) && self.next > self.first;
        !looks || self.began.elapsed() < self.lasts
    }

    /// The next message.
    #[inline]
    pub(super) fn make(&mut self) -> Msg {
        self.next += 1;
        Msg { id: self.next - 1, body: self.body.clone() }
    }
}

impl Iterator for Source {
    type Item = Msg;

    fn next(&mut self) -> Option<Msg> {
        self.has_more().then(|| self.make())
    }
}
