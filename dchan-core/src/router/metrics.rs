//! What the sending side of a namespace looks like in numbers.

use std::sync::atomic::Ordering;

use super::{Route, Router};
use crate::metrics::NamespaceMetrics;

impl Router {
    pub(crate) fn metrics(&self) -> NamespaceMetrics {
        let ledger = self.ledger();
        let state = self.state.lock();
        NamespaceMetrics {
            ledger,
            senders: state.handles,
            waiting: self.waiting.load(Ordering::Relaxed),
            credit: self.routes.load().iter().map(Route::credit).sum(),
            homeless: state.homeless.len(),
            receivers: *self.receivers.borrow(),
            ..NamespaceMetrics::default()
        }
    }
}

impl Route {
    /// How many messages may be assigned to it now.
    fn credit(&self) -> u64 {
        match self {
            Self::Remote(lane) => lane.look(|out| out.credit()),
            Self::Local(lane) => lane.credit(),
        }
    }
}
