//! How a lane ends, and what becomes of the messages in it.

use std::{any::Any, fmt, sync::Arc};

use bytes::Bytes;

use super::{Limits, Outbound, Phase};
use crate::{
    lane::{Amount, LaneFault, Outcome, ReceiptCell, RecordWriter, block::Stamped},
    wire::{DataHeader, Flags, RECORD_HEADER},
};

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

impl Homeless {
    /// The bytes that it keeps. A value counts for none: how much there is behind it is not known.
    pub(crate) fn held(&self) -> u64 {
        match &self.body {
            HomelessBody::Encoded(pieces) => {
                RECORD_HEADER as u64 + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>()
            }
            HomelessBody::Value(_) => 0,
        }
    }
}

impl fmt::Debug for Homeless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Homeless").field("flags", &self.flags).finish_non_exhaustive()
    }
}

impl Outbound {
    /// Accept nothing more, hand nothing more, and end when all that was handed is settled. Returns what
    /// was not handed, if nothing that was handed may come back: that goes first, and it comes with the
    /// end of the lane.
    ///
    /// A receiver that takes nothing new says so again in each connection: what was lost with the one
    /// before is not handed any more by then, and goes elsewhere, too.
    pub(crate) fn stop(&mut self) -> Vec<Homeless> {
        if self.phase == Phase::Ended {
            return Vec::new();
        }
        self.intent.stopping = true;
        if self.handed.messages > self.settled || self.pending.is_in_large() {
            return Vec::new();
        }
        let mut homeless = Vec::new();
        self.drain_pending(self.handed.messages, &mut homeless);
        self.held = self.held.saturating_sub(self.accepted.saturating_sub(self.handed));
        self.accepted = self.handed;
        if self.newest == 0 {
            // Nobody has heard of the lane, so nobody need hear of its end.
            self.end();
        }
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
        self.held = Amount::default();
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
