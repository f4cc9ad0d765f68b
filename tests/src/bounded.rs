//! Waiting for what must happen, and not for ever.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use crate::failure::{Failure, Outcome, ensure};

/// What the contract calls bounded time.
pub(crate) const BOUNDED: Duration = Duration::from_secs(30);

/// Waits for what must happen in bounded time.
pub(crate) async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> Outcome<T> {
    let done = timeout(BOUNDED, future).await;
    done.map_err(|_| Failure(format!("{what} took longer than {BOUNDED:?}")))
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) -> Outcome {
    let started = Instant::now();
    while !holds() {
        ensure!(started.elapsed() < BOUNDED, "{what}: not so after {BOUNDED:?}");
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Polls a future a few times, with other tasks running between, then drops it.
pub(crate) async fn some_polls<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(done) = polled {
            return Some(done);
        }
        yield_now().await;
    }
    if fastrand::u8(..64) == 0 {
        // Time passes, paused or not: else whoever waits in vain would never reach its deadline.
        sleep(Duration::from_millis(1)).await;
    }
    None
}
