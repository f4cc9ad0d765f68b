//! Waiting for credit.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::SemaphorePermit;

use super::{Route, Router};

/// What a sender has waited for: some lane has credit on offer, for this sender among others. Dropped
/// unused, it goes to whoever waits next.
pub(crate) struct Turn<'a> {
    permit: SemaphorePermit<'a>,
    /// Until it is used, what is on offer stays there.
    _waiting: Waiting<'a>,
}

impl Turn<'_> {
    /// It was used, or there was nothing behind it.
    pub(super) fn used(self) {
        self.permit.forget();
    }
}

impl Router {
    /// Waits until some lane has credit. `None` if the router is closed.
    pub(crate) async fn wait_for_credit(&self) -> Option<Turn<'_>> {
        // Counted before lanes are looked at: what they get later, they put on offer.
        let waiting = Waiting::begin(&self.waiting);
        self.place_homeless();
        self.look_for_credit();
        let permit = self.permits.acquire().await.ok()?;
        Some(Turn { permit, _waiting: waiting })
    }

    /// The turn of a sender that does not wait, if others do and there is more on offer than they need.
    pub(super) fn turn_now(&self) -> Option<Turn<'_>> {
        if !self.is_waited_for() {
            return None;
        }
        let waiting = Waiting::begin(&self.waiting);
        let permit = self.permits.try_acquire().ok()?;
        Some(Turn { permit, _waiting: waiting })
    }

    /// Whether somebody waits for credit.
    #[inline]
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0 || self.has_homeless.load(Ordering::Acquire)
    }

    /// Somebody needs credit: if they wait for it, all lanes put what they have on offer. Those that gave
    /// theirs back are told that it is needed.
    pub(super) fn look_for_credit(&self) {
        for route in self.routes.load().iter() {
            match route {
                Route::Remote(lane) => lane.with(|out| {
                    self.offer(out);
                    out.ask();
                }),
                Route::Local(lane) => {
                    lane.recount();
                    lane.ask();
                }
            }
        }
    }
}

/// A sender that waits for credit.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
