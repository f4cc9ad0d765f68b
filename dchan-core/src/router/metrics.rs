//! What the sending side of a namespace looks like in numbers.

use std::sync::atomic::Ordering;

use super::Router;
use crate::metrics::NamespaceMetrics;

impl Router {
    pub(crate) fn metrics(&self) -> NamespaceMetrics {
        let ledger = self.ledger();
        let state = self.state.lock();
        NamespaceMetrics {
            ledger,
            senders: state.handles,
            waiting: self.waiting.load(Ordering::Relaxed),
            credit: self.permits.available_permits() as u64,
            homeless: state.homeless.len(),
            receivers: *self.receivers.borrow(),
            ..NamespaceMetrics::default()
        }
    }
}
