//! The way of one message into a lane.

use std::sync::{Arc, atomic::Ordering};

use serde::Serialize;
use tokio::sync::Semaphore;

use super::{
    LocalLane, Route, Router,
    encode::{encode, is_encoding},
    local::Claim,
};
use crate::{
    lane::{EncodeFault, Epoch, ReceiptCell},
    peers::Out,
    wire::Flags,
};

/// Why a message was not assigned.
#[derive(Debug)]
pub(crate) enum Unassigned {
    /// No lane has credit now.
    Full,
    /// It cannot be encoded, or is too large.
    Fault(EncodeFault),
}

/// Credit for one message on one lane, taken out of the offer.
pub(crate) struct Reserved {
    route: Route,
    epoch: Epoch,
}

impl Router {
    /// Assigns a message to the next lane with credit. The caller has taken a permit, which is used up
    /// if this succeeds, or if no lane has credit after all.
    ///
    /// The value is taken out of `value` if the lane is in this process.
    pub(crate) fn assign<T: Serialize + Send + 'static>(
        &self,
        value: &mut Option<T>,
        flags: Flags,
        receipt: Option<&Arc<ReceiptCell>>,
    ) -> Result<(), Unassigned> {
        if is_encoding() {
            // The lock of a lane is held on this thread: a value that sends while it is encoded.
            self.permits.add_permits(1);
            return Err(Unassigned::Fault(EncodeFault::Encode(postcard::Error::SerdeSerCustom)));
        }
        let unused = Unused(&self.permits);
        // Beside the closure, not through it: an error is large, and rare.
        let mut fault = None;
        let found = self.scan(|route| match route {
            Route::Remote(lane) => lane.with_offer(|out| {
                if !self.is_on_offer(out) {
                    self.ask_in_turn(out);
                    return None;
                }
                match self.accept(out, value.as_ref()?, flags, receipt.cloned()) {
                    Ok(()) => self.use_offer(out),
                    Err(error) => fault = Some(error),
                }
                Some(())
            }),
            Route::Local(lane) => {
                put_local(lane, value, flags, receipt, Claim::Offer).then_some(())
            }
        });
        match fault {
            Some(fault) => Err(Unassigned::Fault(fault)),
            None => {
                std::mem::forget(unused);
                found.ok_or(Unassigned::Full)
            }
        }
    }

    /// Takes credit for one message out of the offer. As [`assign`](Self::assign), but for later.
    pub(crate) fn reserve(&self) -> Result<Reserved, Unassigned> {
        self.scan(|route| match route {
            Route::Remote(lane) => lane.with(|out| {
                if !self.is_on_offer(out) {
                    self.ask_in_turn(out);
                    return None;
                }
                let epoch = out.lane.reserve();
                self.use_offer(out);
                Some(Reserved { route: route.clone(), epoch })
            }),
            Route::Local(lane) => {
                lane.reserve().then(|| Reserved { route: route.clone(), epoch: 0 })
            }
        })
        .ok_or(Unassigned::Full)
    }

    /// Visits the lanes, the next in turn first, until one has an answer.
    fn scan<R>(&self, mut visit: impl FnMut(&Route) -> Option<R>) -> Option<R> {
        loop {
            let offers = self.offers.load(Ordering::Acquire);
            let routes = self.routes.load();
            let (before, after) = routes.split_at(self.turn(routes.len()));
            let found = after.iter().chain(before).find_map(&mut visit);
            if found.is_some() || self.offers.load(Ordering::Acquire) == offers {
                return found;
            }
        }
    }

    /// Which of so many lanes is the next in turn. Two threads at a time may come to the same one: an
    /// exact count would cost every message more than that is worth.
    fn turn(&self, of: usize) -> usize {
        if of < 2 {
            return 0;
        }
        let turn = self.next.load(Ordering::Relaxed);
        self.next.store(turn.wrapping_add(1), Ordering::Relaxed);
        turn % of
    }

    /// It is the turn of a lane that gave its credit back. Nobody has to wait for credit to be told that
    /// there is use for it: while other lanes have some, its receiver would get nothing.
    fn ask_in_turn(&self, out: &mut Out) {
        if out.credit() == 0 {
            out.lane.ask();
        }
    }

    /// Sends with credit that was reserved. If the lane is over, then through another one with credit;
    /// `Full` if there is none.
    pub(crate) fn send_reserved<T: Serialize + Send + 'static>(
        &self,
        reserved: &Reserved,
        value: &mut Option<T>,
        flags: Flags,
        receipt: Option<&Arc<ReceiptCell>>,
    ) -> Result<(), Unassigned> {
        if is_encoding() {
            return Err(Unassigned::Fault(EncodeFault::Encode(postcard::Error::SerdeSerCustom)));
        }
        let sent = match &reserved.route {
            Route::Remote(lane) => lane.with(|out| {
                out.lane.unreserve(reserved.epoch);
                let open = out.lane.is_open();
                let value = value.as_ref().filter(|_| open)?;
                let accepted = self.accept(out, value, flags, receipt.cloned());
                self.offer(out);
                Some(accepted)
            }),
            Route::Local(lane) => {
                put_local(lane, value, flags, receipt, Claim::Permit).then_some(Ok(()))
            }
        };
        match sent {
            Some(sent) => sent.map_err(Unassigned::Fault),
            None if self.take_or_ask() => self.assign(value, flags, receipt),
            None => Err(Unassigned::Full),
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

/// Puts a value into a lane of this process. Whether the lane took it.
fn put_local<T: Serialize + Send + 'static>(
    lane: &LocalLane,
    value: &mut Option<T>,
    flags: Flags,
    receipt: Option<&Arc<ReceiptCell>>,
    claim: Claim,
) -> bool {
    let Some(taken) = value.take() else { return false };
    match lane.put(taken, flags, receipt.cloned(), claim) {
        Ok(()) => true,
        Err(refused) => {
            *value = Some(refused);
            false
        }
    }
}
/// A permit that was taken. Dropped, because a value could not be encoded or panicked, it goes back:
/// the credit is still on offer.
struct Unused<'a>(&'a Semaphore);

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
