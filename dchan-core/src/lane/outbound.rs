//! The sending side of a lane.

use std::{any::Any, collections::VecDeque, fmt, sync::Arc};

use bytes::Bytes;

use super::{
    Amount, EncodeFault, Epoch, LaneFault, Ledger, Outcome, ReceiptCell, RecordWriter,
    block::{Block, Pending, Stamped},
};
use crate::{
    Frame, FrameBatch, LaneId, Namespace, ReceiverId,
    wire::{self, Attach, CHUNK, DataHeader, Flags, LaneFrame, Want},
};

/// How the lane stands with the present connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
enum Phase {
    /// It has not introduced itself.
    Detached,
    /// It waits for the answer: it has no credit.
    Attaching,
    Attached,
    /// Its receiver or its process is gone. Nothing is left in it.
    Ended,
}

/// The sending side of a lane: what is accepted, what is handed, what is settled.
///
/// A message is *accepted* (`Ok` to the user), then *handed* (stamped with its number and given to a
/// connection), then *settled*. What is not handed can be withdrawn without leaving a gap.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
pub(crate) struct Outbound {
    pub(crate) id: LaneId,
    pub(crate) namespace: Namespace,
    pub(crate) receiver: ReceiverId,
    epoch: Epoch,
    /// The newest connection that it was ever attached to. There is no way back to an older one.
    newest: Epoch,
    phase: Phase,
    pending: Pending,
    /// Handed and not wholly settled, oldest first. Their frame numbers end at `next_frame`.
    retained: VecDeque<Stamped>,
    next_frame: u64,
    accepted: Amount,
    handed: Amount,
    settled: u64,
    limits: Limits,
    intent: Intent,
    receipts: VecDeque<(u64, Arc<ReceiptCell>)>,
    ledger: Ledger,
}

/// Credit, as the receiver granted it in this connection.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, Hash))]
struct Limits {
    granted: Amount,
    returned: Amount,
    /// Messages promised to permits that have not sent yet.
    reserved: u64,
}

impl Limits {
    fn total(&self) -> Amount {
        self.granted.saturating_sub(self.returned)
    }
}

/// What the lane is up to, and whether it has said so.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, Hash))]
struct Intent {
    wanting: bool,
    say_want: bool,
    /// The large message at the front has been granted in this connection.
    large_granted: bool,
    /// It has been asked for.
    large_asked: bool,
    /// No new messages: say `Fin` when what is pending has gone.
    stopping: bool,
    fin_said: bool,
    /// Messages were accepted since credit was last asked back.
    active: bool,
    /// Credit was asked back that permits held.
    owes_credit: bool,
    /// What is at the front waits for credit.
    blocked: bool,
}

/// A message that lost its lane and waits for another.
pub(crate) struct Homeless {
    pub(crate) flags: Flags,
    pub(crate) body: HomelessBody,
    pub(crate) receipt: Option<Arc<ReceiptCell>>,
}

/// A message without a lane: its encoding, in pieces, or the value itself if it never left the process.
pub(crate) enum HomelessBody {
    Encoded(Vec<Bytes>),
    Value(Box<dyn Parcel>),
}

/// A value that can still be encoded.
pub(crate) trait Parcel: Send {
    fn encode(&self, writer: &mut RecordWriter<'_>) -> postcard::Result<()>;
    /// What it counts for in an inbox, in bytes.
    fn size(&self) -> u64;
    /// A queue with this as its only value, for a receiver in this process.
    fn into_queue(
        self: Box<Self>,
        flags: Flags,
        receipt: Option<Arc<ReceiptCell>>,
    ) -> Box<dyn AnyQueue>;
}

/// A queue of values of a type that only the two ends know.
pub(crate) trait AnyQueue: Any + Send {
    /// Takes the values out as messages that can go anywhere.
    fn into_homeless(self: Box<Self>) -> Vec<Homeless>;
    /// How many there are.
    fn len(&self) -> usize;
    /// Drops the first one, which cannot be used. Returns its receipt, if it has one.
    fn skip(&mut self) -> Option<Arc<ReceiptCell>>;
}

impl fmt::Debug for Homeless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Homeless").field("flags", &self.flags).finish_non_exhaustive()
    }
}

