use std::sync::{Arc, Weak};

use super::{BLOCK, Borrower, Budget, Loan};

/// What one lane may hold: its minimum, and what it has borrowed. The lock of the lane guards it.
#[derive(Debug)]
pub(crate) struct Allowance {
    loan: Loan,
    borrower: Weak<dyn Borrower>,
    /// It is in the queue for more.
    waiting: bool,
}

impl Allowance {
    /// What each lane may hold in any case, in bytes.
    pub(crate) const MINIMUM: u64 = 64 * 1024;

    /// The minimum, for a lane that is served as `borrower` when it has waited for more.
    pub(crate) fn new(budget: Arc<Budget>, borrower: Weak<dyn Borrower>) -> Self {
        Self { loan: Loan::new(budget), borrower, waiting: false }
    }

    /// A lane that holds less than so many bytes may accept a message.
    pub(crate) fn limit(&self) -> u64 {
        Self::MINIMUM + self.loan.bytes
    }

    /// Whether a lane that holds so many bytes may accept a message. As its size is not known before,
    /// it may end above the limit by one message.
    #[inline]
    pub(crate) fn has_room(&self, held: u64) -> bool {
        held < self.limit()
    }

    /// The lane holds more now: so many bytes.
    #[inline]
    pub(crate) fn on_more(&mut self, held: u64) {
        if !self.has_room(held) {
            self.extend(held);
        }
    }

    #[cold]
    fn extend(&mut self, held: u64) {
        self.loan.cover(held - Self::MINIMUM);
        self.loan.grow();
    }

    /// The lane holds less now: so many bytes. What it keeps beyond that saves it from borrowing again
    /// at once; while others wait, it keeps nothing.
    pub(crate) fn on_less(&mut self, held: u64) {
        let needed = held.saturating_sub(Self::MINIMUM);
        let spare = if needed == 0 || self.loan.budget.is_contended() { 0 } else { BLOCK };
        self.loan.shrink_to(needed + spare);
    }

    /// The lane needs more than there is: it waits in line.
    pub(crate) fn wait(&mut self) {
        if !std::mem::replace(&mut self.waiting, true) {
            self.loan.budget.wait(self.borrower.clone());
        }
    }

    /// It is its turn. `needed`: whether the lane still has a use for the loan.
    pub(crate) fn on_turn(&mut self, loan: Loan, needed: bool) {
        self.waiting = false;
        if needed {
            self.loan.absorb(loan);
        }
    }
}
