//! Waiting for credit.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Route, Router};
use crate::peers::Out;

impl Router {
    /// Waits until some lane has credit, and takes a permit. `false` if the router is closed.
    pub(crate) async fn wait_for_credit(&self) -> bool {
        // Counted before lanes are asked: one that gives its credit back later asks by itself.
        let _waiting = Waiting::begin(&self.waiting);
        self.ask_for_credit();
        self.permits.acquire().await.is_ok_and(|permit| {
            permit.forget();
            true
        })
    }

    /// Takes a permit, if there is one.
    #[inline]
    pub(crate) fn take_credit(&self) -> bool {
        self.permits.try_acquire().is_ok_and(|permit| {
            permit.forget();
            true
        })
    }

    /// The same. If there is none, lanes are asked for credit.
    pub(crate) fn take_or_ask(&self) -> bool {
        let taken = self.take_credit();
        if !taken {
            self.ask_for_credit();
        }
        taken
    }

    /// Whether somebody waits for credit.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0 || self.has_homeless.load(Ordering::Acquire)
    }

    /// Lanes that gave their credit back are told that it is needed.
    pub(super) fn ask_for_credit(&self) {
        for route in self.routes.load().iter() {
            match route {
                Route::Remote(lane) => lane.with(Out::ask),
                Route::Local(lane) => lane.ask(),
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
