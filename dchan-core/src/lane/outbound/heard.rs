//! What a receiver says of a lane.

use super::{Limits, Outbound, Phase};
use crate::{
    lane::{Amount, Epoch, LaneFault, Outcome},
    wire,
};

/// No receiver has more room than this, in messages or bytes beyond what it was handed: so sums of
/// credit stay far from overflowing.
const MOST_CREDIT: u64 = 1 << 42;

impl Outbound {
    /// The answer to `Attach`: what has arrived, and new credit.
    pub(crate) fn on_resumed(
        &mut self,
        epoch: Epoch,
        resumed: &wire::Resumed,
    ) -> Result<(), LaneFault> {
        if epoch != self.epoch || self.phase != Phase::Attaching {
            return Ok(());
        }
        // A frame that is settled in part has arrived for certain.
        let settled_in_part =
            self.retained.front().is_some_and(|oldest| oldest.first_seq < self.settled);
        let first_kept = self.next_frame - self.retained.len() as u64 + u64::from(settled_in_part);
        if resumed.next_frame > self.next_frame || resumed.next_frame < first_kept {
            return Err(LaneFault::Resume {
                expected: (first_kept, self.next_frame),
                found: resumed.next_frame,
            });
        }
        // What has not arrived never will: the other side drops what an older connection brings.
        while self.next_frame > resumed.next_frame {
            let Some(stamped) = self.retained.pop_back() else { break };
            self.next_frame -= 1;
            self.handed = self.handed.saturating_sub(stamped.amount());
            self.pending.push_front(stamped.unstamp());
        }
        self.phase = Phase::Attached;
        self.on_credit(epoch, &resumed.credit)?;
        // The last connection may have lost it.
        self.intent.say_want |= self.settled < self.intent.hurry;
        Ok(())
    }

    /// What has been taken, and what may come.
    pub(crate) fn on_credit(
        &mut self,
        epoch: Epoch,
        credit: &wire::Credit,
    ) -> Result<(), LaneFault> {
        if epoch != self.epoch || self.phase != Phase::Attached {
            return Ok(());
        }
        self.check(credit)?;
        self.settle(credit.taken, &credit.skipped)?;
        let limit = Amount::new(credit.limit_messages, credit.limit_bytes);
        self.limits.granted = self.limits.granted.max(limit);
        self.intent.blocked = false;
        Ok(())
    }

    /// Whether a receiver can have said that. Limits count from the lane's beginning and never fall
    /// within a connection, until the end of the lane is said.
    fn check(&self, credit: &wire::Credit) -> Result<(), LaneFault> {
        let Limits { granted, .. } = self.limits;
        let limits = [
            ("messages granted", credit.limit_messages, granted.messages, self.handed.messages),
            ("bytes granted", credit.limit_bytes, granted.bytes, self.handed.bytes),
        ];
        for (what, found, before, handed) in limits {
            let expected = handed.saturating_add(MOST_CREDIT);
            if found > expected {
                return Err(LaneFault::Credit { what, expected, found });
            }
            if found < before && !self.intent.fin_said {
                return Err(LaneFault::Backwards { what, expected: before, found });
            }
        }
        if credit.taken < self.settled {
            let (expected, found) = (self.settled, credit.taken);
            return Err(LaneFault::Backwards { what: "messages taken", expected, found });
        }
        Ok(())
    }

    /// The receiver asks for credit that is not needed. Returns whether there is something to say.
    pub(crate) fn on_reclaim(&mut self, epoch: Epoch) -> bool {
        // Behind `Fin` the lane says nothing more: all of its credit is free there.
        if epoch != self.epoch || self.phase != Phase::Attached || self.intent.fin_said {
            return false;
        }
        let unused = self.limits.total().saturating_sub(self.accepted);
        let messages = unused.messages.saturating_sub(self.limits.reserved);
        // A permit without bytes behind it could not send.
        let bytes = if self.limits.reserved > 0 { 0 } else { unused.bytes };
        self.limits.returned += Amount::new(messages, bytes);
        self.intent.owes_credit = self.limits.reserved > 0;
        let active = std::mem::take(&mut self.intent.active);
        self.intent.wanting = active || !self.pending.is_empty();
        self.intent.say_want = true;
        true
    }

    pub(super) fn settle(&mut self, taken: u64, skipped: &[u64]) -> Result<(), LaneFault> {
        if taken > self.handed.messages {
            return Err(LaneFault::Taken { expected: self.handed.messages, found: taken });
        }
        check_skipped(taken, skipped)?;
        if taken <= self.settled {
            return Ok(());
        }
        let failed = skipped.len() - skipped.partition_point(|seq| *seq < self.settled);
        let failed = failed as u64;
        self.ledger.dropped.decode += failed;
        self.ledger.taken += taken - self.settled - failed;
        self.settled = taken;
        while self.receipts.front().is_some_and(|(seq, _)| *seq < taken) {
            let Some((seq, cell)) = self.receipts.pop_front() else { break };
            let failed = skipped.binary_search(&seq).is_ok();
            cell.settle(if failed { Outcome::Undecodable } else { Outcome::Taken });
        }
        while self.retained.front().is_some_and(|oldest| oldest.is_settled_by(taken)) {
            let Some(oldest) = self.retained.pop_front() else { break };
            self.held = self.held.saturating_sub(oldest.amount());
        }
        self.pending.recycle();
        Ok(())
    }
}

/// Each message that could not be decoded is named once, in order, and is among those that are settled.
fn check_skipped(taken: u64, skipped: &[u64]) -> Result<(), LaneFault> {
    if let Some(pair) = skipped.windows(2).find(|pair| pair[0] >= pair[1]) {
        let what = "messages that could not be decoded";
        return Err(LaneFault::Backwards { what, expected: pair[0], found: pair[1] });
    }
    match skipped.last() {
        Some(&found) if found >= taken => Err(LaneFault::Skipped { expected: taken, found }),
        _ => Ok(()),
    }
}
