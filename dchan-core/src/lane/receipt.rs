use std::{
    sync::OnceLock,
    task::{Poll, Waker},
};

use futures::task::AtomicWaker;

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
    outcome: OnceLock<Outcome>,
    waker: AtomicWaker,
}

impl ReceiptCell {
    /// Settles it. An outcome is final: later ones are ignored.
    pub(crate) fn settle(&self, outcome: Outcome) {
        let _first = self.outcome.set(outcome);
        self.waker.wake();
    }

    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Outcome> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        self.waker.register(waker);
        // It may have come meanwhile.
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.get().copied()
    }
}

/// For the tests that search through states.
#[cfg(test)]
impl std::hash::Hash for ReceiptCell {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.outcome().map(|outcome| outcome as u8).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_first_outcome_wakes_and_stays() {
        let cell = ReceiptCell::default();
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(woken.clone());
        assert_eq!(cell.poll(&waker), Poll::Pending);
        assert_eq!(cell.outcome(), None);
        cell.settle(Outcome::NoReceiver);
        assert!(woken.0.load(Ordering::SeqCst));
        cell.settle(Outcome::Taken);
        assert_eq!(cell.poll(&waker), Poll::Ready(Outcome::NoReceiver));
        assert_eq!(cell.outcome(), Some(Outcome::NoReceiver));
    }
}
