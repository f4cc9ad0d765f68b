use bytes::{Buf, BufMut, Bytes};
use dchan_core::{Frame, LaneId};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint,
    encoded_len_varint, skip_field,
};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// The message `Frames` of `proto/dchan.proto`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Frames(pub(crate) Vec<Frame>);

impl Frames {
    /// The largest message, in bytes.
    pub(crate) const MAX_BYTES: usize = 512 * 1024;
    /// The most frames in a message: empty ones take room in memory, though hardly any on the wire.
    pub(crate) const MAX_FRAMES: usize = 4096;
}

/// Writes and reads [`Frames`] as protobuf does.
///
/// By hand, as the generated code has a type of its own for frames, and as payloads are to be copied
/// once a side at most: into the buffer that is sent, and out of what HTTP/2 received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FramesCodec;

impl Codec for FramesCodec {
    type Encode = Frames;
    type Decode = Frames;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for FramesCodec {
    type Item = Frames;
    type Error = Status;

    fn encode(&mut self, frames: Frames, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let len = frames.0.iter().map(|frame| FIELD_MAX + len_of(frame)).sum();
        out.reserve(len);
        frames.0.iter().for_each(|frame| put(frame, out));
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        // A message goes as soon as it is written: it is a batch already.
        BufferSettings::new(8 * 1024, 1)
    }
}

impl Decoder for FramesCodec {
    type Item = Frames;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Frames>, Status> {
        decode(from.copy_to_bytes(from.remaining())).map(Some)
    }
}

/// The key and the length of a field have at most so many bytes here.
const FIELD_MAX: usize = 5;

fn len_of(frame: &Frame) -> usize {
    let payload = frame.payload.len();
    let lane = if frame.lane.0 == 0 { 0 } else { 1 + encoded_len_varint(frame.lane.0) };
    let bytes = if payload == 0 { 0 } else { 1 + encoded_len_varint(payload as u64) + payload };
    lane + bytes + if frame.last { 2 } else { 0 }
}

/// Writes a frame as a field of its message.
pub(crate) fn put(frame: &Frame, out: &mut impl BufMut) {
    encode_key(1, WireType::LengthDelimited, out);
    encode_varint(len_of(frame) as u64, out);
    if frame.lane.0 != 0 {
        encode_key(1, WireType::Varint, out);
        encode_varint(frame.lane.0, out);
    }
    if !frame.payload.is_empty() {
        encode_key(2, WireType::LengthDelimited, out);
        encode_varint(frame.payload.len() as u64, out);
        out.put_slice(&frame.payload);
    }
    if frame.last {
        encode_key(3, WireType::Varint, out);
        encode_varint(1, out);
    }
}

/// Reads a message.
pub(crate) fn decode(mut message: Bytes) -> Result<Frames, Status> {
    let mut frames = Vec::new();
    while message.has_remaining() {
        match decode_key(&mut message).map_err(malformed)? {
            (1, WireType::LengthDelimited) => {
                if frames.len() == Frames::MAX_FRAMES {
                    return Err(malformed("too many frames in a message"));
                }
                frames.push(frame(split(&mut message)?)?);
            }
            (tag, wire) => skip(wire, tag, &mut message)?,
        }
    }
    Ok(Frames(frames))
}

fn frame(mut from: Bytes) -> Result<Frame, Status> {
    let mut frame = Frame::new(LaneId(0), Bytes::new());
    while from.has_remaining() {
        match decode_key(&mut from).map_err(malformed)? {
            (1, WireType::Varint) => {
                frame.lane = LaneId(decode_varint(&mut from).map_err(malformed)?);
            }
            (2, WireType::LengthDelimited) => frame.payload = split(&mut from)?,
            (3, WireType::Varint) => frame.last = decode_varint(&mut from).map_err(malformed)? != 0,
            (tag, wire) => skip(wire, tag, &mut from)?,
        }
    }
    if frame.payload.len() > Frame::MAX {
        return Err(malformed("a frame is too long"));
    }
    Ok(frame)
}

/// Splits a field with a length off, without copying it.
fn split(from: &mut Bytes) -> Result<Bytes, Status> {
    let len = decode_varint(from).map_err(malformed)?;
    match usize::try_from(len) {
        Ok(len) if len <= from.len() => Ok(from.split_to(len)),
        _ => Err(malformed("a field is longer than its message")),
    }
}

/// A field of a later version of the protocol.
fn skip(wire: WireType, tag: u32, from: &mut Bytes) -> Result<(), Status> {
    skip_field(wire, tag, from, DecodeContext::default()).map_err(malformed)
}

fn malformed(why: impl ToString) -> Status {
    Status::invalid_argument(why.to_string())
}
