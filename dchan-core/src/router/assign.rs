//! The way of one message into a lane.

use std::sync::{Arc, atomic::Ordering};

use serde::Serialize;

use super::{
    LocalLane, Route, Router, Turn,
    encode::{encode, is_encoding},
    local::Claim,
    offer::Used,
};
use crate::{
    lane::{EncodeFault, Epoch, ReceiptCell},
    peers::Out,
    wire::Flags,
};

/// Why a message was not assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unassigned {
    /// No lane has credit now, or others wait for it.
    Full,
    /// The node has stopped.
    Closed,
    /// It cannot be encoded, or is too large: see [`Outgoing::fault`].
    Faulty,
}

/// A message on its way into a lane.
pub(crate) struct Outgoing<T> {
    /// `None` once it is in a lane of this process.
    pub(crate) value: Option<T>,
    flags: Flags,
    receipt: Option<Arc<ReceiptCell>>,
    /// Why it can go into none.
    pub(crate) fault: Option<EncodeFault>,
    /// It has filled a block.
    pub(crate) filled: bool,
}

impl<T> Outgoing<T> {
    #[inline]
    pub(crate) fn new(value: T, flags: Flags, receipt: Option<Arc<ReceiptCell>>) -> Self {
        Self { value: Some(value), flags, receipt, fault: None, filled: false }
    }

    /// A value may send others while it is encoded: but the lock of a lane is held on this thread then.
    #[inline]
    fn check_not_encoding(&mut self) -> Result<(), Unassigned> {
        if is_encoding() {
            self.fail(EncodeFault::Encode(postcard::Error::SerdeSerCustom));
            return Err(Unassigned::Faulty);
        }
        Ok(())
    }

    #[cold]
    fn fail(&mut self, fault: EncodeFault) {
        self.fault = Some(fault);
    }

    #[inline]
    fn check(&self, found: Result<(), Unassigned>) -> Result<(), Unassigned> {
        if self.fault.is_none() { found } else { Err(Unassigned::Faulty) }
    }
}

/// Credit for one message on one lane, taken out of what senders may use.
pub(crate) struct Reserved {
    route: Route,
    epoch: Epoch,
}

