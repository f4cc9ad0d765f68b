use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Flags, Records, WireError, encode};
use crate::{Namespace, ReceiverId};

/// The length of what stands before the records of a data frame, in bytes.
pub(crate) const HEADER: usize = 1 + DATA_FIELDS;
const DATA_FIELDS: usize = 8 + 8 + 4 + 8;
/// What a chunk has besides: which part it is, its message's flags and whole length.
const CHUNK_FIELDS: usize = 1 + 1 + 8;

const ATTACH: u8 = 1;
const DATA: u8 = 2;
const CHUNK_KIND: u8 = 3;
const WANT: u8 = 4;
const FIN: u8 = 5;
const CLOSED_ACK: u8 = 6;

/// What the sending side of a lane says in it.
#[derive(Clone, Debug)]
pub(crate) enum LaneFrame {
    /// The lane begins, or goes on in a new connection.
    Attach(Attach),
    /// Some messages.
    Data(DataHeader, Records),
    /// A part of a large message.
    Chunk(DataHeader, Chunk),
    /// What the sender needs, and what it gives back.
    Want(Want),
    /// Nothing more comes.
    Fin,
    /// The sender knows how the lane ended.
    ClosedAck,
}

/// How a lane introduces itself to a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attach {
    pub(crate) namespace: Namespace,
    pub(crate) receiver: ReceiverId,
    /// Nothing was ever handed to this lane: the receiver need not know it.
    pub(crate) fresh: bool,
    /// Messages below this number are settled, as far as the sender knows.
    pub(crate) taken: u64,
    /// Whether it wants credit now.
    pub(crate) wanting: bool,
}

/// What the sender needs and gives back. All numbers count from the connection's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Want {
    /// Credit in messages that the sender has given back.
    pub(crate) returned_messages: u64,
    /// Credit in bytes that the sender has given back.
    pub(crate) returned_bytes: u64,
    /// Whether it wants credit.
    pub(crate) wanting: bool,
    /// The limit in bytes without which it cannot go on, counted from the lane's beginning.
    pub(crate) need_bytes: u64,
    /// Somebody waits for messages below this number to be settled.
    pub(crate) hurry: u64,
}

/// The stamp of a data frame: written when the frame is handed to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataHeader {
    pub(crate) frame_no: u64,
    pub(crate) first_seq: u64,
    /// How many messages end in this frame.
    pub(crate) count: u32,
    /// Messages below this number are settled, as far as the sender knows.
    pub(crate) settled: u64,
}

/// A part of a message above the chunk size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) first: bool,
    pub(crate) last: bool,
    pub(crate) flags: Flags,
    pub(crate) total: u64,
    pub(crate) body: Bytes,
}

impl DataHeader {
    /// Writes the stamp into the first [`HEADER`] bytes of a frame.
    pub(crate) fn put(&self, at: &mut [u8], chunk: bool) {
        at[0] = if chunk { CHUNK_KIND } else { DATA };
        at[1..9].copy_from_slice(&self.frame_no.to_le_bytes());
        at[9..17].copy_from_slice(&self.first_seq.to_le_bytes());
        at[17..21].copy_from_slice(&self.count.to_le_bytes());
        at[21..29].copy_from_slice(&self.settled.to_le_bytes());
    }

    fn take(from: &mut Bytes) -> Result<Self, WireError> {
        let short = WireError::Short { expected: HEADER, found: from.len() + 1 };
        let (Some(frame_no), Some(first_seq), Some(count), Some(settled)) =
            (u64_at(from, 0), u64_at(from, 8), u32_at(from, 16), u64_at(from, 20))
        else {
            return Err(short);
        };
        let _ = from.split_to(DATA_FIELDS);
        Ok(Self { frame_no, first_seq, count, settled })
    }
}

impl Chunk {
    /// The bytes that stand between the stamp and the part.
    pub(crate) const FIELDS: usize = CHUNK_FIELDS;

    /// Writes them.
    pub(crate) fn put(at: &mut [u8], first: bool, last: bool, flags: Flags, total: u64) {
        at[0] = u8::from(first) | (u8::from(last) << 1);
        at[1] = flags.0;
        at[2..10].copy_from_slice(&total.to_le_bytes());
    }

    fn take(mut from: Bytes) -> Result<Self, WireError> {
        let (Some(&part), Some(&flags), Some(total)) =
            (from.first(), from.get(1), u64_at(&from, 2))
        else {
            return Err(WireError::Short { expected: HEADER + CHUNK_FIELDS, found: from.len() });
        };
        let body = from.split_off(CHUNK_FIELDS);
        let (first, last) = (part & 1 != 0, part & 2 != 0);
        Ok(Self { first, last, flags: Flags(flags), total, body })
    }
}

fn u64_at(from: &[u8], at: usize) -> Option<u64> {
    from.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

fn u32_at(from: &[u8], at: usize) -> Option<u32> {
    from.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

impl LaneFrame {
    /// How many messages end in it.
    pub(crate) fn messages(&self) -> u64 {
        match self {
            Self::Data(header, _) | Self::Chunk(header, _) => header.count.into(),
            Self::Attach(_) | Self::Want(_) | Self::Fin | Self::ClosedAck => 0,
        }
    }

    /// The bytes of a frame that carries no messages; `None` for one that does: those are stamped in
    /// place.
    pub(crate) fn encode_plain(&self) -> Option<Bytes> {
        let encoded = match self {
            Self::Attach(attach) => encode(attach, vec![ATTACH]),
            Self::Want(want) => encode(want, vec![WANT]),
            Self::Fin => vec![FIN],
            Self::ClosedAck => vec![CLOSED_ACK],
            Self::Data(..) | Self::Chunk(..) => return None,
        };
        Some(encoded.into())
    }

    /// Reads a frame.
    pub(crate) fn decode(mut payload: Bytes) -> Result<Self, WireError> {
        let Some(&kind) = payload.first() else {
            return Err(WireError::Short { expected: 1, found: 0 });
        };
        let _ = payload.split_to(1);
        match kind {
            ATTACH => Ok(Self::Attach(whole("attach", &payload)?)),
            DATA => {
                let header = DataHeader::take(&mut payload)?;
                Ok(Self::Data(header, Records(payload)))
            }
            CHUNK_KIND => {
                let header = DataHeader::take(&mut payload)?;
                Ok(Self::Chunk(header, Chunk::take(payload)?))
            }
            WANT => Ok(Self::Want(whole("want", &payload)?)),
            FIN => Ok(Self::Fin),
            CLOSED_ACK => Ok(Self::ClosedAck),
            kind => Err(WireError::UnknownKind { kind }),
        }
    }
}

fn whole<'a, T: Deserialize<'a>>(what: &'static str, from: &'a [u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes(from) {
        Ok((value, [])) => Ok(value),
        _ => Err(WireError::Undecodable { what, len: from.len() }),
    }
}
