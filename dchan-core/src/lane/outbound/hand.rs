//! What a connection takes from a lane.

use super::{Intent, Limits, Outbound, Phase};
use crate::{
    Frame, FrameBatch,
    lane::{Amount, Epoch, block::Block},
    wire::{Attach, CHUNK, DataHeader, LaneFrame, Want},
};

impl Outbound {
    /// Whether the lane has anything to do with a connection of that epoch: something to say, to hand,
    /// or to hear about.
    pub(crate) fn has_business(&self, epoch: Epoch) -> bool {
        match self.phase {
            Phase::Ended => false,
            _ if epoch > self.newest => {
                self.unsettled() > 0 || self.intent.wanting || self.intent.stopping
            }
            Phase::Attached if epoch == self.epoch => {
                self.intent.say_want
                    || self.gives_back()
                    || (self.may_hand() && !self.intent.blocked)
                    || (self.intent.stopping && !self.intent.fin_said && !self.may_hand())
            }
            _ => false,
        }
    }

    /// Puts frames into the batch until it holds `budget` bytes. Whatever is put there counts as handed.
    /// Returns whether there is more that could go now.
    pub(crate) fn poll(&mut self, epoch: Epoch, out: &mut FrameBatch, budget: usize) -> bool {
        match self.phase {
            Phase::Ended => return false,
            _ if epoch > self.newest => {
                self.attach(epoch, out);
                return false;
            }
            Phase::Attached if epoch == self.epoch => {}
            _ => return false,
        }
        if self.gives_back() {
            self.on_reclaim(epoch);
        }
        while out.bytes() < budget && !self.intent.blocked {
            self.intent.blocked = !self.hand_one(out) && self.may_hand();
            if !self.may_hand() {
                break;
            }
        }
        if self.intent.say_want {
            let want = LaneFrame::Want(self.want());
            self.say(out, &want);
            self.intent.say_want = false;
        }
        if self.may_hand() {
            return !self.intent.blocked;
        }
        if self.intent.stopping && !self.intent.fin_said {
            self.say(out, &LaneFrame::Fin);
            self.intent.fin_said = true;
        }
        false
    }

    /// Whether there is something to hand. A lane that stops does no more than end a large message.
    fn may_hand(&self) -> bool {
        !self.pending.is_empty() && (!self.intent.stopping || self.pending.is_in_large())
    }

    /// Switches to a new connection and introduces itself there, in one step: nothing of an older
    /// connection counts from here on.
    fn attach(&mut self, epoch: Epoch, out: &mut FrameBatch) {
        self.cut();
        self.resumes = self.newest != 0;
        (self.epoch, self.newest) = (epoch, epoch);
        self.phase = Phase::Attaching;
        let attach = Attach {
            namespace: self.namespace.clone(),
            receiver: self.receiver,
            fresh: self.next_frame == 0,
            taken: self.settled,
            wanting: self.intent.wanting,
        };
        self.say(out, &LaneFrame::Attach(attach));
    }

    /// The connection is gone, and unused credit with it.
    pub(crate) fn cut(&mut self) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Detached;
            self.epoch = 0;
        }
        self.limits = Limits::default();
        let unsettled = self.unsettled() > 0;
        let Intent { wanting, stopping, active, hurry, .. } = self.intent;
        let wanting = wanting || unsettled;
        self.intent = Intent { wanting, stopping, active, hurry, ..Intent::default() };
    }

    fn say(&self, out: &mut FrameBatch, frame: &LaneFrame) {
        if let Some(payload) = frame.encode_plain() {
            out.push(Frame::new(self.id, payload));
        }
    }

    fn want(&mut self) -> Want {
        let need_bytes = match self.large_at_front() {
            Some(bytes) if !self.intent.large_granted => self.handed.bytes + bytes,
            _ => 0,
        };
        Want {
            returned_messages: self.limits.returned.messages,
            returned_bytes: self.limits.returned.bytes,
            wanting: self.intent.wanting,
            need_bytes,
            hurry: self.intent.hurry,
        }
    }

    /// The bytes that are left of the large message at the front, if there is one.
    fn large_at_front(&mut self) -> Option<u64> {
        self.pending.front()?.part?;
        Some(self.pending.large_bytes())
    }

    fn hand_one(&mut self, out: &mut FrameBatch) -> bool {
        let room = self.limits.total().saturating_sub(self.handed);
        if !self.may_hand() {
            return false;
        }
        if room.messages == 0 {
            self.intent.say_want |= !std::mem::replace(&mut self.intent.wanting, true);
            return false;
        }
        let Some(block) = self.next_block(room) else { return false };
        let header = DataHeader {
            frame_no: self.next_frame,
            first_seq: self.handed.messages,
            count: block.count,
            settled: self.settled,
        };
        let stamped = block.stamp(&header);
        self.next_frame += 1;
        self.handed += stamped.amount();
        if stamped.part.is_some_and(|part| part.last) {
            (self.intent.large_granted, self.intent.large_asked) = (false, false);
        }
        out.push(Frame::new(self.id, stamped.payload.clone()));
        self.retained.push_back(stamped);
        true
    }

    /// The block at the front, or as much of it as there is room for. A message may end up to a chunk
    /// above the limit in bytes, as its size is not known when a lane is picked for it; a large one
    /// goes only once all of it is granted.
    fn next_block(&mut self, room: Amount) -> Option<Block> {
        if let Some(left) = self.large_at_front() {
            if !self.intent.large_granted && left > room.bytes {
                self.intent.wanting = true;
                self.intent.say_want |= !std::mem::replace(&mut self.intent.large_asked, true);
                return None;
            }
            self.intent.large_granted = true;
            return self.pending.pop_front();
        }
        let limit = self.limits.total().bytes + CHUNK as u64;
        let room = Amount::new(room.messages, limit.saturating_sub(self.handed.bytes));
        let front = self.pending.front()?;
        if u64::from(front.count) <= room.messages && front.bytes <= room.bytes {
            return self.pending.pop_front();
        }
        self.pending.split_front(room)
    }
}