impl Router {
    /// Assigns a message to the next lane with credit, unless others wait for it.
    #[inline]
    pub(crate) fn assign<T: Serialize + Send + 'static>(
        &self,
        message: &mut Outgoing<T>,
    ) -> Result<(), Unassigned> {
        message.check_not_encoding()?;
        let found = self.scan(|route| self.put(route, message, false));
        message.check(found)
    }

    /// The same for who has waited. The turn is over if this succeeds, or if no lane has credit after all.
    pub(crate) fn assign_in_turn<T: Serialize + Send + 'static>(
        &self,
        turn: Turn<'_>,
        message: &mut Outgoing<T>,
    ) -> Result<(), Unassigned> {
        message.check_not_encoding()?;
        let found = self.scan_in_turn(turn, |route| self.put(route, message, true));
        message.check(found)
    }

    /// The same for who cannot wait. If there is no credit, lanes are asked for some.
    pub(crate) fn assign_now<T: Serialize + Send + 'static>(
        &self,
        message: &mut Outgoing<T>,
    ) -> Result<(), Unassigned> {
        let assigned = match self.turn_now() {
            Some(turn) => self.assign_in_turn(turn, message),
            None => self.assign(message),
        };
        if assigned == Err(Unassigned::Full) {
            self.look_for_credit();
        }
        assigned
    }

    /// Takes credit for one message out of what senders may use. As [`assign`](Self::assign), but for
    /// later.
    pub(crate) fn reserve(&self) -> Result<Reserved, Unassigned> {
        let mut reserved = None;
        self.scan(|route| self.reserve_on(route, &mut reserved, false))?;
        reserved.ok_or(Unassigned::Full)
    }

    /// The same for who has waited.
    pub(crate) fn reserve_in_turn(&self, turn: Turn<'_>) -> Result<Reserved, Unassigned> {
        let mut reserved = None;
        self.scan_in_turn(turn, |route| self.reserve_on(route, &mut reserved, true))?;
        reserved.ok_or(Unassigned::Full)
    }

    /// Puts a message into a lane, if it has credit. Says which was used.
    #[inline]
    fn put<T: Serialize + Send + 'static>(
        &self,
        route: &Route,
        message: &mut Outgoing<T>,
        has_turn: bool,
    ) -> Option<Used> {
        match route {
            Route::Remote(lane) => lane.with_credit(|out| {
                let Some(used) = self.usable(out, has_turn) else {
                    self.ask_in_turn(out);
                    return None;
                };
                let Outgoing { value, flags, receipt, .. } = message;
                match self.accept(out, value.as_ref()?, *flags, receipt.clone()) {
                    Ok(()) => {
                        self.on_used(out, used);
                        message.filled = out.lane.has_filled_block();
                        Some(used)
                    }
                    Err(fault) => {
                        message.fail(fault);
                        Some(Used::Free)
                    }
                }
            }),
            Route::Local(lane) => {
                put_local(lane, message, &Claim::Credit { router: self, has_turn })
            }
        }
    }

    fn reserve_on(
        &self,
        route: &Route,
        reserved: &mut Option<Reserved>,
        has_turn: bool,
    ) -> Option<Used> {
        let (epoch, used) = match route {
            Route::Remote(lane) => lane.with(|out| {
                let Some(used) = self.usable(out, has_turn) else {
                    self.ask_in_turn(out);
                    return None;
                };
                let epoch = out.lane.reserve();
                self.on_used(out, used);
                Some((epoch, used))
            })?,
            Route::Local(lane) => (0, lane.reserve(self, has_turn)?),
        };
        *reserved = Some(Reserved { route: route.clone(), epoch });
        Some(used)
    }

    /// Visits the lanes, the next in turn first, until one has an answer. One that is too new to be seen
    /// is found by who waits.
    #[inline]
    fn scan(&self, visit: impl FnMut(&Route) -> Option<Used>) -> Result<(), Unassigned> {
        if self.is_closed() {
            return Err(Unassigned::Closed);
        }
        if self.is_waited_for() {
            return Err(Unassigned::Full);
        }
        let found = self.routes.look(|routes| self.visit(routes, visit));
        found.map_or(Err(Unassigned::Full), |_| Ok(()))
    }

    /// The same for who has waited.
    fn scan_in_turn(
        &self,
        turn: Turn<'_>,
        mut visit: impl FnMut(&Route) -> Option<Used>,
    ) -> Result<(), Unassigned> {
        loop {
            let offers = self.offers.load(Ordering::Acquire);
            match self.visit(&self.routes.load(), &mut visit) {
                // What is on offer is still there, and the turn goes to somebody else.
                Some(Used::Free) => return Ok(()),
                Some(Used::Offer) => {
                    turn.used();
                    return Ok(());
                }
                None if self.offers.load(Ordering::Acquire) == offers => {
                    turn.used();
                    return Err(Unassigned::Full);
                }
                None => {}
            }
        }
    }

    #[inline]
    fn visit(
        &self,
        routes: &[Route],
        mut visit: impl FnMut(&Route) -> Option<Used>,
    ) -> Option<Used> {
        match routes {
            [] => None,
            [only] => visit(only),
            several => {
                let (before, after) = several.split_at(self.turn(several.len()));
                after.iter().chain(before).find_map(visit)
            }
        }
    }

    /// Which of so many lanes is the next in turn. Two threads at a time may come to the same one: an
    /// exact count would cost every message more than that is worth.
    fn turn(&self, of: usize) -> usize {
        let turn = self.next.load(Ordering::Relaxed);
        self.next.store(turn.wrapping_add(1), Ordering::Relaxed);
        turn % of
    }

    /// It is the turn of a lane that gave its credit back. Nobody has to wait for credit to be told that
    /// there is use for it: while other lanes have some, its receiver would get nothing.
    #[cold]
    fn ask_in_turn(&self, out: &mut Out) {
        if out.credit() == 0 {
            out.lane.ask();
        }
    }

    /// Sends with credit that was reserved. If the lane is over, then through another one with credit.
    pub(crate) fn send_reserved<T: Serialize + Send + 'static>(
        &self,
        reserved: &Reserved,
        message: &mut Outgoing<T>,
    ) -> Result<(), Unassigned> {
        message.check_not_encoding()?;
        let sent = match &reserved.route {
            Route::Remote(lane) => lane.with_permit(|out| {
                out.lane.unreserve(reserved.epoch);
                let open = out.lane.is_open();
                let Outgoing { value, flags, receipt, .. } = message;
                let value = value.as_ref().filter(|_| open)?;
                let accepted = self.accept(out, value, *flags, receipt.clone());
                self.offer(out);
                message.filled = accepted.is_ok() && out.lane.has_filled_block();
                Some(accepted.map_err(|fault| message.fail(fault)))
            }),
            Route::Local(lane) => put_local(lane, message, &Claim::Permit).map(|_| Ok(())),
        };
        match sent {
            Some(sent) => sent.map_err(|()| Unassigned::Faulty),
            None => self.assign_now(message),
        }
    }

    /// Gives reserved credit back.
    pub(crate) fn unreserve(&self, reserved: &Reserved) {
        match &reserved.route {
            Route::Remote(lane) => lane.with(|out| {
                out.lane.unreserve(reserved.epoch);
                self.offer(out);
            }),
            Route::Local(lane) => lane.release(),
        }
    }

    #[inline]
    fn accept<T: Serialize>(
        &self,
        out: &mut Out,
        value: &T,
        flags: Flags,
        receipt: Option<Arc<ReceiptCell>>,
    ) -> Result<(), EncodeFault> {
        out.lane.accept(flags, receipt, self.max_message, |writer| encode(value, writer))?;
        out.on_more();
        Ok(())
    }
}

/// Puts a value into a lane of this process. What it used, if the lane took it.
fn put_local<T: Serialize + Send + 'static>(
    lane: &LocalLane,
    message: &mut Outgoing<T>,
    claim: &Claim<'_>,
) -> Option<Used> {
    let Outgoing { value, flags, receipt, .. } = message;
    match lane.put(value.take()?, *flags, receipt.clone(), claim) {
        Ok(used) => Some(used),
        Err(refused) => {
            *value = Some(refused);
            None
        }
    }
}
