//! The lanes of a namespace, as senders see them.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use thread_local::ThreadLocal;

use super::Route;

/// The lanes that take new messages: looked at for each message, and changed when receivers come and go.
///
/// In this order, as what a message looks at is side by side then, in the router, too.
#[repr(C)]
pub(super) struct List {
    /// Counts the changes.
    version: AtomicU64,
    /// What each thread has seen of it. To look there costs no locked instruction.
    seen: ThreadLocal<RefCell<Seen>>,
    routes: Mutex<Arc<[Route]>>,
}

struct Seen {
    version: u64,
    routes: Routes,
}

enum Routes {
    /// The only one, as a rule: here, as a list elsewhere would be one more miss of the cache.
    One(Route),
    Several(Arc<[Route]>),
}

impl Routes {
    #[inline]
    fn all(&self) -> &[Route] {
        match self {
            Self::One(route) => std::slice::from_ref(route),
            Self::Several(routes) => routes,
        }
    }
}

impl List {
    pub(super) fn new() -> Self {
        Self { routes: Mutex::default(), version: AtomicU64::new(0), seen: ThreadLocal::new() }
    }

    pub(super) fn store(&self, routes: Arc<[Route]>) {
        // Dropped when the lock is free again, as lanes may go with it.
        let _before = std::mem::replace(&mut *self.routes.lock(), routes);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The list as it is now.
    pub(super) fn load(&self) -> Arc<[Route]> {
        self.routes.lock().clone()
    }

    /// Looks at the list as it is now, or was a moment ago: a lane that is new may not be there yet, and
    /// one that is over may be.
    #[inline]
    pub(super) fn look<R>(&self, look: impl FnOnce(&[Route]) -> R) -> R {
        let seen = self.seen.get_or(|| RefCell::new(self.see()));
        match seen.try_borrow_mut() {
            Ok(mut seen) => {
                if seen.version != self.version.load(Ordering::Acquire) {
                    *seen = self.see();
                }
                look(seen.routes.all())
            }
            // Somebody further up on this thread is looking.
            Err(_) => look(&self.load()),
        }
    }

    #[cold]
    fn see(&self) -> Seen {
        // Before the list: that may then be newer than its version, and is seen once more, but never older.
        let version = self.version.load(Ordering::Acquire);
        let routes = self.load();
        let routes = match &routes[..] {
            [only] => Routes::One(only.clone()),
            _ => Routes::Several(routes),
        };
        Seen { version, routes }
    }
}
