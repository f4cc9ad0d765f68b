//! Dropping a future at any await point.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::time::timeout;

/// What became of a future that was polled so many times and then dropped.
#[derive(Debug, PartialEq, Eq)]
pub enum Steps<T> {
    /// It was ready before that.
    Ready(T),
    /// It was dropped while it waited.
    Dropped,
}

impl<T> Steps<T> {
    /// What it came to, unless it was dropped.
    pub fn ready(self) -> Option<T> {
        match self {
            Self::Ready(value) => Some(value),
            Self::Dropped => None,
        }
    }
}

/// Polls a future `polls` times, whenever it is woken, and then drops it. Everything else goes on
/// meanwhile. A future that is woken no more is dropped as well, once it has been quiet for a while.
pub async fn after_polls<F: Future>(polls: usize, future: F) -> Steps<F::Output> {
    let quiet = Duration::from_millis(20);
    timeout(quiet, just_polls(polls, future)).await.unwrap_or(Steps::Dropped)
}

/// Polls a future `polls` times, whenever it is woken, and then drops it, however long that takes: for
/// those that come to an end. With `polls` from 0 upwards until one is ready, a future is dropped at
/// each of its await points.
pub async fn just_polls<F: Future>(polls: usize, future: F) -> Steps<F::Output> {
    stop_after(polls, false, future).await
}

/// `woken`: it is dropped when it should be polled once more, not when it begins to wait.
async fn stop_after<F: Future>(polls: usize, woken: bool, future: F) -> Steps<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(Steps::Dropped);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Steps::Ready(value)),
            Poll::Pending if left == 0 && !woken => Poll::Ready(Steps::Dropped),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops futures by chance: after some polls, once woken after some polls, or when some time is over. All follows from the seed.
#[derive(Clone, Debug)]
pub struct Impatience {
    chance: fastrand::Rng,
    longest: Duration,
    dropped: u64,
}

impl Impatience {
    /// What is dropped when follows from `seed`. Nothing is waited for longer than `longest`.
    pub fn new(seed: u64, longest: Duration) -> Self {
        Self { chance: fastrand::Rng::with_seed(seed), longest, dropped: 0 }
    }

    /// How many futures it has dropped while they waited, since this was asked last. One that was never
    /// polled is no more than a value, and does not count.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Where other chance comes from.
    pub fn chance(&mut self) -> &mut fastrand::Rng {
        &mut self.chance
    }

    /// Runs a future for a few polls, or for a few milliseconds.
    pub async fn run<F: Future>(&mut self, future: F) -> Steps<F::Output> {
        // Most futures have few await points, and some have many.
        let polls = match self.chance.u32(..8) {
            0 => usize::MAX,
            1 => self.chance.usize(..40),
            _ => self.chance.usize(..5),
        };
        let time = self.longest.mul_f64(self.chance.f64());
        let (mut future, mut waited) = (pin!(future), false);
        let watched = poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            waited |= polled.is_pending();
            polled
        });
        let stopped = stop_after(polls, self.chance.bool(), watched);
        let steps = timeout(time, stopped).await.unwrap_or(Steps::Dropped);
        self.dropped += u64::from(waited && matches!(steps, Steps::Dropped));
        steps
    }
}
