//! What a node may hold for all of its receivers together.
//!
//! What was accepted and not taken lies in the memory of the sender's process. Each lane may always
//! hold [`Allowance::MINIMUM`] bytes; beyond that it borrows from the budget of the node, in blocks, so
//! that a message costs no more than a comparison. When the budget is lent out, lanes that need more
//! wait in line, and whatever comes back goes to the first of them, a block at a time: one that has
//! much does not keep others from getting any.

mod allowance;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::RetainedMetrics;

pub(crate) use allowance::Allowance;

/// What is borrowed at one time, in bytes.
const BLOCK: u64 = 64 * 1024;
/// Who waits is given what is left of a block, if it is worth the trouble.
const WORTH: u64 = BLOCK / 4;

/// The bytes that a node may hold beyond the minimum of each lane.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    /// May be above `total`: what was accepted is held, whether there is room or not.
    lent: AtomicU64,
    /// The length of `queue`.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Weak<dyn Borrower>>>,
    /// There may be a block for the first in the queue.
    freed: Notify,
}

/// Somebody who waits for a loan.
pub(crate) trait Borrower: Send + Sync + std::fmt::Debug {
    /// It is its turn. A loan that it does not need any more it drops.
    fn lend(self: Arc<Self>, loan: Loan);
}

/// Bytes that were borrowed. They go back when it is dropped.
#[derive(Debug)]
pub(crate) struct Loan {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(total: u64) -> Arc<Self> {
        Arc::new(Self {
            total,
            lent: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Serves those who wait, for as long as it is polled.
    ///
    /// A task of its own does that, as loans come back under locks that those who wait need, too.
    pub(crate) async fn serve(self: Arc<Self>) {
        loop {
            self.freed.notified().await;
            while let Some((borrower, loan)) = self.next() {
                if let Some(borrower) = borrower.upgrade() {
                    borrower.lend(loan);
                }
            }
        }
    }

    /// The first who waits, and a block for it.
    fn next(self: &Arc<Self>) -> Option<(Weak<dyn Borrower>, Loan)> {
        let mut queue = self.queue.lock();
        if queue.is_empty() {
            return None;
        }
        let bytes = self.take(WORTH)?;
        let loan = Loan { budget: self.clone(), bytes };
        let borrower = queue.pop_front()?;
        self.waiting.store(queue.len(), SeqCst);
        Some((borrower, loan))
    }

    /// Takes a block, or what is left of it, if that is so many bytes at least.
    fn take(&self, least: u64) -> Option<u64> {
        let left = |lent: u64| self.total.saturating_sub(lent).min(BLOCK);
        let more = |lent: u64| Some(lent + left(lent)).filter(|_| left(lent) >= least);
        self.lent.fetch_update(SeqCst, SeqCst, more).ok().map(left)
    }

    /// Joins the queue. Who is in it does not come again before its turn.
    fn wait(&self, borrower: Weak<dyn Borrower>) {
        let mut queue = self.queue.lock();
        queue.push_back(borrower);
        self.waiting.store(queue.len(), SeqCst);
        drop(queue);
        self.look(self.lent.load(SeqCst));
    }

    /// Wakes whoever serves the queue, if there is anything to do. Who gives back looks at the queue
    /// after that, and who joins the queue looks at what is lent after that: one of them sees both.
    fn look(&self, lent: u64) {
        if lent + WORTH <= self.total && self.is_contended() {
            self.freed.notify_one();
        }
    }

    pub(crate) fn metrics(&self) -> RetainedMetrics {
        let (bytes, waiting) = (self.lent.load(SeqCst), self.waiting.load(SeqCst));
        RetainedMetrics { bytes, limit: self.total, waiting }
    }

    /// Whether anybody waits.
    fn is_contended(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }
}

impl Loan {
    /// One of nothing.
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Borrows up to so many bytes in all, whether the budget has them or not: they are held already.
    pub(crate) fn cover(&mut self, bytes: u64) {
        let more = bytes.saturating_sub(self.bytes);
        self.budget.lent.fetch_add(more, SeqCst);
        self.bytes += more;
    }

    /// Gives back what is above so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        if less > 0 {
            self.bytes -= less;
            let before = self.budget.lent.fetch_sub(less, SeqCst);
            self.budget.look(before - less);
        }
    }

    /// Borrows a block more, or what is left of it, unless somebody waits for that.
    fn grow(&mut self) {
        if !self.budget.is_contended() {
            self.bytes += self.budget.take(0).unwrap_or_default();
        }
    }

    /// Adds another loan to this one.
    fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests;
