use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{WireError, encode};
use crate::{Addr, Boot, Breach, ClusterId, Incarnation, LaneId, NodeId, Version};

/// What a link says about itself and about the lanes that come in through it. A frame of the control
/// lane holds one or more, one behind the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// First frame of the dialler.
    Hello(Hello),
    /// The listener's answer: the connection stands.
    Welcome(Hello),
    /// The listener's other answer: it does not, and why; and who is there all the same.
    Refuse(Refusal, Box<Hello>),
    Beat(Beat),
    /// How many bytes of data lanes have come in through this connection.
    Received(u64),
    Credit(Credit),
    /// The answer to an `Attach`.
    Resumed(Resumed),
    /// Give back the credit of this lane that you do not need.
    Reclaim(LaneId),
    /// Hand nothing more to this lane: its receiver takes no new messages.
    Stop(LaneId),
    Closed(Closed),
    /// The lane of an `Attach` is not known: what was handed to it has an unknown fate.
    NotFound(LaneId),
    /// Nothing more comes, and nothing is owed.
    Bye,
}

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) cluster_name: String,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) transport: String,
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: Boot,
    pub(crate) addr: Addr,
    /// 1 + the highest attempt at this link that the dialler knows of.
    pub(crate) attempt: u64,
}

/// Why a connection does not come to stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("protocol version: {theirs} there, {ours} here")]
    Version { ours: u16, theirs: u16 },
    #[error("cluster name: {theirs:?} there, {ours:?} here")]
    ClusterName { ours: String, theirs: String },
    #[error("cluster: {theirs} there, {ours} here")]
    Cluster { ours: ClusterId, theirs: ClusterId },
    #[error("transport: {theirs:?} there, {ours:?} here")]
    Transport { ours: String, theirs: String },
    #[error("the address leads to this very node")]
    Oneself,
    /// There is a connection already, with a rank that is as high.
    #[error("there is a connection already: attempt {attempt}, dialled by {dialler}")]
    Established { attempt: u64, dialler: NodeId },
    #[error("incarnation {theirs} of the node: {ours} is linked already")]
    Outdated { ours: Incarnation, theirs: Incarnation },
    #[error("too many connections are being made")]
    Busy,
    #[error("this node is shutting down")]
    Stopping,
    /// A certificate was shown that is not for the host that its node advertises.
    #[error("the certificate is for {}, and its node says that it is at {host}", names.join(", "))]
    Name { names: Vec<String>, host: String },
    /// Two processes live with one node's id: a data directory that was copied.
    #[error("process {theirs} of the node: process {ours}, of the same life, is linked already")]
    Duplicate { ours: Boot, theirs: Boot },
}

impl Refusal {
    /// The same, from the other side.
    pub(crate) fn mirrored(self) -> Self {
        match self {
            Self::Version { ours, theirs } => Self::Version { ours: theirs, theirs: ours },
            Self::ClusterName { ours, theirs } => {
                Self::ClusterName { ours: shown(&theirs), theirs: shown(&ours) }
            }
            Self::Cluster { ours, theirs } => Self::Cluster { ours: theirs, theirs: ours },
            Self::Transport { ours, theirs } => {
                Self::Transport { ours: shown(&theirs), theirs: shown(&ours) }
            }
            Self::Name { names, host } => {
                let names = names.iter().take(8).map(|name| shown(name)).collect();
                Self::Name { names, host: shown(&host) }
            }
            Self::Outdated { ours, theirs } => Self::Outdated { ours: theirs, theirs: ours },
            Self::Duplicate { ours, theirs } => Self::Duplicate { ours: theirs, theirs: ours },
            other => other,
        }
    }

    /// Of which kind it is, if somebody has to change something.
    pub(crate) fn breach(&self) -> Option<Breach> {
        match self {
            Self::Version { .. } => Some(Breach::Version),
            Self::ClusterName { .. } | Self::Cluster { .. } => Some(Breach::Cluster),
            Self::Transport { .. } => Some(Breach::Transport),
            Self::Name { .. } => Some(Breach::Name),
            Self::Outdated { .. } => Some(Breach::Outdated),
            Self::Duplicate { .. } => Some(Breach::Duplicate),
            Self::Busy => Some(Breach::Stranger),
            Self::Oneself => Some(Breach::Oneself),
            Self::Established { .. } | Self::Stopping => None,
        }
    }

