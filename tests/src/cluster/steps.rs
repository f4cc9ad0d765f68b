//! Dropping a future at every await point.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// What became of a future that was polled so many times and then dropped.
#[derive(Debug, PartialEq, Eq)]
pub enum Steps<T> {
    /// It was ready before that.
    Ready(T),
    /// It was dropped while it waited.
    Dropped,
}

/// Polls a future `polls` times, whenever it is woken, and then drops it. Everything else goes on
/// meanwhile. A future that is woken no more is dropped as well, once it has been quiet for a while.
pub async fn after_polls<F: Future>(polls: usize, future: F) -> Steps<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    let stepped = poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(Steps::Dropped);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Steps::Ready(value)),
            Poll::Pending if left == 0 => Poll::Ready(Steps::Dropped),
            Poll::Pending => Poll::Pending,
        }
    });
    let quiet = std::time::Duration::from_millis(20);
    tokio::time::timeout(quiet, stepped).await.unwrap_or(Steps::Dropped)
}
