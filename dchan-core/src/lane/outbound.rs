//! The sending side of a lane.

mod ending;
mod hand;
mod heard;

use std::{collections::VecDeque, sync::Arc};

pub(crate) use self::ending::{AnyQueue, Homeless, HomelessBody, Parcel};

use super::{
    Amount, EncodeFault, Epoch, Ledger, ReceiptCell, RecordWriter, UNTOLD,
    block::{Pending, Stamped},
};
use crate::{
    LaneId, Namespace, ReceiverId,
    wire::{Flags, RECORD_HEADER},
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
#[repr(C)]
pub(crate) struct Outbound {
    // In this order: see `OutLane`.
    /// What lies in `pending` and `retained`.
    held: Amount,
    accepted: Amount,
    intent: Intent,
    ledger: Ledger,
    pending: Pending,
    handed: Amount,
    settled: u64,
    phase: Phase,
    limits: Limits,
    pub(crate) id: LaneId,
    pub(crate) namespace: Namespace,
    pub(crate) receiver: ReceiverId,
    epoch: Epoch,
    /// The newest connection that it was ever attached to. There is no way back to an older one.
    newest: Epoch,
    /// That was not the first one.
    resumes: bool,
    /// Handed and not wholly settled, oldest first. Their frame numbers end at `next_frame`.
    retained: VecDeque<Stamped>,
    next_frame: u64,
    receipts: VecDeque<(u64, Arc<ReceiptCell>)>,
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
    /// Somebody waits for messages below this number to be settled.
    hurry: u64,
}

impl Outbound {
    pub(crate) fn new(id: LaneId, namespace: Namespace, receiver: ReceiverId) -> Self {
        Self {
            id,
            namespace,
            receiver,
            epoch: 0,
            newest: 0,
            resumes: false,
            phase: Phase::Detached,
            pending: Pending::default(),
            retained: VecDeque::new(),
            next_frame: 0,
            accepted: Amount::default(),
            handed: Amount::default(),
            settled: 0,
            held: Amount::default(),
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

    /// How many bytes the receiver has room for beyond what was accepted.
    pub(crate) fn granted_bytes(&self) -> u64 {
        self.limits.total().bytes.saturating_sub(self.accepted.bytes)
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
        self.intent.owes_credit && self.limits.reserved == 0 && !self.intent.fin_said
    }

    /// Whether nothing is left of it.
    pub(crate) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whether messages can still be assigned to it.
    pub(crate) fn is_open(&self) -> bool {
        self.phase != Phase::Ended && !self.intent.stopping
    }

    /// Whether the receiver may be there still, though the lane is over, as was said in that connection:
    /// the other end may have given the lane up before the connection came to stand. One that was
    /// answered there, or introduced for the first time, was ended by its receiver.
    pub(crate) fn may_be_given_up(&self, epoch: Epoch) -> bool {
        if self.newest != epoch {
            self.newest != 0
        } else {
            self.resumes && self.phase == Phase::Attaching
        }
    }

    /// Accepts a message.
    #[inline]
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

    /// Whether the message that was accepted last has filled a block.
    #[inline]
    pub(crate) fn has_filled_block(&self) -> bool {
        self.pending.has_filled_block()
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

    #[inline]
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
        self.held += Amount::new(1, bytes);
        self.intent.active = true;
        Ok(())
    }

    /// A message waits for credit. Returns whether there is something to say.
    pub(crate) fn ask(&mut self) -> bool {
        if !self.is_open() {
            return false;
        }
        // Credit that is asked back before it could be used is missed: two lanes that ask at the same
        // time would take it from each other for ever.
        self.intent.active = true;
        if self.intent.wanting {
            return false;
        }
        self.intent.wanting = true;
        self.intent.say_want = self.phase == Phase::Attached;
        true
    }

    /// Somebody waits until all that was accepted is settled.
    pub(crate) fn hurry(&mut self) {
        let hurry = self.accepted.messages;
        // Behind `Fin` the lane says nothing more: its end is told as soon as all is taken.
        if self.unsettled() > 0 && hurry > self.intent.hurry && !self.intent.fin_said {
            self.intent.hurry = hurry;
            self.intent.say_want |= self.phase == Phase::Attached;
        }
    }

    // ---- what is in it ----

    /// Whether it has nothing to do, and holds room for more.
    pub(crate) fn has_spare_room(&self) -> bool {
        self.unsettled() == 0 && self.pending.has_spare_room()
    }

    /// Gives that room back.
    pub(crate) fn release(&mut self) {
        if self.unsettled() == 0 {
            self.pending.release();
        }
    }

    /// The bytes that are kept for messages that were accepted and are not settled. A frame is kept
    /// until the last message in it is.
    pub(crate) fn held(&self) -> u64 {
        self.held.bytes + self.held.messages * RECORD_HEADER as u64
    }

    /// The bytes of messages that are accepted and not handed.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.accepted.bytes.saturating_sub(self.handed.bytes)
    }

    /// Whether [`held`](Self::held) is what lies here.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn holds_what_it_says(&self) -> bool {
        let lies = |sum, stamped: &Stamped| sum + stamped.amount();
        self.retained.iter().fold(self.pending.amount(), lies) == self.held
    }

    /// How many messages are accepted and not settled.
    pub(crate) fn unsettled(&self) -> u64 {
        self.accepted.messages - self.settled
    }

    /// Whether its last message may be alone on its way: no more is open than the receiver may not have told.
    pub(crate) fn is_lone(&self) -> bool {
        let few = self.unsettled() <= UNTOLD.messages && self.held.bytes <= 2 * UNTOLD.bytes;
        few || self.unsettled() <= 1
    }

    /// How many messages of it are handed to a connection.
    pub(crate) fn handed(&self) -> u64 {
        self.handed.messages
    }

    /// How many messages of it are settled.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// The account of this lane. Messages that left it for another lane are in flight there.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger { in_flight: self.unsettled(), ..self.ledger }
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
