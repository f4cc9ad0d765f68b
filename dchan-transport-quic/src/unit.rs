//! What is on a stream: units, one behind the other.
//!
//! A unit is a kind (1 byte), a length (3 bytes, big-endian), a number (8 bytes, big-endian) and as many
//! bytes as its length says.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use dchan_core::{Frame, LaneId};

/// The bytes before a payload.
const HEADER: usize = 12;
/// Payloads up to here are copied behind their header instead of being sent from where they are.
const SMALL: usize = 4 * 1024;

const FRAME: u8 = 0;
const LAST_FRAME: u8 = 1;
const READY: u8 = 2;
const END: u8 = 3;

/// A unit that has come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A frame: the number is its lane.
    Frame(Frame),
    /// The first unit of a direction's first stream: its sender has let the other side in.
    Ready,
    /// The last unit of a direction's first stream: the number says how many streams the direction has
    /// had, this one included. All of them come to their end.
    End(u64),
}

/// What a peer sent is no unit, or not in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// The bytes of [`Unit::Ready`].
pub(crate) fn ready() -> Bytes {
    header(READY, 0, 0, 0).freeze()
}

/// The bytes of [`Unit::End`].
pub(crate) fn end(streams: u64) -> Bytes {
    header(END, 0, streams, 0).freeze()
}

/// The bytes of a frame of at most [`Frame::MAX`], in one piece or two.
pub(crate) fn pieces(frame: Frame) -> (Bytes, Option<Bytes>) {
    let Frame { lane, payload, last } = frame;
    let kind = if last { LAST_FRAME } else { FRAME };
    if payload.len() > SMALL {
        return (header(kind, payload.len(), lane.0, 0).freeze(), Some(payload));
    }
    let mut all = header(kind, payload.len(), lane.0, payload.len());
    all.put_slice(&payload);
    (all.freeze(), None)
}

fn header(kind: u8, len: usize, number: u64, room: usize) -> BytesMut {
    let mut header = BytesMut::with_capacity(HEADER + room);
    header.put_u8(kind);
    header.put_uint(len as u64, 3);
    header.put_u64(number);
    header
}

/// Takes units out of the bytes of one stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Adds what has been read. What a peer only announces sets nothing aside.
    pub(crate) fn push(&mut self, read: &[u8]) {
        self.buffer.extend_from_slice(read);
    }

    /// Nothing more is here for now: gives back what is not in use.
    pub(crate) fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// How many bytes wait for the rest of their unit.
    pub(crate) fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// The next unit, if it is here as a whole.
    pub(crate) fn next(&mut self) -> Result<Option<Unit>, Malformed> {
        let Some((mut header, rest)) = self.buffer.split_at_checked(HEADER) else {
            return Ok(None);
        };
        let (kind, len) = (header.get_u8(), header.get_uint(3) as usize);
        let number = header.get_u64();
        match kind {
            FRAME | LAST_FRAME if len > Frame::MAX => return Err(Malformed("a frame is too long")),
            FRAME | LAST_FRAME => {}
            READY | END if len == 0 => {}
            READY | END => return Err(Malformed("a payload where there is none")),
            _ => return Err(Malformed("an unknown kind of unit")),
        }
        if rest.len() < len {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let payload = self.buffer.split_to(len).freeze();
        Ok(Some(match kind {
            READY => Unit::Ready,
            END => Unit::End(number),
            _ => Unit::Frame(Frame { lane: LaneId(number), payload, last: kind == LAST_FRAME }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder) -> Vec<Unit> {
        std::iter::from_fn(|| decoder.next().unwrap()).collect()
    }

    #[test]
    fn units_come_out_as_they_went_in_wherever_they_are_split() {
        let frame = |lane, len, last| Frame {
            last,
            ..Frame::new(LaneId(lane), vec![len as u8; len].into())
        };
        let frames = [frame(0, 0, false), frame(u64::MAX, 1, true), frame(16, SMALL + 1, false)];
        let mut bytes = BytesMut::from(&ready()[..]);
        for frame in frames.clone() {
            let (first, second) = pieces(frame);
            bytes.put(first);
            second.into_iter().for_each(|second| bytes.put(second));
        }
        bytes.put(end(7));
        let mut expected = vec![Unit::Ready];
        expected.extend(frames.into_iter().map(Unit::Frame));
        expected.push(Unit::End(7));
        for at in 0..bytes.len() {
            let mut decoder = Decoder::default();
            decoder.push(&bytes[..at]);
            let mut units = all(&mut decoder);
            decoder.push(&bytes[at..]);
            units.extend(all(&mut decoder));
            assert_eq!((units, decoder.waiting()), (expected.clone(), 0), "split at {at}");
        }
    }

    #[test]
    fn what_is_no_unit_is_refused_before_it_has_come() {
        let too_long = (Frame::MAX + 1) as u32;
        for (kind, len) in [(0, too_long), (1, 0xff_ffff), (2, 1), (3, 1), (4, 0), (255, 0)] {
            let mut decoder = Decoder::default();
            decoder.push(&header(kind, len as usize, 16, 0));
            assert!(decoder.next().is_err(), "kind {kind}, length {len}");
        }
    }
}
