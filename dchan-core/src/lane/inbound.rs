//! The receiving side of a lane.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Epoch;
use crate::{
    Breach,
    wire::{CHUNK, Chunk, DataHeader, Flags, Records, WireError},
};

/// The receiving side of a lane: checks that messages come in order, once, and puts large ones together.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, Hash))]
pub(crate) struct Inbound {
    epoch: Epoch,
    /// The newest connection that it was ever attached to.
    newest: Epoch,
    next_frame: u64,
    next_seq: u64,
    /// Messages below this number are settled.
    taken: u64,
    /// Messages that could not be decoded, for as long as the sender may not know of it.
    skipped: VecDeque<u64>,
    partial: Option<Partial>,
    finished: bool,
}

/// A large message of which some has come.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
struct Partial {
    first_frame: u64,
    pieces: Vec<Bytes>,
    len: u64,
    total: u64,
    flags: Flags,
}

/// Messages that have arrived.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) count: u32,
    pub(crate) message: Message,
}

/// How messages arrive: many small ones, or a large one.
#[derive(Debug)]
pub(crate) enum Message {
    Records(Records),
    Large { flags: Flags, pieces: Vec<Bytes> },
}

/// What the other side of a lane did that it must not do. It ends the lane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LaneFault {
    #[error("frame {found} of the lane where {expected} was due")]
    Frame { expected: u64, found: u64 },
    #[error("message {found} where {expected} was due")]
    Sequence { expected: u64, found: u64 },
    #[error("{what}: {found} where there can be at most {expected}")]
    Credit { what: &'static str, expected: u64, found: u64 },
    #[error("{what}: {found} after {expected}")]
    Backwards { what: &'static str, expected: u64, found: u64 },
    #[error("{found} messages taken where only {expected} were handed")]
    Taken { expected: u64, found: u64 },
    #[error("message {found} could not be decoded, and only those below {expected} are settled")]
    Skipped { expected: u64, found: u64 },
    #[error("resumed at frame {found}, which is not from {} to {}", expected.0, expected.1)]
    Resume { expected: (u64, u64), found: u64 },
    #[error("a part of a large message that does not fit: {0}")]
    Part(&'static str),
    #[error("data after the end of the lane")]
    Finished,
    #[error(
        "{found} messages that cannot be decoded and are not confirmed: expected at most {expected}"
    )]
    Unconfirmed { expected: u64, found: u64 },
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl LaneFault {
    pub(crate) fn breach(&self) -> Breach {
        match self {
            Self::Frame { .. } | Self::Sequence { .. } => Breach::Order,
            Self::Credit { .. } | Self::Backwards { .. } => Breach::Credit,
            Self::Taken { .. } | Self::Skipped { .. } | Self::Resume { .. } => Breach::Future,
            Self::Part(_) => Breach::Part,
            Self::Finished => Breach::Untimely,
            Self::Unconfirmed { .. } => Breach::Unconfirmed,
            Self::Wire(error) => error.breach(),
        }
    }
}

impl Inbound {
    /// The lane begins or goes on in a connection. `settled` is what the sender knows to be settled.
    /// Returns whether it does: a connection that is not newer than the last is none to go on in, and
    /// its `Attach` needs no answer.
    pub(crate) fn attach(&mut self, epoch: Epoch, settled: u64) -> bool {
        if epoch <= self.newest {
            return false;
        }
        self.cut();
        (self.epoch, self.newest) = (epoch, epoch);
        self.finished = false;
        self.confirm(settled);
        true
    }

    /// Its connection is gone: what still comes from it is dropped. So is what has come of a large
    /// message: the lane goes on at its first part. If it were kept, lanes that are cut off would hold
    /// room that nobody can free, and two of them could wait for each other's.
    pub(crate) fn cut(&mut self) {
        self.epoch = 0;
        if let Some(partial) = self.partial.take() {
            self.next_frame = partial.first_frame;
        }
    }

    /// The connection that the lane is in, or 0.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether the lane is in this connection: if not, what it says there does not count.
    pub(crate) fn is_attached(&self, epoch: Epoch) -> bool {
        epoch != 0 && epoch == self.epoch
    }

    /// The first frame that has not come in.
    pub(crate) fn next_frame(&self) -> u64 {
        self.next_frame
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    #[cfg(test)]
    pub(crate) fn received(&self) -> u64 {
        self.next_seq
    }

    pub(crate) fn skipped(&self) -> Vec<u64> {
        self.skipped.iter().copied().collect()
    }

    /// How many messages could not be decoded and the sender has not confirmed.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.skipped.len() as u64
    }

    /// Whether the sender has said that nothing more comes.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether everything that has come is settled.
    pub(crate) fn is_drained(&self) -> bool {
        self.taken == self.next_seq
    }

    /// The sender says that nothing more comes.
    pub(crate) fn finish(&mut self, epoch: Epoch) {
        if epoch == self.epoch {
            self.finished = true;
            self.partial = None;
        }
    }

    /// The lane is over: what is here is all that will come.
    pub(crate) fn abandon(&mut self) {
        self.epoch = 0;
        self.finished = true;
        self.partial = None;
    }

    /// Some messages. `None` if they are of another connection. Returns their bytes too.
    pub(crate) fn data(
        &mut self,
        epoch: Epoch,
        header: &DataHeader,
        records: Records,
    ) -> Result<Option<(Delivery, u64)>, LaneFault> {
        if epoch != self.epoch {
            return Ok(None);
        }
        if self.partial.is_some() {
            return Err(LaneFault::Part("other messages in the midst of it"));
        }
        let bytes = records.check(header.count)?;
        self.advance(header)?;
        let message = Message::Records(records);
        Ok(Some((Delivery { count: header.count, message }, bytes)))
    }

    /// A part of a large message, which may complete it. `None` if it is of another connection.
    pub(crate) fn chunk(
        &mut self,
        epoch: Epoch,
        header: &DataHeader,
        chunk: Chunk,
        max: u64,
    ) -> Result<Option<Option<Delivery>>, LaneFault> {
        if epoch != self.epoch {
            return Ok(None);
        }
        self.check_part(header, &chunk, max)?;
        self.advance(header)?;
        let Chunk { last, flags, total, body, .. } = chunk;
        let first_frame = header.frame_no;
        let partial = self.partial.get_or_insert_with(|| Partial {
            first_frame,
            pieces: Vec::new(),
            len: 0,
            total,
            flags,
        });
        partial.len += body.len() as u64;
        partial.pieces.push(body);
        if !last {
            return Ok(Some(None));
        }
        let Partial { pieces, flags, .. } = match self.partial.take() {
            Some(partial) => partial,
            None => return Err(LaneFault::Part("nothing of it is here")),
        };
        Ok(Some(Some(Delivery { count: 1, message: Message::Large { flags, pieces } })))
    }

    fn check_part(&self, header: &DataHeader, chunk: &Chunk, max: u64) -> Result<(), LaneFault> {
        let (len, total) = (chunk.body.len() as u64, chunk.total);
        let before = match &self.partial {
            _ if total > max => {
                return Err(WireError::TooLarge { expected: max, found: total }.into());
            }
            Some(partial) if chunk.first || partial.total != total => {
                return Err(LaneFault::Part("another one has begun"));
            }
            None if !chunk.first => return Err(LaneFault::Part("its beginning is not here")),
            Some(partial) => partial.len,
            None => 0,
        };
        if header.count != u32::from(chunk.last) {
            return Err(LaneFault::Part("the count of messages"));
        }
        // All parts but the last are full, so that a message cannot come as endless crumbs.
        let expected = (total - before).min(CHUNK as u64);
        if len != expected || chunk.last != (before + len == total) {
            return Err(LaneFault::Part("its length"));
        }
        Ok(())
    }

    fn advance(&mut self, header: &DataHeader) -> Result<(), LaneFault> {
        if self.finished {
            return Err(LaneFault::Finished);
        }
        if header.frame_no != self.next_frame {
            return Err(LaneFault::Frame { expected: self.next_frame, found: header.frame_no });
        }
        if header.first_seq != self.next_seq {
            return Err(LaneFault::Sequence { expected: self.next_seq, found: header.first_seq });
        }
        self.confirm(header.settled);
        self.next_frame += 1;
        self.next_seq += u64::from(header.count);
        Ok(())
    }

    /// The sender knows everything below `settled`: no need to tell it again what was skipped there.
    fn confirm(&mut self, settled: u64) {
        while self.skipped.front().is_some_and(|seq| *seq < settled) {
            self.skipped.pop_front();
        }
    }

    /// The application took the next `count` messages.
    pub(crate) fn take(&mut self, count: u64) {
        self.taken += count;
        debug_assert!(self.taken <= self.next_seq);
    }

    /// The next message could not be decoded: it is settled, but not taken.
    #[cfg(test)]
    pub(crate) fn skip(&mut self) {
        self.note_skipped();
        self.take(1);
    }

    /// The next message that is settled could not be decoded.
    pub(crate) fn note_skipped(&mut self) {
        self.skipped.push_back(self.taken);
    }

    /// Messages came without a network.
    pub(crate) fn receive_local(&mut self, count: u64) {
        self.next_seq += count;
    }

    /// Whether it has a connection.
    pub(crate) fn has_connection(&self) -> bool {
        self.epoch != 0
    }
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
