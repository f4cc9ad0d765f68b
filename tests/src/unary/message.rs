use bytes::Bytes;
use dchan_core::{Frame, FrameBatch, LaneId};
use tonic::Status;

/// The longest message, in bytes.
pub(super) const MAX_BYTES: usize = 512 * 1024;
/// A message is complete from so many bytes of payload on. It has at most one frame more.
const FULL: usize = 256 * 1024;
/// The most frames in a message: empty ones take room in memory, though hardly any on the wire.
const MAX_FRAMES: usize = 4096;

/// Nothing but the fact of a call or an answer.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct Empty {}

/// Frames on their way, oldest first.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Message {
    /// Counts the messages of a direction, from 1 on.
    #[prost(uint64, tag = "1")]
    number: u64,
    /// The direction is over: this is its last message, and has no frames.
    #[prost(bool, tag = "2")]
    end: bool,
    #[prost(message, repeated, tag = "3")]
    frames: Vec<WireFrame>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireFrame {
    #[prost(uint64, tag = "1")]
    lane: u64,
    #[prost(bytes = "bytes", tag = "2")]
    payload: Bytes,
    #[prost(bool, tag = "3")]
    last: bool,
}

/// Numbers the messages of a direction, where they are made or where they arrive.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    last: u64,
}

impl Numbers {
    /// The next message: as much of the batch as fits. The batch is not empty.
    pub(super) fn pack(&mut self, batch: &mut FrameBatch) -> Message {
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while bytes < FULL && frames.len() < MAX_FRAMES {
            let Some(Frame { lane, payload, last }) = batch.pop() else { break };
            bytes += payload.len();
            frames.push(WireFrame { lane: lane.0, payload, last });
        }
        self.last += 1;
        Message { number: self.last, end: false, frames }
    }

    /// The message that ends the direction.
    pub(super) fn end(&mut self) -> Message {
        self.last += 1;
        Message { number: self.last, end: true, frames: Vec::new() }
    }

    /// The frames of the message that comes next; none at the end.
    pub(super) fn unpack(&mut self, message: Message) -> Result<Option<Vec<Frame>>, Status> {
        let (number, expected) = (message.number, self.last + 1);
        if number != expected {
            let why = format!("message {number} came, and {expected} was expected");
            return Err(Status::invalid_argument(why));
        }
        self.last = number;
        let count = message.frames.len();
        let longest = message.frames.iter().map(|frame| frame.payload.len()).max().unwrap_or(0);
        // Every message but the last has frames, or waiting for them would not end.
        if count > MAX_FRAMES || longest > Frame::MAX || message.end != (count == 0) {
            let why = format!("{count} frames of up to {longest} bytes (end: {})", message.end);
            return Err(Status::invalid_argument(why));
        }
        let frame = |WireFrame { lane, payload, last }| Frame { lane: LaneId(lane), payload, last };
        Ok((!message.end).then(|| message.frames.into_iter().map(frame).collect()))
    }
}
