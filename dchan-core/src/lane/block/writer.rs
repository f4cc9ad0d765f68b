//! From a value to the bytes of a block.

use super::{Arena, Block, Part, Pending};
use crate::{
    Frame,
    lane::Amount,
    wire::{CHUNK, Chunk, Flags, HEADER, RECORD_HEADER, put_record_header},
};

/// Room that a message finds at least, so that a small one need not ask for more.
const ROOM: usize = 64;

/// Takes the encoding of one message. What it writes counts once it is finished: dropped before, on an
/// error or a panic of the user's `Serialize`, it leaves no trace.
#[derive(Debug)]
pub(crate) struct RecordWriter<'a> {
    pending: &'a mut Pending,
    /// Where the record begins in the arena.
    start: usize,
    /// Where its next byte goes.
    at: usize,
    /// How far it may go in the arena as it is. 0 once the message has turned out to be large.
    end: usize,
    /// The blocks of a large message.
    spilled: Vec<Block>,
    /// How many bytes do not stand in the arena.
    beyond: u64,
    max: u64,
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
        let start = if pending.filled == 0 { HEADER } else { pending.filled };
        let at = start + RECORD_HEADER;
        if pending.arena.ready() < at + ROOM {
            pending.arena.ready_for(at + ROOM, pending.filled);
        }
        let end = pending.arena.ready().min(at + CHUNK);
        Self { pending, start, at, end, spilled: Vec::new(), beyond: 0, max }
    }

    /// The bytes of the message so far.
    fn len(&self) -> u64 {
        (self.at - self.start - RECORD_HEADER) as u64 + self.beyond
    }

    /// Appends bytes of the message.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let to = self.at + bytes.len();
        if to > self.end {
            return self.write_more(bytes);
        }
        put(&mut self.pending.arena.room()[self.at..to], bytes);
        self.at = to;
    }

    #[inline(never)]
    fn write_more(&mut self, bytes: &[u8]) {
        let len = self.len() + bytes.len() as u64;
        if self.beyond == 0 && len <= CHUNK as u64 {
            self.pending.arena.put(self.at, bytes, RECORD_HEADER + ROOM);
            self.at += bytes.len();
            self.end = self.pending.arena.ready().min(self.start + RECORD_HEADER + CHUNK);
            return;
        }
        // Above the limit the bytes are only counted, so that the error can name the size.
        if len <= self.max {
            self.spill(bytes);
        }
        self.beyond += bytes.len() as u64;
        self.end = 0;
    }

    fn spill(&mut self, bytes: &[u8]) {
        let arena = &mut self.pending.arena;
        if self.spilled.is_empty() {
            let mut first = part_block(arena);
            // It is a chunk at most.
            let so_far = &arena.room()[self.start + RECORD_HEADER..self.at];
            first.buf.extend_from_slice(so_far);
            first.bytes = so_far.len() as u64;
            self.spilled.push(first);
        }
        fill(&mut self.spilled, arena, bytes);
    }

    /// The message is complete. Not by value: that would copy what was only just written.
    #[inline]
    pub(super) fn finish(&mut self, flags: Flags) -> Result<u64, EncodeFault> {
        let len = self.len();
        if len > self.max {
            return Err(EncodeFault::TooLarge { len });
        }
        if self.beyond == 0 {
            put_record_header(&mut self.pending.arena.room()[self.start..], len as usize, flags);
            self.pending.filled = self.at;
            self.pending.open += Amount::new(1, len);
            // Full is a block that might not hold another message and still be a frame.
            if self.at + RECORD_HEADER + CHUNK > Frame::MAX {
                self.pending.seal();
            }
        } else {
            self.finish_large(flags, len);
        }
        self.pending.messages += 1;
        Ok(len)
    }

    fn finish_large(&mut self, flags: Flags, total: u64) {
        self.pending.seal();
        let parts = self.spilled.len();
        for (at, mut block) in std::mem::take(&mut self.spilled).into_iter().enumerate() {
            let (first, last) = (at == 0, at + 1 == parts);
            Chunk::put(&mut block.buf[HEADER..], first, last, flags, total);
            block.buf = self.pending.arena.part_with(block.buf);
            block.part = Some(Part { first, last, flags, total });
            block.count = u32::from(last);
            self.pending.blocks.push_back(block);
        }
    }
}

/// Copies bytes to a place of that size. A few, as those of a number, one by one: they were written one by one just
/// before, and a processor waits for that until it can read them as one.
#[inline]
fn put(to: &mut [u8], bytes: &[u8]) {
    match (to, bytes) {
        ([t], [a]) => *t = *a,
        ([t, u], [a, b]) => (*t, *u) = (*a, *b),
        ([t, u, v], [a, b, c]) => (*t, *u, *v) = (*a, *b, *c),
        ([t, u, v, w], [a, b, c, d]) => (*t, *u, *v, *w) = (*a, *b, *c, *d),
        ([t, u, v, w, x], [a, b, c, d, e]) => (*t, *u, *v, *w, *x) = (*a, *b, *c, *d, *e),
        (to, bytes) => to.copy_from_slice(bytes),
    }
}

/// Appends bytes to the parts of a large message.
fn fill(parts: &mut Vec<Block>, arena: &mut Arena, mut bytes: &[u8]) {
    while let (false, Some(block)) = (bytes.is_empty(), parts.last_mut()) {
        let room = CHUNK - block.bytes as usize;
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        block.buf.extend_from_slice(now);
        block.bytes += now.len() as u64;
        bytes = later;
        if !later.is_empty() {
            parts.push(part_block(arena));
        }
    }
}

fn part_block(arena: &mut Arena) -> Block {
    let mut buf = arena.largest();
    buf.extend_from_slice(&[0; HEADER + Chunk::FIELDS]);
    Block { buf, count: 0, bytes: 0, part: None }
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
