//! Messages of gRPC as they are on the wire: five bytes in front, then `Frames` of `proto/dchan.proto`
//! as protobuf writes it.
//!
//! By hand, as payloads are not to be copied: on the way out they stay the pieces that lanes keep until
//! the peer has confirmed them, and on the way in they are parts of what HTTP/2 has received.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use dchan_core::{Frame, FrameBatch, LaneId};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint,
    encoded_len_varint, skip_field,
};

use crate::{http2::MAX_FRAME_SIZE, rope::Rope};

/// The largest message, in bytes.
const MAX_BYTES: usize = 512 * 1024;
/// The most frames in a message: empty ones take room in memory, though hardly any on the wire.
pub(crate) const MAX_FRAMES: usize = 4096;
/// What is in front of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// The most bytes of a message that has several frames, so that it is one piece of HTTP/2.
const ENOUGH: usize = MAX_FRAME_SIZE as usize - PREFIX;
/// A payload of fewer bytes than this is copied: pieces cost more.
const SMALL: usize = 1024;

/// What the peer sent is no message.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(String);

/// Takes frames off the front of the batch: a message. At least one, if there is one.
pub(crate) fn encode(batch: &mut FrameBatch) -> Rope {
    let (mut count, mut len, mut copied) = (0, 0, PREFIX);
    for frame in batch.iter().take(MAX_FRAMES) {
        let inside = len_of(frame);
        let field = 1 + encoded_len_varint(inside as u64) + inside;
        if count > 0 && len + field > ENOUGH {
            break;
        }
        (count, len) = (count + 1, len + field);
        let payload = frame.payload.len();
        copied += if payload < SMALL { field } else { field - payload };
    }
    let mut message = Rope::default();
    // One piece of memory for all that stands between payloads.
    let mut head = BytesMut::with_capacity(copied);
    head.put_u8(0);
    head.put_u32(u32::try_from(len).expect("frames are of limited size"));
    for frame in (0..count).map_while(|_| batch.pop()) {
        put_head(&frame, &mut head);
        if frame.payload.len() < SMALL {
            head.put_slice(&frame.payload);
        } else {
            message.push(head.split().freeze());
            message.push(frame.payload);
        }
    }
    message.push(head.freeze());
    message
}

fn len_of(frame: &Frame) -> usize {
    let payload = frame.payload.len();
    let lane = if frame.lane.0 == 0 { 0 } else { 1 + encoded_len_varint(frame.lane.0) };
    let bytes = if payload == 0 { 0 } else { 1 + encoded_len_varint(payload as u64) + payload };
    lane + bytes + if frame.last { 2 } else { 0 }
}

/// Writes all of a field `frames` but the payload, which comes behind it.
fn put_head(frame: &Frame, out: &mut impl BufMut) {
    encode_key(1, WireType::LengthDelimited, out);
    encode_varint(len_of(frame) as u64, out);
    if frame.lane.0 != 0 {
        encode_key(1, WireType::Varint, out);
        encode_varint(frame.lane.0, out);
    }
    if frame.last {
        encode_key(3, WireType::Varint, out);
        encode_varint(1, out);
    }
    if !frame.payload.is_empty() {
        encode_key(2, WireType::LengthDelimited, out);
        encode_varint(frame.payload.len() as u64, out);
    }
}

/// Puts messages together from what HTTP/2 brings.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    arrived: Rope,
    /// The length of the message whose beginning has arrived.
    expected: Option<usize>,
}

impl Decoder {
    /// More has arrived.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.arrived.push(piece);
    }

    /// Whether it is between two messages.
    pub(crate) fn is_empty(&self) -> bool {
        self.expected.is_none() && !self.arrived.has_remaining()
    }

    /// Takes the frames of the next message, if all of it is here.
    pub(crate) fn next(&mut self, frames: &mut FrameBatch) -> Result<bool, Malformed> {
        let len = match self.expected {
            Some(len) => len,
            None if self.arrived.remaining() < PREFIX => return Ok(false),
            None => *self.expected.insert(prefix(&mut self.arrived)?),
        };
        if self.arrived.remaining() < len {
            return Ok(false);
        }
        self.expected = None;
        if self.arrived.chunk().len() >= len {
            // In one piece, as a rule.
            message(&mut self.arrived.copy_to_bytes(len), frames)?;
        } else {
            message(&mut (&mut self.arrived).take(len), frames)?;
        }
        Ok(true)
    }
}

/// Reads what is in front of a message.
fn prefix(from: &mut impl Buf) -> Result<usize, Malformed> {
    let mut prefix = [0; PREFIX];
    from.copy_to_slice(&mut prefix);
    let [compressed, len @ ..] = prefix;
    let len = u32::from_be_bytes(len) as usize;
    if compressed != 0 {
        return Err(malformed("a message is compressed, though none may be"));
    }
    if len > MAX_BYTES {
        return Err(Malformed(format!("a message of {len} bytes: expected at most {MAX_BYTES}")));
    }
    Ok(len)
}

fn message(from: &mut impl Buf, frames: &mut FrameBatch) -> Result<(), Malformed> {
    let mut count = 0;
    while from.has_remaining() {
        match decode_key(from).map_err(malformed)? {
            (1, WireType::LengthDelimited) => {
                count += 1;
                if count > MAX_FRAMES {
                    return Err(malformed("too many frames in a message"));
                }
                let len = field_len(from, 0)?;
                frames.push(frame(from, len)?);
            }
            (tag, wire) => skip(wire, tag, from)?,
        }
    }
    Ok(())
}

/// A frame of so many bytes.
fn frame(from: &mut impl Buf, len: usize) -> Result<Frame, Malformed> {
    let mut frame = Frame::new(LaneId(0), Bytes::new());
    let behind = from.remaining() - len;
    while from.remaining() > behind {
        match decode_key(from).map_err(malformed)? {
            (1, WireType::Varint) => {
                frame.lane = LaneId(decode_varint(from).map_err(malformed)?);
            }
            (2, WireType::LengthDelimited) => {
                let len = field_len(from, behind)?;
                frame.payload = from.copy_to_bytes(len);
            }
            (3, WireType::Varint) => frame.last = decode_varint(from).map_err(malformed)? != 0,
            (tag, wire) => skip(wire, tag, from)?,
        }
    }
    if from.remaining() < behind {
        return Err(malformed("a field is longer than its message"));
    }
    if frame.payload.len() > Frame::MAX {
        return Err(malformed("a frame is too long"));
    }
    Ok(frame)
}

/// The length of a field that is all here, with so many bytes behind it at least.
fn field_len(from: &mut impl Buf, behind: usize) -> Result<usize, Malformed> {
    let len = decode_varint(from).map_err(malformed)?;
    let most = from.remaining().saturating_sub(behind);
    match usize::try_from(len) {
        Ok(len) if len <= most => Ok(len),
        _ => Err(malformed("a field is longer than its message")),
    }
}

/// A field of a later version of the protocol.
fn skip(wire: WireType, tag: u32, from: &mut impl Buf) -> Result<(), Malformed> {
    skip_field(wire, tag, from, DecodeContext::default()).map_err(malformed)
}

fn malformed(why: impl ToString) -> Malformed {
    Malformed(why.to_string())
}
