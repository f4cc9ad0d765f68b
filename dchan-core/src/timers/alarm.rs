//! One timer of the system for all who sleep.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

/// It is there while anybody sleeps, and so is the task that it wakes.
#[derive(Debug)]
pub(super) struct Alarm {
    bell: Arc<Bell>,
    _ringer: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Bell {
    timer: AsyncFd<OwnedFd>,
    began: Instant,
    sleepers: Mutex<Sleepers>,
}

#[derive(Debug, Default)]
struct Sleepers {
    /// By when they are to be woken, and by what tells apart those that are at the same time.
    wakers: BTreeMap<Key, Waker>,
    next: u64,
    /// For when the timer is set.
    set: Option<Instant>,
}

type Key = (Instant, u64);

/// A place among those who sleep.
#[derive(Debug)]
pub(super) struct Entry {
    alarm: Arc<Alarm>,
    deadline: Instant,
    /// Once it was polled.
    key: Option<Key>,
}

impl Alarm {
    /// # Errors
    ///
    /// The system has no file descriptor, or the runtime takes none.
    #[allow(
        deprecated,
        reason = "the newer way is unsafe, for types that let go of their descriptor: this one does not"
    )]
    pub(super) fn start() -> io::Result<Arc<Self>> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        let (began, sleepers) = (Instant::now(), Mutex::default());
        let bell = Arc::new(Bell { timer, began, sleepers });
        let ringer = AbortOnDropHandle::new(tokio::spawn(bell.clone().run()));
        Ok(Arc::new(Self { bell, _ringer: ringer }))
    }

    #[cfg(test)]
    pub(super) fn set_for(&self) -> Option<Instant> {
        self.bell.sleepers.lock().set
    }
}

impl Bell {
    /// Wakes those whose time has come.
    async fn run(self: Arc<Self>) {
        // It fails only when the runtime ends, and all who sleep with it.
        while let Ok(mut rung) = self.timer.readable().await {
            // Before it is set anew, so that nothing that it says then is missed.
            rung.clear_ready();
            self.ring();
        }
    }

    fn ring(&self) {
        self.change(|sleepers| {
            // Whatever it was set for: should it have come early, it is set again.
            sleepers.set = None;
            sleepers.due(Instant::now())
        });
    }

    /// Takes some out, sets the timer for who is first now, and wakes those that `change` says. If it cannot be
    /// set, all are woken, and see to it themselves.
    fn change(&self, change: impl FnOnce(&mut Sleepers) -> BTreeMap<Key, Waker>) {
        let mut sleepers = self.sleepers.lock();
        let mut woken = change(&mut sleepers);
        if sleepers.set(&self.timer).is_err() {
            woken.append(&mut sleepers.wakers);
        }
        drop(sleepers);
        woken.into_values().for_each(Waker::wake);
    }

    /// The first full millisecond from there on: so who sleeps until nearly the same time is woken at one.
    fn round_up(&self, deadline: Instant) -> Instant {
        let grains = deadline.saturating_duration_since(self.began).as_nanos().div_ceil(1_000_000);
        let after = u64::try_from(grains).ok().map(Duration::from_millis);
        after.and_then(|after| self.began.checked_add(after)).unwrap_or(deadline)
    }
}

impl Sleepers {
    /// Takes out those who have slept long enough.
    fn due(&mut self, now: Instant) -> BTreeMap<Key, Waker> {
        let later = self.wakers.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.wakers, later)
    }

    /// Sets the timer for the first, if it is set for another time, and takes it back if there is none.
    fn set(&mut self, timer: &AsyncFd<OwnedFd>) -> io::Result<()> {
        let first = self.wakers.first_key_value().map(|((at, _), _)| *at);
        if first == self.set {
            return Ok(());
        }
        let left = first.map_or(Duration::ZERO, |at| {
            // No time at all would take it back.
            at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1))
        });
        let once = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(left) };
        self.set = None;
        timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        self.set = first;
        Ok(())
    }
}

fn timespec(time: Duration) -> Timespec {
    let tv_sec = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: time.subsec_nanos().into() }
}

impl Entry {
    pub(super) fn new(alarm: Arc<Alarm>, deadline: Instant) -> Self {
        let deadline = alarm.bell.round_up(deadline);
        Self { alarm, deadline, key: None }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// # Errors
    ///
    /// The timer cannot be set.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> io::Result<Poll<()>> {
        if self.deadline <= Instant::now() {
            return Ok(Poll::Ready(()));
        }
        let bell = &*self.alarm.bell;
        let mut sleepers = bell.sleepers.lock();
        let key = *self.key.get_or_insert_with(|| {
            sleepers.next += 1;
            (self.deadline, sleepers.next)
        });
        sleepers.wakers.insert(key, cx.waker().clone());
        sleepers.set(&bell.timer)?;
        Ok(Poll::Pending)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        self.alarm.bell.change(|sleepers| {
            sleepers.wakers.remove(&key);
            BTreeMap::new()
        });
    }
}