impl Outbound {
    pub(crate) fn new(id: LaneId, namespace: Namespace, receiver: ReceiverId) -> Self {
        Self {
            id,
            namespace,
            receiver,
            epoch: 0,
            newest: 0,
            phase: Phase::Detached,
            pending: Pending::default(),
            retained: VecDeque::new(),
            next_frame: 0,
            accepted: Amount::default(),
            handed: Amount::default(),
            settled: 0,
            limits: Limits::default(),
            intent: Intent { wanting: true, ..Intent::default() },
            receipts: VecDeque::new(),
            ledger: Ledger::default(),
        }
    }

    // ---- what the user does ----

    /// How many messages may be accepted now.
    pub(crate) fn credit(&self) -> u64 {
        let total = self.limits.total();
        if self.phase != Phase::Attached
            || self.intent.stopping
            || self.accepted.bytes >= total.bytes
        {
            return 0;
        }
        total.messages.saturating_sub(self.accepted.messages + self.limits.reserved)
    }

    /// Takes one message of credit out for a permit. The caller saw that there is [`credit`](Self::credit).
    pub(crate) fn reserve(&mut self) -> Epoch {
        self.limits.reserved += 1;
        self.epoch
    }

    /// A permit of that epoch is dropped, or about to be used. Returns whether there is something to
    /// say: credit that was asked back while permits held it goes back when the last one is gone.
    pub(crate) fn unreserve(&mut self, epoch: Epoch) -> bool {
        if epoch != self.epoch || self.limits.reserved == 0 {
            return false;
        }
        self.limits.reserved -= 1;
        self.gives_back()
    }

    /// Whether credit that was asked back and that permits held is free now. It goes back with the next
    /// poll, and not before, as the last permit's message may be about to use some of it.
    fn gives_back(&self) -> bool {
        self.intent.owes_credit && self.limits.reserved == 0
    }

    /// Whether messages can still be assigned to it.
    pub(crate) fn is_open(&self) -> bool {
        self.phase != Phase::Ended && !self.intent.stopping
    }

    /// Accepts a message.
    pub(crate) fn accept(
        &mut self,
        flags: Flags,
        receipt: Option<Arc<ReceiptCell>>,
        max: u64,
        encode: impl FnOnce(&mut RecordWriter<'_>) -> postcard::Result<()>,
    ) -> Result<(), EncodeFault> {
        self.append(flags, receipt, max, encode)?;
        self.ledger.accepted += 1;
        Ok(())
    }

    /// Takes in a message that had another lane before. A value that cannot be encoded is given back.
    pub(crate) fn adopt(&mut self, homeless: Homeless, max: u64) -> Result<(), Homeless> {
        let Homeless { flags, body, receipt } = homeless;
        let appended = self.append(flags, receipt.clone(), max, |writer| match &body {
            HomelessBody::Encoded(pieces) => {
                pieces.iter().for_each(|piece| writer.write(piece));
                Ok(())
            }
            HomelessBody::Value(parcel) => parcel.encode(writer),
        });
        appended.map_err(|_| Homeless { flags, body, receipt })
    }

    fn append(
        &mut self,
        flags: Flags,
        receipt: Option<Arc<ReceiptCell>>,
        max: u64,
        encode: impl FnOnce(&mut RecordWriter<'_>) -> postcard::Result<()>,
    ) -> Result<(), EncodeFault> {
        let flags = if receipt.is_some() { flags.with(Flags::TRACKED) } else { flags };
        let bytes = self.pending.append(flags, max, encode)?;
        if let Some(cell) = receipt {
            self.receipts.push_back((self.accepted.messages, cell));
        }
        self.accepted += Amount::new(1, bytes);
        self.intent.active = true;
        Ok(())
    }

    // ---- what the connection takes ----

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
                    || (!self.pending.is_empty() && !self.intent.blocked)
                    || (self.intent.stopping && !self.intent.fin_said && self.pending.is_empty())
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
            self.intent.blocked = !self.hand_one(out) && !self.pending.is_empty();
            if self.pending.is_empty() {
                break;
            }
        }
        if self.intent.say_want {
            let want = LaneFrame::Want(self.want());
            self.say(out, &want);
            self.intent.say_want = false;
        }
        if !self.pending.is_empty() {
            return !self.intent.blocked;
        }
        if self.intent.stopping && !self.intent.fin_said {
            self.say(out, &LaneFrame::Fin);
            self.intent.fin_said = true;
        }
        false
    }

