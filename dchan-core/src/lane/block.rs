//! Messages that are accepted and not handed yet, encoded in place into what will be frames.

mod arena;
mod writer;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use self::arena::Arena;
use super::Amount;
use crate::wire::{Chunk, DataHeader, Flags, HEADER, RECORD_HEADER, Records};

pub(crate) use writer::{EncodeFault, RecordWriter};

/// The body of a frame that has no stamp yet: some records, or one part of a large message.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
pub(super) struct Block {
    buf: BytesMut,
    pub(super) count: u32,
    pub(super) bytes: u64,
    pub(super) part: Option<Part>,
}

/// Which part of a large message a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(super) struct Part {
    pub(super) first: bool,
    pub(super) last: bool,
    pub(super) flags: Flags,
    pub(super) total: u64,
}

impl Block {
    /// Stamps it: from now on it is immutable.
    pub(super) fn stamp(mut self, header: &DataHeader) -> Stamped {
        header.put(&mut self.buf, self.part.is_some());
        Stamped {
            payload: self.buf.freeze(),
            first_seq: header.first_seq,
            count: self.count,
            bytes: self.bytes,
            part: self.part,
        }
    }

    /// The messages that end in it, and the bytes of messages in it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn amount(&self) -> Amount {
        Amount::new(u64::from(self.count), self.bytes)
    }

    /// Takes the longest head of at most so many messages and bytes. `None` if nothing fits.
    pub(super) fn split(&mut self, at_most: Amount) -> Option<Block> {
        let (mut at, mut count, mut bytes) = (HEADER, 0, 0);
        for record in self.records() {
            let len = record.body.len() as u64;
            if u64::from(count) == at_most.messages || bytes + len > at_most.bytes {
                break;
            }
            (at, count, bytes) = (at + RECORD_HEADER + record.body.len(), count + 1, bytes + len);
        }
        if count == 0 {
            return None;
        }
        let mut tail = BytesMut::with_capacity(HEADER + self.buf.len() - at);
        tail.extend_from_slice(&[0; HEADER]);
        tail.extend_from_slice(&self.buf[at..]);
        self.buf.truncate(at);
        let head = std::mem::replace(&mut self.buf, tail);
        (self.count, self.bytes) = (self.count - count, self.bytes - bytes);
        Some(Block { buf: head, count, bytes, part: None })
    }

    fn records(&self) -> Records {
        Records(Bytes::copy_from_slice(&self.buf[HEADER..]))
    }
}

/// A block that has been handed to a connection, kept until it is settled.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(Hash))]
pub(super) struct Stamped {
    pub(super) payload: Bytes,
    pub(super) first_seq: u64,
    pub(super) count: u32,
    pub(super) bytes: u64,
    pub(super) part: Option<Part>,
}

impl Stamped {
    /// Whether all of its messages are, when all below `seq` are settled.
    pub(super) fn is_settled_by(&self, seq: u64) -> bool {
        match self.part {
            Some(_) => self.first_seq < seq,
            None => self.first_seq + u64::from(self.count) <= seq,
        }
    }

    /// The messages that end in it, and the bytes of messages in it.
    pub(super) fn amount(&self) -> Amount {
        Amount::new(u64::from(self.count), self.bytes)
    }

    /// Its messages, if it is no part of a large one.
    pub(super) fn records(&self) -> Records {
        Records(self.payload.slice(HEADER..))
    }

    /// The part of the large message that it holds.
    pub(super) fn part_body(&self) -> Bytes {
        self.payload.slice(HEADER + Chunk::FIELDS..)
    }

    /// What has never arrived is as good as never handed.
    pub(super) fn unstamp(self) -> Block {
        let Stamped { payload, count, bytes, part, .. } = self;
        // Another block in the same buffer forces a copy, or a connection that is being torn down.
        let buf = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        Block { buf, count, bytes, part }
    }
}

/// Blocks that wait, oldest first. The last one is open: messages are encoded straight into it.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
#[repr(C)]
pub(super) struct Pending {
    // In this order: see `OutLane`.
    /// Where the open block ends. 0 if it holds no message.
    filled: usize,
    open: Amount,
    /// How many messages wait in all, those of the open block included.
    messages: u64,
    arena: Arena,
    blocks: VecDeque<Block>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.open.messages == 0
    }

    /// Whether the last message has filled its block, or was large.
    #[inline]
    pub(super) fn has_filled_block(&self) -> bool {
        self.open.messages == 0
    }

    #[cfg(test)]
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// What waits in all, counted anew.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn amount(&self) -> Amount {
        self.blocks.iter().fold(self.open, |sum, block| sum + block.amount())
    }

    /// Encodes a message behind all others: into the open block, or into blocks of its own if it is
    /// large. Returns the bytes of its body.
    #[inline]
    pub(super) fn append(
        &mut self,
        flags: Flags,
        max: u64,
        encode: impl FnOnce(&mut RecordWriter<'_>) -> postcard::Result<()>,
    ) -> Result<u64, EncodeFault> {
        let mut writer = RecordWriter::begin(self, max);
        encode(&mut writer).map_err(EncodeFault::Encode)?;
        writer.finish(flags)
    }

    /// The oldest block.
    pub(super) fn front(&mut self) -> Option<&mut Block> {
        if self.blocks.is_empty() {
            self.seal();
        }
        self.blocks.front_mut()
    }

    pub(super) fn pop_front(&mut self) -> Option<Block> {
        self.front()?;
        let block = self.blocks.pop_front()?;
        self.messages -= u64::from(block.count);
        Some(block)
    }

    /// Takes as much of the oldest block as fits.
    pub(super) fn split_front(&mut self, at_most: Amount) -> Option<Block> {
        let head = self.front()?.split(at_most)?;
        self.messages -= u64::from(head.count);
        Some(head)
    }

    /// Whether the rest of a large message that has begun is the oldest.
    pub(super) fn is_in_large(&self) -> bool {
        self.blocks.front().is_some_and(|block| block.part.is_some_and(|part| !part.first))
    }

    /// The bytes of the large message whose parts the oldest blocks are.
    pub(super) fn large_bytes(&self) -> u64 {
        let mut bytes = 0;
        for block in &self.blocks {
            let Some(part) = block.part else { break };
            bytes += block.bytes;
            if part.last {
                break;
            }
        }
        bytes
    }

    pub(super) fn push_front(&mut self, block: Block) {
        self.messages += u64::from(block.count);
        self.blocks.push_front(block);
    }

    pub(super) fn has_spare_room(&self) -> bool {
        self.is_empty() && self.arena.is_large()
    }

    /// Gives the spare room back: for a lane with nothing to do.
    pub(super) fn release(&mut self) {
        if self.has_spare_room() {
            self.arena.release();
        }
    }

    /// Blocks were settled: their buffers are used again if nobody else holds them still.
    pub(super) fn recycle(&mut self) {
        self.arena.recycle();
    }

    fn seal(&mut self) {
        if self.open.messages == 0 {
            return;
        }
        let (open, end) = (std::mem::take(&mut self.open), std::mem::take(&mut self.filled));
        let buf = self.arena.cut(end);
        let (count, bytes) = (open.messages as u32, open.bytes);
        self.blocks.push_back(Block { buf, count, bytes, part: None });
    }
}

/// For the tests that search through states: how much room there is to spare makes no difference.
#[cfg(test)]
impl std::hash::Hash for Pending {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.blocks, self.arena.open(self.filled), self.open, self.messages).hash(state);
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
