//! Where the bytes of blocks lie.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::Frame;

/// Buffers start this small, so that ten thousand quiet lanes cost little.
const MIN: usize = 1024;
/// They double up to this size, that of the largest frame, as blocks outgrow them: so a busy lane rarely moves
/// what it has encoded.
pub(super) const MAX: usize = Frame::MAX;
/// So many are used again, as many of the largest as a receiver has room for by default. Memory that went back
/// to the system would have to be had again, page by page.
const KEPT: usize = 64;
/// Behind small messages, as much more is made ready as they have filled, up to this: so they need not ask each time.
/// Not all there is: a quiet lane must not touch memory that it does not use.
const STEP: usize = 256;

/// A buffer that blocks are cut from, one behind another, and those that it had before.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
#[repr(C)]
pub(super) struct Arena {
    // First: see `OutLane`.
    /// The open block, and room behind it for more messages and for the next blocks.
    buf: BytesMut,
    /// How large that was when nothing had been cut from it.
    whole: usize,
    /// How large buffers are now. 0 before there is one.
    size: usize,
    /// Ends of buffers whose blocks are not all settled, oldest first.
    spent: VecDeque<BytesMut>,
    /// Buffers whose blocks are.
    free: Vec<BytesMut>,
    /// How often memory was asked for.
    #[cfg(test)]
    pub(super) made: usize,
}

impl Arena {
    /// What is ready to be written to. Its first bytes are the open block.
    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.buf
    }

    /// How much that is.
    #[inline]
    pub(super) fn ready(&self) -> usize {
        self.buf.len()
    }

    /// Makes at least so many bytes ready, of which the first are to be kept.
    #[cold]
    pub(super) fn ready_for(&mut self, needed: usize, keep: usize) {
        self.have(needed, keep);
        self.ready_up_to(needed + keep.min(STEP));
    }

    /// Puts bytes that need more room than is ready behind the first ones, which are kept. `next`: so much more is
    /// needed soon.
    pub(super) fn put(&mut self, keep: usize, bytes: &[u8], next: usize) {
        let needed = keep + bytes.len();
        if bytes.len() < STEP {
            self.ready_for(needed, keep);
            self.buf[keep..needed].copy_from_slice(bytes);
        } else {
            self.have(needed, keep);
            // What is made ready is written to twice: nothing of this, and little behind it.
            self.buf.truncate(keep);
            self.buf.extend_from_slice(bytes);
            self.ready_up_to(needed + next);
        }
    }

    fn ready_up_to(&mut self, end: usize) {
        let ready = end.min(self.buf.capacity());
        if self.buf.len() < ready {
            self.buf.resize(ready, 0);
        }
    }

    /// Cuts off the open block.
    pub(super) fn cut(&mut self, end: usize) -> BytesMut {
        let block = self.buf.split_to(end);
        if self.buf.capacity() < end {
            // One like it would have to be moved.
            self.change(BytesMut::new());
        }
        block
    }

    /// A buffer of the largest size, for a block of its own. It is to be [`part_with`](Self::part_with)ed.
    pub(super) fn largest(&mut self) -> BytesMut {
        while self.size < MAX {
            self.enlarge();
        }
        self.another(MAX)
    }

    /// What has been filled of a [`largest`](Self::largest) buffer.
    pub(super) fn part_with(&mut self, mut buf: BytesMut) -> BytesMut {
        let block = buf.split();
        self.spend(buf);
        block
    }

    /// Blocks were settled: buffers of which nothing else is in use are used again.
    pub(super) fn recycle(&mut self) {
        while let Some(mut oldest) = self.spent.pop_front() {
            if !oldest.try_reclaim(self.size) {
                self.spent.push_front(oldest);
                return;
            }
            self.free.push(oldest);
        }
    }

    /// Whether it holds more than a quiet lane needs.
    pub(super) fn is_large(&self) -> bool {
        self.size > MIN || !self.spent.is_empty() || !self.free.is_empty()
    }

    /// Gives everything back. Nothing is in it.
    pub(super) fn release(&mut self) {
        *self = Self::default();
    }

    /// Sees to it that so many bytes fit into the buffer, of which the first are to be kept.
    fn have(&mut self, needed: usize, keep: usize) {
        if self.buf.capacity() >= needed {
            return;
        }
        self.buf.truncate(keep);
        self.size = self.size.max(MIN);
        // That it began in what a block had left says nothing about the size.
        if keep > 0 && needed > self.size {
            self.enlarge();
        }
        let size = self.size.max(needed);
        if self.buf.try_reclaim(size - keep) {
            return;
        }
        let mut next = self.another(size);
        next.extend_from_slice(&self.buf);
        self.change(next);
    }

    fn change(&mut self, next: BytesMut) {
        let whole = std::mem::replace(&mut self.whole, next.capacity());
        let end = std::mem::replace(&mut self.buf, next);
        if whole >= self.size {
            self.spend(end);
        }
    }

    fn another(&mut self, size: usize) -> BytesMut {
        if let Some(free) = self.free.pop_if(|buf| buf.capacity() >= size) {
            return free;
        }
        #[cfg(test)]
        {
            self.made += 1;
        }
        BytesMut::with_capacity(size)
    }

    /// What is left of a buffer, the rest of which is in use.
    fn spend(&mut self, mut end: BytesMut) {
        end.clear();
        if self.spent.len() + self.free.len() < KEPT {
            self.spent.push_back(end);
        }
    }

    /// Blocks have become larger than buffers. Those of the old size are of no use any more.
    #[cold]
    fn enlarge(&mut self) {
        self.size = (self.size * 2).clamp(MIN, MAX);
        self.spent.clear();
        self.free.clear();
    }
}

#[cfg(test)]
impl Arena {
    /// How many buffers there are besides the one in use.
    pub(super) fn kept(&self) -> usize {
        self.spent.len() + self.free.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// The first bytes.
    pub(super) fn open(&self, end: usize) -> &[u8] {
        &self.buf[..end]
    }
}
