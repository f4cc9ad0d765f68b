use std::task::{Poll, Waker};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Taken,
    Unknown,
    Undecodable,
    NoReceiver,
}

/// Where the outcome of a tracked message is put, once, and waited for.
#[derive(Debug, Default)]
pub(crate) struct ReceiptCell {
    outcome: Mutex<Option<Outcome>>,
    waker: AtomicWaker,
}

impl ReceiptCell {
    /// Settles it. An outcome is final: later ones are ignored.
    pub(crate) fn settle(&self, outcome: Outcome) {
        self.outcome.lock().get_or_insert(outcome);
        self.waker.wake();
    }

    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Outcome> {
        self.waker.register(waker);
        match *self.outcome.lock() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        *self.outcome.lock()
    }
}

/// For the tests that search through states.
#[cfg(test)]
impl std::hash::Hash for ReceiptCell {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.outcome().map(|outcome| outcome as u8).hash(state);
    }
}
