use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

/// Bytes in several pieces, none of which is copied to put them together.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    /// The first piece. Most have no other.
    front: Bytes,
    rest: VecDeque<Bytes>,
    len: usize,
}

impl Rope {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.len += piece.len();
        if self.front.is_empty() {
            self.front = piece;
        } else {
            self.rest.push_back(piece);
        }
    }

    #[cfg(test)]
    pub(crate) fn whole(mut self) -> Bytes {
        self.copy_to_bytes(self.len)
    }

    /// Goes on to the next piece, if the first one is used up.
    fn next_piece(&mut self) {
        if self.front.is_empty() {
            self.front = self.rest.pop_front().unwrap_or_default();
        }
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        &self.front
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let pieces =
            std::iter::once(&self.front).chain(&self.rest).filter(|piece| !piece.is_empty());
        out.iter_mut().zip(pieces).map(|(slot, piece)| *slot = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "{count} bytes of {}", self.len);
        self.len -= count;
        while count > 0 {
            let here = count.min(self.front.len());
            self.front.advance(here);
            count -= here;
            self.next_piece();
        }
    }

    /// Without copying, if they are in one piece.
    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        if count <= self.front.len() {
            self.len -= count;
            let bytes = self.front.split_to(count);
            self.next_piece();
            return bytes;
        }
        let mut bytes = bytes::BytesMut::with_capacity(count);
        bytes::BufMut::put(&mut bytes, self.take(count));
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rope_is_its_pieces_in_order() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..500 {
            let (mut rope, mut flat) = (Rope::default(), Vec::new());
            for _ in 0..rng.usize(..20) {
                let piece: Vec<u8> = (0..rng.usize(..9)).map(|_| rng.u8(..)).collect();
                flat.extend(&piece);
                rope.push(piece.into());
                let taken = rng.usize(..=flat.len());
                match rng.u8(..3) {
                    0 => rope.advance(taken),
                    1 => assert_eq!(rope.copy_to_bytes(taken), flat[..taken]),
                    _ => continue,
                }
                flat.drain(..taken);
            }
            assert_eq!(rope.remaining(), flat.len());
            let mut slices = [IoSlice::new(&[]); 32];
            let count = rope.chunks_vectored(&mut slices);
            let pieces: Vec<&[u8]> = slices[..count].iter().map(|slice| &**slice).collect();
            assert_eq!(pieces.concat(), flat);
            assert_eq!(rope.copy_to_bytes(flat.len()), flat);
        }
    }

    #[test]
    fn one_piece_is_not_copied() {
        let piece = Bytes::from(vec![1; 100]);
        let mut rope = Rope::default();
        rope.push(Bytes::from_static(b"head"));
        rope.push(piece.clone());
        rope.advance(4);
        assert_eq!(rope.copy_to_bytes(100).as_ptr(), piece.as_ptr());
    }
}
