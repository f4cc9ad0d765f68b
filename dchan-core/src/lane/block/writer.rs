//! From a value to the bytes of a block.

use bytes::{BufMut, BytesMut};

use super::{ARENA_MAX, Block, Part, Pending};
use crate::{
    Frame,
    lane::Amount,
    wire::{CHUNK, Chunk, Flags, HEADER, RECORD_HEADER, put_record_header},
};

/// Up to so many bytes, as those of a number, are written one by one: they were written one by one just
/// before, and a processor waits for that until it can read them as one.
const FEW: usize = 5;

/// Takes the encoding of one message. Dropped before it is finished, on an error or a panic of the
/// user's `Serialize`, it leaves no trace.
#[derive(Debug)]
pub(crate) struct RecordWriter<'a> {
    pending: &'a mut Pending,
    /// Where the record begins in the open block.
    start: usize,
    /// The blocks of a message that turned out to be large.
    spilled: Vec<Block>,
    len: u64,
    /// How long the message may grow in the open block as it is.
    room: u64,
    max: u64,
    finished: bool,
}

/// Why a message could not be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EncodeFault {
    Encode(postcard::Error),
    /// It has so many bytes, and that is above the limit.
    TooLarge {
        len: u64,
    },
}

impl<'a> RecordWriter<'a> {
    #[inline]
    pub(super) fn begin(pending: &'a mut Pending, max: u64) -> Self {
        if pending.open.messages == 0 {
            pending.reserve(HEADER + RECORD_HEADER + 64);
            pending.arena.extend_from_slice(&[0; HEADER]);
        }
        let start = pending.arena.len();
        pending.arena.extend_from_slice(&[0; RECORD_HEADER]);
        let mut writer =
            Self { pending, start, spilled: Vec::new(), len: 0, room: 0, max, finished: false };
        writer.measure_room();
        writer
    }

    fn measure_room(&mut self) {
        let room = self.pending.arena.capacity() - self.start - RECORD_HEADER;
        self.room = room.min(CHUNK) as u64;
    }

    /// Appends bytes of the message.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if self.len > self.room {
            self.write_more(bytes);
        } else if bytes.len() <= FEW {
            bytes.iter().for_each(|byte| self.pending.arena.put_u8(*byte));
        } else {
            self.pending.arena.extend_from_slice(bytes);
        }
    }

    #[inline(never)]
    fn write_more(&mut self, bytes: &[u8]) {
        if self.spilled.is_empty() && self.len <= CHUNK as u64 {
            self.pending.reserve(bytes.len());
            self.pending.arena.extend_from_slice(bytes);
            self.measure_room();
        } else if self.len <= self.max {
            self.spill(bytes);
            self.room = 0;
        }
        // Above the limit the bytes are only counted, so that the error can name the size.
    }

    #[cold]
    fn spill(&mut self, mut bytes: &[u8]) {
        if self.spilled.is_empty() {
            let start = self.start + RECORD_HEADER;
            let so_far = self.pending.arena.split_off(start);
            let first = self.part_block();
            self.spilled.push(first);
            self.fill(&mut &so_far[..]);
        }
        self.fill(&mut bytes);
    }

    fn fill(&mut self, bytes: &mut &[u8]) {
        while let (false, Some(block)) = (bytes.is_empty(), self.spilled.last_mut()) {
            let room = CHUNK - block.bytes as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            block.buf.extend_from_slice(now);
            block.bytes += now.len() as u64;
            *bytes = later;
            if !later.is_empty() {
                let next = self.part_block();
                self.spilled.push(next);
            }
        }
    }

    fn part_block(&mut self) -> Block {
        let spare = self.pending.spare.pop();
        let mut buf = spare.unwrap_or_else(|| BytesMut::with_capacity(ARENA_MAX));
        buf.extend_from_slice(&[0; HEADER + Chunk::FIELDS]);
        Block { buf, count: 0, bytes: 0, part: None }
    }

    /// The message is complete. Not by value: that would copy what was only just written.
    #[inline]
    pub(super) fn finish(&mut self, flags: Flags) -> Result<u64, EncodeFault> {
        if self.len > self.max {
            return Err(EncodeFault::TooLarge { len: self.len });
        }
        if self.spilled.is_empty() {
            let len = self.len as usize;
            put_record_header(&mut self.pending.arena[self.start..], len, flags);
            self.pending.open += Amount::new(1, self.len);
            // Full is a block that might not hold another message and still be a frame.
            if self.pending.arena.len() + RECORD_HEADER + CHUNK > Frame::MAX {
                self.pending.seal();
            }
        } else {
            self.finish_large(flags);
        }
        self.pending.messages += 1;
        self.finished = true;
        Ok(self.len)
    }

    fn finish_large(&mut self, flags: Flags) {
        self.undo();
        self.pending.seal();
        let parts = self.spilled.len();
        for (at, mut block) in std::mem::take(&mut self.spilled).into_iter().enumerate() {
            let (first, last) = (at == 0, at + 1 == parts);
            Chunk::put(&mut block.buf[HEADER..], first, last, flags, self.len);
            block.part = Some(Part { first, last, flags, total: self.len });
            block.count = u32::from(last);
            self.pending.blocks.push_back(block);
        }
    }

    /// Takes the record's beginning out of the open block, and the block's own if it was the first.
    fn undo(&mut self) {
        let keep = if self.pending.open.messages == 0 { 0 } else { self.start };
        self.pending.arena.truncate(keep);
    }
}

impl Drop for RecordWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.undo();
        }
    }
}

impl postcard::ser_flavors::Flavor for &mut RecordWriter<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.write(&[byte]);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.write(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
