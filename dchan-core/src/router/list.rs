//! The lanes of a namespace, as senders see them.

use std::{cell::RefCell, sync::Arc};

use arc_swap::{ArcSwap, Cache, Guard};
use thread_local::ThreadLocal;

use super::Route;

type Shared = Arc<ArcSwap<Vec<Route>>>;

/// The lanes that take new messages: looked at for each message, and changed when receivers come and go.
pub(super) struct List {
    shared: Shared,
    /// What each thread has seen of it. To look there costs no locked instruction.
    seen: ThreadLocal<RefCell<Cache<Shared, Arc<Vec<Route>>>>>,
}

impl List {
    pub(super) fn new() -> Self {
        Self { shared: Shared::default(), seen: ThreadLocal::new() }
    }

    pub(super) fn store(&self, routes: Vec<Route>) {
        self.shared.store(Arc::new(routes));
    }

    /// The list as it is now.
    pub(super) fn load(&self) -> Guard<Arc<Vec<Route>>> {
        self.shared.load()
    }

    /// Looks at the list as it is now, or was a moment ago: a lane that is new may not be there yet, and
    /// one that is over may be.
    #[inline]
    pub(super) fn look<R>(&self, look: impl FnOnce(&[Route]) -> R) -> R {
        let seen = self.seen.get_or(|| RefCell::new(Cache::new(self.shared.clone())));
        match seen.try_borrow_mut() {
            Ok(mut seen) => look(seen.load()),
            // Somebody further up on this thread is looking.
            Err(_) => look(&self.load()),
        }
    }
}
