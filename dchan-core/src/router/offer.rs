//! Putting the credit of lanes on offer, and taking it off.

use std::sync::atomic::Ordering;

use super::Router;
use crate::peers::Out;

impl Router {
    /// Whether the lane has credit on offer. An offer with nothing behind it is withdrawn: who finds it
    /// must not take its permit along, or there would be too few.
    #[inline]
    pub(super) fn is_on_offer(&self, out: &mut Out) -> bool {
        if !out.is_sure() {
            self.look_behind_offer(out);
        }
        out.offered > 0
    }

    fn look_behind_offer(&self, out: &mut Out) {
        if out.credit() > 0 {
            self.withdraw(out);
            out.make_sure();
        } else if out.offered > 0 {
            self.offer(out);
        }
    }

    /// One message of a lane's offer was used. If that used up its bytes too, then nothing is left.
    #[inline]
    pub(super) fn use_offer(&self, out: &mut Out) {
        out.offered -= 1;
        if !out.is_sure() {
            self.withdraw(out);
        }
    }

    /// Leaves no more on offer than the lane has credit.
    pub(super) fn withdraw(&self, out: &mut Out) {
        let credit = out.credit();
        if credit < out.offered {
            self.permits.forget_permits((out.offered - credit) as usize);
            out.offered = credit;
        }
    }

    /// Puts as much on offer as the lane has credit.
    pub(super) fn offer(&self, out: &mut Out) {
        let credit = out.credit();
        let offered = std::mem::replace(&mut out.offered, credit);
        self.change_offer(offered, credit);
        if credit == 0 && self.waiting.load(Ordering::SeqCst) > 0 {
            // Whoever begins to wait after this looks at the lanes itself.
            out.wait_for_room();
        }
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
