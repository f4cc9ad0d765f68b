//! The wire format, written down once more from `docs/wire.md` alone: so an adversary can say what no
//! node would, and the document is held to be true.

use serde::{Deserialize, Serialize};

/// The lane of control messages.
pub const CONTROL: u64 = 0;
/// The lane of questions and answers.
pub const REQUESTS: u64 = 1;
/// The first lane of messages.
pub const FIRST: u64 = 16;

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// Who dials.
    Hello(Hello),
    /// Who listens.
    Welcome(Hello),
    /// No.
    Refuse(Refusal, Hello),
    /// A sign of life.
    Beat {
        /// µs of the sender's clock.
        sent: u64,
        /// The other's last `sent`, and how long ago it came.
        echo: Option<(u64, u64)>,
        /// Of the view.
        version: u64,
    },
    /// Bytes of data lanes that have come in.
    Received(u64),
    /// What was taken and may come.
    Credit(Credit),
    /// The answer to an [`Attach`].
    Resumed {
        /// The first frame that has not come.
        next_frame: u64,
        /// From there on.
        credit: Credit,
    },
    /// Give credit back.
    Reclaim(u64),
    /// Hand nothing more.
    Stop(u64),
    /// The lane is over.
    Closed {
        /// Which one.
        lane: u64,
        /// Messages below this number are settled.
        taken: u64,
        /// Of those, the ones that could not be decoded.
        skipped: Vec<u64>,
    },
    /// Not known.
    NotFound(u64),
    /// Nothing more comes.
    Bye,
}

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they are in docs/wire.md")]
pub struct Hello {
    pub version: u16,
    pub cluster_name: String,
    pub cluster: Option<u128>,
    pub transport: String,
    pub node: u64,
    pub incarnation: u64,
    pub boot: u64,
    pub addr: String,
    pub attempt: u64,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they are in docs/wire.md")]
pub enum Refusal {
    Version { ours: u16, theirs: u16 },
    ClusterName { ours: String, theirs: String },
    Cluster { ours: u128, theirs: u128 },
    Transport { ours: String, theirs: String },
    Oneself,
    Established { attempt: u64, dialler: u64 },
    Outdated { ours: u64, theirs: u64 },
    Busy,
    Stopping,
    Name { names: Vec<String>, host: String },
    Duplicate { ours: u64, theirs: u64 },
}

/// What was taken from a lane and may come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they are in docs/wire.md")]
pub struct Credit {
    pub lane: u64,
    pub taken: u64,
    pub limit_messages: u64,
    pub limit_bytes: u64,
    pub skipped: Vec<u64>,
}

/// How a lane introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they are in docs/wire.md")]
pub struct Attach {
    pub namespace: String,
    pub receiver: (u64, u64),
    pub fresh: bool,
    pub taken: u64,
    pub wanting: bool,
}

/// What the sender of a lane needs and gives back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they are in docs/wire.md")]
pub struct Want {
    pub returned_messages: u64,
    pub returned_bytes: u64,
    pub wanting: bool,
    pub need_bytes: u64,
    pub hurry: u64,
}

/// The stamp of data and chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are in docs/wire.md")]
pub struct Stamp {
    pub frame_no: u64,
    pub first_seq: u64,
    pub count: u32,
    pub settled: u64,
}

/// Control messages, one behind the other.
pub fn controls(controls: &[Control]) -> Vec<u8> {
    controls.iter().flat_map(encode).collect()
}

/// The frame that introduces a lane.
pub fn attach(attach: &Attach) -> Vec<u8> {
    [vec![1], encode(attach)].concat()
}

/// The frame that asks for credit.
pub fn want(want: &Want) -> Vec<u8> {
    [vec![4], encode(want)].concat()
}

/// The frame that ends a lane.
pub fn fin() -> Vec<u8> {
    vec![5]
}

/// A frame of messages, each as it was encoded.
pub fn data(stamp: Stamp, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = stamped(2, stamp);
    for message in messages {
        frame.extend_from_slice(&(message.len() as u32).to_le_bytes()[..3]);
        frame.push(0);
        frame.extend_from_slice(message);
    }
    frame
}

/// A part of a large message.
pub fn chunk(stamp: Stamp, first: bool, last: bool, total: u64, body: &[u8]) -> Vec<u8> {
    let mut frame = stamped(3, stamp);
    frame.extend_from_slice(&[u8::from(first) | (u8::from(last) << 1), 0]);
    frame.extend_from_slice(&total.to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

/// A part of a question or an answer.
pub fn request(number: u64, kind: u8, part: &[u8]) -> Vec<u8> {
    [&number.to_le_bytes()[..], &[kind], part].concat()
}

/// Any value in postcard.
///
/// # Panics
///
/// If the value cannot be encoded.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("a value that can be encoded")
}

/// The control messages of a frame; those before the first that makes no sense.
pub fn decode(mut payload: &[u8]) -> Vec<Control> {
    let mut controls = Vec::new();
    while !payload.is_empty() {
        let Ok((control, rest)) = postcard::take_from_bytes(payload) else { break };
        controls.push(control);
        payload = rest;
    }
    controls
}

fn stamped(kind: u8, stamp: Stamp) -> Vec<u8> {
    let Stamp { frame_no, first_seq, count, settled } = stamp;
    let mut frame = vec![kind];
    frame.extend_from_slice(&frame_no.to_le_bytes());
    frame.extend_from_slice(&first_seq.to_le_bytes());
    frame.extend_from_slice(&count.to_le_bytes());
    frame.extend_from_slice(&settled.to_le_bytes());
    frame
}
