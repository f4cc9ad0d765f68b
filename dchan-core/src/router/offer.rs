//! Putting the credit of lanes on offer to those who wait, and taking it off.

use std::sync::atomic::Ordering;

use super::Router;
use crate::peers::Out;

/// Which credit a message uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used {
    /// Some that was on offer: the turn of who waited for it is over.
    Offer,
    /// Some that was not.
    Free,
}

impl Router {
    /// Which credit of a lane a message can use. What is on offer is for those who wait: who has no
    /// [`Turn`](super::Turn) takes it only if nobody does any more.
    #[inline]
    pub(super) fn usable(&self, out: &mut Out, has_turn: bool) -> Option<Used> {
        if out.offered == 0 && out.is_sure_of_credit() {
            return Some(Used::Free);
        }
        self.usable_when_counted(out, has_turn)
    }

    #[inline(never)]
    fn usable_when_counted(&self, out: &mut Out, has_turn: bool) -> Option<Used> {
        if out.offered > 0 && !has_turn && !self.take_off(out) {
            return None;
        }
        if !out.count_credit() {
            // There may be an offer with nothing behind it.
            self.offer(out);
            return None;
        }
        Some(if out.offered > 0 { Used::Offer } else { Used::Free })
    }

    /// A message was accepted, or is promised.
    #[inline]
    pub(super) fn on_used(&self, out: &mut Out, used: Used) {
        out.on_used();
        if used == Used::Offer {
            out.offered -= 1;
            // That may have used up its bytes, too.
            self.withdraw(out);
        }
    }

    /// Takes what is on offer off, if nobody waits for it. Who begins to wait later visits the lane, and
    /// finds it locked until this is done.
    #[cold]
    fn take_off(&self, out: &mut Out) -> bool {
        let unwanted = !self.is_waited_for();
        if unwanted {
            self.change_offer(std::mem::take(&mut out.offered), 0);
        }
        unwanted
    }

    /// Leaves no more on offer than the lane has credit.
    #[inline(never)]
    pub(super) fn withdraw(&self, out: &mut Out) {
        if out.credit() < out.offered {
            self.offer(out);
        }
    }

    /// If somebody waits, puts as much on offer as the lane has credit, else nothing.
    pub(super) fn offer(&self, out: &mut Out) {
        // Whoever begins to wait after this looks at the lanes itself.
        let waiting = self.waiting.load(Ordering::SeqCst) > 0;
        let now = if waiting { out.credit_or_wait() } else { 0 };
        self.change_offer(std::mem::replace(&mut out.offered, now), now);
    }

    /// Whether somebody who waits has credit of each lane on offer, or will be told of it, after something happens.
    #[cfg(test)]
    pub(crate) fn would_hear(&self, happens: impl Fn()) -> bool {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let hears = self.routes.load().iter().all(|route| match route {
            super::Route::Remote(lane) => lane.look(|out| {
                self.offer(out);
                happens();
                self.withdraw(out);
                out.offered > 0 || out.stops_to_wait()
            }),
            super::Route::Local(_) => true,
        });
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        hears
    }

    pub(super) fn change_offer(&self, before: u64, now: u64) {
        if now > before {
            self.offers.fetch_add(1, Ordering::Release);
            self.permits.add_permits((now - before) as usize);
        } else if now < before {
            self.permits.forget_permits((before - now) as usize);
        }
    }
}