    /// One word for metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Version { .. } => "version",
            Self::ClusterName { .. } => "cluster_name",
            Self::Cluster { .. } => "cluster",
            Self::Transport { .. } => "transport",
            Self::Oneself => "oneself",
            Self::Established { .. } => "established",
            Self::Outdated { .. } => "outdated",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::Name { .. } => "name",
            Self::Duplicate { .. } => "duplicate",
        }
    }

    /// Whether dialling again may help without anybody changing a configuration.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Established { .. }
                | Self::Outdated { .. }
                | Self::Duplicate { .. }
                | Self::Busy
                | Self::Stopping
        )
    }
}

/// As much of what a peer calls something as is worth a line of the log, and nothing that would break
/// the line.
pub(crate) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(64).map(plain).collect()
}

impl Hello {
    /// The version that a hello names, of whatever version it is.
    pub(crate) fn version_of(payload: &[u8]) -> Option<u16> {
        match postcard::take_from_bytes::<(u32, u16)>(payload) {
            Ok(((0, version), _)) => Some(version),
            _ => None,
        }
    }
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    /// When it was sent, in microseconds of the sender's own clock.
    pub(crate) sent: u64,
    /// `sent` of the last beat of the other side, and how long ago that came in, in microseconds.
    pub(crate) echo: Option<(u64, u64)>,
    /// The version of the view that the sender has.
    pub(crate) version: Version,
}

/// What has been taken from a lane, and what may come. All numbers count from the lane's beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credit {
    pub(crate) lane: LaneId,
    /// Messages below this number are settled: taken, or else among `skipped`.
    pub(crate) taken: u64,
    pub(crate) limit_messages: u64,
    pub(crate) limit_bytes: u64,
    /// Messages that could not be decoded and that the sender has not confirmed knowing of.
    pub(crate) skipped: Vec<u64>,
}

/// Where a lane goes on in a new connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resumed {
    /// The first frame that has not come in.
    pub(crate) next_frame: u64,
    pub(crate) credit: Credit,
}

/// The end of a lane: what is not taken belongs to the sender again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) lane: LaneId,
    pub(crate) taken: u64,
    pub(crate) skipped: Vec<u64>,
}

impl Control {
    /// The lane that it is about: one that leads from its receiver to its sender.
    pub(crate) fn about(&self) -> Option<LaneId> {
        match self {
            Self::Credit(credit) => Some(credit.lane),
            Self::Resumed(resumed) => Some(resumed.credit.lane),
            Self::Closed(closed) => Some(closed.lane),
            Self::Reclaim(lane) | Self::Stop(lane) | Self::NotFound(lane) => Some(*lane),
            _ => None,
        }
    }

    /// Appends the encoding of `self`.
    pub(crate) fn encode(&self, out: Vec<u8>) -> Vec<u8> {
        encode(self, out)
    }

    /// Takes the next one off the front of a control frame.
    pub(crate) fn decode_next(payload: &mut Bytes) -> Result<Option<Self>, WireError> {
        if payload.is_empty() {
            return Ok(None);
        }
        let (control, rest) = postcard::take_from_bytes(payload)
            .map_err(|_| WireError::Undecodable { what: "control message", len: payload.len() })?;
        let read = payload.len() - rest.len();
        let _ = payload.split_to(read);
        Ok(Some(control))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_holds_many() {
        let credit = Credit {
            lane: LaneId(16),
            taken: 7,
            limit_messages: 9,
            limit_bytes: 1 << 40,
            skipped: vec![3],
        };
        let all = [Control::Bye, Control::Credit(credit), Control::Received(5)];
        let encoded = all.iter().fold(Vec::new(), |out, control| control.encode(out));
        let mut payload = Bytes::from(encoded);
        let mut decoded = Vec::new();
        while let Some(control) = Control::decode_next(&mut payload).unwrap() {
            decoded.push(control);
        }
        assert_eq!(decoded, all);
    }

    #[test]
    fn noise_is_an_error() {
        for noise in [&[200u8, 1, 2][..], &[3], &[5, 16, 7, 9]] {
            let mut payload = Bytes::copy_from_slice(noise);
            assert!(Control::decode_next(&mut payload).is_err(), "{noise:?}");
        }
    }
}
