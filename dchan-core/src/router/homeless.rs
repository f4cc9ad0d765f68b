//! Messages that lost their lane and wait for another.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use super::{Route, Router, State};
use crate::{
    budget::{Budget, Loan},
    lane::{Homeless, Outcome},
};

/// Messages that lost their lane, oldest first. What they keep is borrowed.
pub(super) struct Queue {
    messages: VecDeque<Homeless>,
    held: u64,
    loan: Loan,
}

impl Queue {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { messages: VecDeque::new(), held: 0, loan: Loan::new(budget) }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    fn extend(&mut self, messages: Vec<Homeless>) {
        self.held += messages.iter().map(Homeless::held).sum::<u64>();
        self.loan.cover(self.held);
        self.messages.extend(messages);
    }

    /// The loan for it stays until [`settle`](Self::settle).
    fn pop_front(&mut self) -> Option<Homeless> {
        let message = self.messages.pop_front()?;
        self.held -= message.held();
        Some(message)
    }

    fn push_front(&mut self, message: Homeless) {
        self.held += message.held();
        self.messages.push_front(message);
    }

    /// What was taken out is held elsewhere now, or not at all.
    fn settle(&mut self) {
        self.loan.shrink_to(self.held);
    }
}

impl Router {
    /// Gives messages that lost their lane other ones, oldest first, before anything new is accepted.
    pub(super) fn place_homeless(&self) {
        if !self.has_homeless.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state.lock();
        while let Some(message) = state.homeless.pop_front() {
            match self.place(message) {
                Ok(()) => {}
                Err(Misplaced::Full(message)) => {
                    state.homeless.push_front(message);
                    break;
                }
                Err(Misplaced::Unencodable(message)) => {
                    state.retired.dropped.decode += 1;
                    settle(&message, Outcome::Undecodable);
                }
            }
        }
        state.homeless.settle();
        let left = state.homeless.len() > 0;
        self.has_homeless.store(left, Ordering::Release);
        drop(state);
        // Only now, or senders would take what the next of these needs.
        for route in self.routes.load().iter() {
            match route {
                Route::Remote(lane) => lane.look(|out| self.offer(out)),
                Route::Local(lane) => lane.recount(),
            }
        }
        if left {
            self.look_for_credit();
        }
    }

    fn place(&self, message: Homeless) -> Result<(), Misplaced> {
        let mut message = Some(message);
        let mut outcome = None;
        for route in self.routes.load().iter() {
            let placed = match route {
                Route::Remote(lane) => lane.with(|out| {
                    if out.granted() == 0 {
                        return None;
                    }
                    let adopted = out.lane.adopt(message.take()?, self.max_message);
                    out.on_more();
                    self.withdraw(out);
                    Some(adopted)
                }),
                Route::Local(lane) => {
                    if lane.credit() == 0 {
                        continue;
                    }
                    let Some(taken) = message.take() else { break };
                    if let Err(refused) = lane.adopt(taken) {
                        message = Some(refused);
                        continue;
                    }
                    Some(Ok(()))
                }
            };
            if placed.is_some() {
                outcome = placed;
                break;
            }
        }
        match (outcome, message) {
            (Some(Ok(())), _) | (None, None) => Ok(()),
            (Some(Err(message)), _) => Err(Misplaced::Unencodable(message)),
            (None, Some(message)) => Err(Misplaced::Full(message)),
        }
    }

    pub(super) fn take_in_homeless(&self, state: &mut State, messages: Vec<Homeless>) {
        if !messages.is_empty() {
            state.homeless.extend(messages);
            self.has_homeless.store(true, Ordering::Release);
        }
    }

    /// Gives up messages that have no lane: the node stops.
    pub(crate) fn drop_homeless(&self) {
        let mut state = self.state.lock();
        let homeless: Vec<_> = std::iter::from_fn(|| state.homeless.pop_front()).collect();
        state.homeless.settle();
        state.retired.dropped.no_receiver += homeless.len() as u64;
        self.has_homeless.store(false, Ordering::Release);
        drop(state);
        homeless.iter().for_each(|message| settle(message, Outcome::NoReceiver));
        self.settled.notify_waiters();
    }
}

enum Misplaced {
    Full(Homeless),
    Unencodable(Homeless),
}

pub(super) fn settle(message: &Homeless, outcome: Outcome) {
    if let Some(receipt) = &message.receipt {
        receipt.settle(outcome);
    }
}
