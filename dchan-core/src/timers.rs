#[cfg_attr(not(target_os = "linux"), path = "timers/no_alarm.rs")]
mod alarm;

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::Instant,
};

use self::alarm::{Alarm, Entry};

/// Timers for what a node does again and again, which cost the way of a message nothing.
///
/// A timer of tokio's is the time that its wait for the network may take. While there is one, each of these waits sets
/// a timer of the system and takes it back: thousands of times a second, if messages go to and fro, until the one that
/// is due. Here the system is told once, by a `timerfd` that all timers of a node share, and says so when it is time
/// as it does of a socket with something to read.
///
/// So it is on Linux, in a runtime of several threads. Elsewhere these are tokio's own: time can be paused only in a
/// runtime of one thread, and is theirs then.
///
/// Like tokio's, they have the grain of a millisecond and are late rather than early. All who sleep by the clones of one
/// `Timers` at a time are in one runtime. What is given up before it is due, as most timeouts are, may as well be tokio's.
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use std::time::Duration;
///
/// let timers = dchan_core::Timers::default();
/// timers.sleep(Duration::from_millis(5)).await;
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Timers {
    /// What is there while anybody sleeps.
    alarm: Arc<Mutex<Weak<Alarm>>>,
}

/// A wait for a time, by [`Timers::sleep`] or [`Timers::sleep_until`].
///
/// # Cancel safety
///
/// Dropping it gives up. It may be polled again after it is done, and is done then.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep(Kind);

#[derive(Debug)]
enum Kind {
    Tokio(Pin<Box<tokio::time::Sleep>>),
    Alarm(Entry),
    Done,
}

impl Timers {
    /// Waits for so long.
    ///
    /// # Panics
    ///
    /// If this is called outside of a runtime, or in one without its I/O and time.
    pub fn sleep(&self, time: Duration) -> Sleep {
        let now = Instant::now();
        // Thirty years are for ever.
        self.sleep_until(now.checked_add(time).unwrap_or(now + Duration::from_secs(1 << 30)))
    }

    /// Waits until then.
    ///
    /// # Panics
    ///
    /// If this is called outside of a runtime, or in one without its I/O and time.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        if Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread
            && let Some(alarm) = self.alarm()
        {
            return Sleep(Kind::Alarm(Entry::new(alarm, deadline)));
        }
        Sleep::of_tokio(deadline)
    }

    /// `None` if the system has none for us.
    fn alarm(&self) -> Option<Arc<Alarm>> {
        let mut known = self.alarm.lock();
        if let Some(alarm) = known.upgrade() {
            return Some(alarm);
        }
        let alarm = Alarm::start()
            .inspect_err(|error| tracing::debug!(%error, "timers are tokio's"))
            .ok()?;
        *known = Arc::downgrade(&alarm);
        Some(alarm)
    }
}

impl Sleep {
    fn of_tokio(deadline: Instant) -> Self {
        Self(Kind::Tokio(Box::pin(tokio::time::sleep_until(deadline))))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let done = match &mut self.0 {
            Kind::Tokio(sleep) => sleep.as_mut().poll(cx).is_ready(),
            Kind::Alarm(entry) => match entry.poll(cx) {
                Ok(poll) => poll.is_ready(),
                Err(_) => {
                    *self = Self::of_tokio(entry.deadline());
                    return self.poll(cx);
                }
            },
            Kind::Done => true,
        };
        if !done {
            return Poll::Pending;
        }
        self.0 = Kind::Done;
        Poll::Ready(())
    }
}

#[cfg(test)]
#[path = "timers_tests.rs"]
mod tests;