    /// Switches to a new connection and introduces itself there, in one step: nothing of an older
    /// connection counts from here on.
    fn attach(&mut self, epoch: Epoch, out: &mut FrameBatch) {
        self.cut();
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
        let Intent { wanting, stopping, active, .. } = self.intent;
        self.intent =
            Intent { wanting: wanting || unsettled, stopping, active, ..Intent::default() };
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
        }
    }

    /// The bytes that are left of the large message at the front, if there is one.
    fn large_at_front(&mut self) -> Option<u64> {
        self.pending.front()?.part?;
        Some(self.pending.large_bytes())
    }

    fn hand_one(&mut self, out: &mut FrameBatch) -> bool {
        let room = self.limits.total().saturating_sub(self.handed);
        if self.pending.is_empty() {
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
        self.handed += Amount::new(u64::from(stamped.count), stamped.bytes);
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

    // ---- what the receiver says ----

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
            self.handed =
                self.handed.saturating_sub(Amount::new(u64::from(stamped.count), stamped.bytes));
            self.pending.push_front(stamped.unstamp());
        }
        self.phase = Phase::Attached;
        self.on_credit(epoch, &resumed.credit)
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
        self.settle(credit.taken, &credit.skipped)?;
        let limit = Amount::new(credit.limit_messages, credit.limit_bytes);
        self.limits.granted = self.limits.granted.max(limit);
        self.intent.blocked = false;
        Ok(())
    }

    /// The receiver asks for credit that is not needed. Returns whether there is something to say.
    pub(crate) fn on_reclaim(&mut self, epoch: Epoch) -> bool {
        if epoch != self.epoch || self.phase != Phase::Attached {
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

    /// A message waits for credit. Returns whether there is something to say.
    pub(crate) fn ask(&mut self) -> bool {
        if self.intent.wanting || !self.is_open() {
            return false;
        }
        self.intent.wanting = true;
        self.intent.say_want = self.phase == Phase::Attached;
        true
    }

    /// Accept nothing more, and end when all that was handed is settled. Returns what was not handed.
    pub(crate) fn stop(&mut self) -> Vec<Homeless> {
        if !self.is_open() {
            return Vec::new();
        }
        self.intent.stopping = true;
        let mut homeless = Vec::new();
        let mut kept = Vec::new();
        // A large message that has begun goes on to its end.
        while self.pending.front().is_some_and(|block| block.part.is_some_and(|p| !p.first)) {
            kept.extend(self.pending.pop_front());
        }
        let left: Amount = kept
            .iter()
            .fold(self.handed, |sum, block| sum + Amount::new(u64::from(block.count), block.bytes));
        self.drain_pending(left.messages, &mut homeless);
        self.accepted = left;
        kept.into_iter().rev().for_each(|block| self.pending.push_front(block));
        self.rehome(homeless, |_| Flags::REROUTED)
    }

    /// The receiver has ended the lane in good order. Returns what it did not take.
    pub(crate) fn on_closed(
        &mut self,
        taken: u64,
        skipped: &[u64],
    ) -> Result<Vec<Homeless>, LaneFault> {
        self.settle(taken, skipped)?;
        let mut homeless = Vec::new();
        self.drain_retained(&mut homeless);
        self.drain_pending(self.handed.messages, &mut homeless);
        self.end();
        Ok(self.rehome(homeless, |_| Flags::REROUTED))
    }

    /// The receiver's process is gone, or it does not know the lane, or it has been out of reach for
    /// too long. Returns what it cannot have taken, and what may be given to two receivers.
    pub(crate) fn die(&mut self) -> Vec<Homeless> {
        let handed = self.handed.messages;
        let mut homeless = Vec::new();
        self.drain_retained(&mut homeless);
        self.drain_pending(handed, &mut homeless);
        self.end();
        let mut kept = Vec::new();
        for (seq, message) in homeless {
            if seq >= handed || message.flags.has(Flags::AT_LEAST_ONCE) {
                kept.push((seq, message));
                continue;
            }
            self.ledger.unknown += 1;
            if let Some(receipt) = message.receipt {
                receipt.settle(Outcome::Unknown);
            }
        }
        self.rehome(kept, |seq| if seq < handed { Flags::REDELIVERED } else { Flags::REROUTED })
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.limits = Limits::default();
        self.handed = self.accepted;
        self.settled = self.accepted.messages;
    }

    fn rehome(
        &mut self,
        messages: Vec<(u64, Homeless)>,
        flag: impl Fn(u64) -> Flags,
    ) -> Vec<Homeless> {
        self.ledger.rerouted += messages.len() as u64;
        let flagged = |(seq, message): (u64, Homeless)| Homeless {
            flags: message.flags.with(flag(seq)),
            ..message
        };
        messages.into_iter().map(flagged).collect()
    }

    // ---- settling ----

    fn settle(&mut self, taken: u64, skipped: &[u64]) -> Result<(), LaneFault> {
        if taken > self.handed.messages {
            return Err(LaneFault::Taken { expected: self.handed.messages, found: taken });
        }
        if taken <= self.settled {
            return Ok(());
        }
        let news = self.settled..taken;
        let failed = skipped.iter().filter(|seq| news.contains(seq)).count() as u64;
        self.ledger.dropped.decode += failed;
        self.ledger.taken += taken - self.settled - failed;
        self.settled = taken;
        while let Some((seq, cell)) = self.receipts.pop_front_if(|(seq, _)| *seq < taken) {
            let failed = skipped.contains(&seq);
            cell.settle(if failed { Outcome::Undecodable } else { Outcome::Taken });
        }
        while self.retained.front().is_some_and(|oldest| oldest.is_settled_by(taken)) {
            self.retained.pop_front();
        }
        if self.unsettled() == 0 {
            self.pending.release();
        }
        Ok(())
    }

    /// How many messages are accepted and not settled.
    pub(crate) fn unsettled(&self) -> u64 {
        self.accepted.messages - self.settled
    }

    /// How many messages of it are settled.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// The account of this lane. Messages that left it for another lane are in flight there.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger { in_flight: self.unsettled(), ..self.ledger }
    }

    fn drain_retained(&mut self, into: &mut Vec<(u64, Homeless)>) {
        let stamped: Vec<Stamped> = self.retained.drain(..).collect();
        let settled = self.settled;
        self.unpack(stamped, settled, into);
    }

    fn drain_pending(&mut self, mut seq: u64, into: &mut Vec<(u64, Homeless)>) {
        let mut stamped = Vec::new();
        while let Some(block) = self.pending.pop_front() {
            let count = block.count;
            let header = DataHeader { frame_no: 0, first_seq: seq, count, settled: 0 };
            stamped.push(block.stamp(&header));
            seq += u64::from(count);
        }
        self.unpack(stamped, self.settled, into);
    }

    /// Takes blocks apart into their messages, with their receipts. A large message may have begun
    /// among those that `into` holds already.
    fn unpack(&mut self, blocks: Vec<Stamped>, from: u64, into: &mut Vec<(u64, Homeless)>) {
        for block in blocks {
            if let Some(part) = block.part {
                // A large message settles as a whole: what is still here is not settled.
                let piece = block.part_body();
                match into.last_mut() {
                    Some((_, Homeless { body: HomelessBody::Encoded(pieces), .. }))
                        if !part.first =>
                    {
                        pieces.push(piece);
                    }
                    _ => self.put_homeless(block.first_seq, part.flags, vec![piece], into),
                }
                continue;
            }
            for (seq, record) in (block.first_seq..).zip(block.records()) {
                if seq >= from {
                    self.put_homeless(seq, record.flags, vec![record.body], into);
                }
            }
        }
    }

    fn put_homeless(
        &mut self,
        seq: u64,
        flags: Flags,
        pieces: Vec<Bytes>,
        into: &mut Vec<(u64, Homeless)>,
    ) {
        let at = self.receipts.binary_search_by_key(&seq, |(seq, _)| *seq).ok();
        let receipt = at.and_then(|at| self.receipts.remove(at)).map(|(_, cell)| cell);
        into.push((seq, Homeless { flags, body: HomelessBody::Encoded(pieces), receipt }));
    }
}
