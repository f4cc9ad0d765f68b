//! What a node can say of itself in numbers.

mod counters;
mod prometheus;
mod round_trips;

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{Addr, Ledger, MembershipStatus, Namespace, NodeId, Version};

pub(crate) use counters::{NodeCounters, PeerCounters};
pub use round_trips::{Histogram, RoundTrips};

/// What a node can say of itself in numbers, at one moment: see [`Node::metrics`](crate::Node::metrics).
///
/// Numbers that are called totals, and those in maps by reason, only rise, from 0 when the node starts.
/// The reasons are words that `docs/operations.md` lists.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// The node.
    pub node: NodeId,
    /// How long it has been running.
    pub uptime: Duration,
    /// Whether it is [live](crate::Health::live).
    pub live: bool,
    /// Whether it is [ready](crate::Health::ready).
    pub ready: bool,
    /// How many tasks it runs, without those of its membership.
    pub tasks: usize,
    /// Connections that came in and did not come to stand, by reason.
    pub handshakes_failed: BTreeMap<&'static str, u64>,
    /// How often others broke the protocol, or came with what cannot be linked, by the
    /// [name](crate::Breach::name) of its kind: strangers as well as peers.
    pub breaches: BTreeMap<&'static str, u64>,
    /// The list of nodes and receivers.
    pub list: ListMetrics,
    /// Every peer that the list has, or that there is something left of.
    pub peers: BTreeMap<NodeId, PeerMetrics>,
    /// Every namespace that this node sends to or receives from now.
    pub namespaces: BTreeMap<Namespace, NamespaceMetrics>,
    /// What it holds for receivers of other nodes.
    pub retained: RetainedMetrics,
    /// What became of all messages that this node accepted since it started, over all namespaces,
    /// those included that it no longer sends to.
    pub ledger: Ledger,
}

/// The list of nodes and receivers, as a node knows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ListMetrics {
    /// How many changes it has seen.
    pub version: Version,
    /// Who leads, if that is known here.
    pub leader: Option<NodeId>,
    /// How many nodes are on it.
    pub nodes: usize,
    /// How many receivers are on it.
    pub receivers: usize,
    /// How the membership fares that keeps it.
    pub status: MembershipStatus,
}

/// What a node holds for receivers of other nodes until they take it, beyond the 64 KiB that each lane
/// has anyway. It is counted in blocks of 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RetainedMetrics {
    /// Bytes that lanes have taken out of the budget.
    pub bytes: u64,
    /// The budget: `limits.retained`.
    pub limit: u64,
    /// Lanes that wait for a part of it.
    pub waiting: usize,
}

/// One peer, as a node sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PeerMetrics {
    /// Where it can be reached, if that is known.
    pub addr: Option<Addr>,
    /// Whether there is a connection.
    pub up: bool,
    /// Whether there is a connection, and the peer has been silent for so long that it is not chosen.
    pub suspect: bool,
    /// What was given to the transport.
    pub sent: Traffic,
    /// What came in.
    pub received: Traffic,
    /// How long heartbeats took.
    pub round_trips: RoundTrips,
    /// Connections that came to stand, by who dialled: `dialled` by this node, or `accepted` by it.
    pub links: BTreeMap<&'static str, u64>,
    /// Connections that ended, by reason.
    pub cuts: BTreeMap<&'static str, u64>,
    /// Dials that came to nothing, by reason.
    pub dials_failed: BTreeMap<&'static str, u64>,
    /// Breaches of the protocol by the peer, by the [name](crate::Breach::name) of their kind.
    pub protocol_errors: BTreeMap<&'static str, u64>,
    /// How often the peer was out of reach for `times.lane`, so that all lanes were given up.
    pub given_up: u64,
    /// What waits for the peer.
    pub queue: QueueMetrics,
    /// Lanes to receivers of the peer.
    pub lanes_out: usize,
    /// Lanes from the peer to receivers here.
    pub lanes_in: usize,
    /// Lanes from the peer that are over, without the peer having confirmed that it knows.
    pub lanes_over: usize,
}

/// What went one way through a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Traffic {
    /// Frames, those of heartbeats and credit included.
    pub frames: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Messages. One that is sent again after a break counts again.
    pub messages: u64,
}

/// What waits to go out to a peer. All zero while there is no connection, but for the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueMetrics {
    /// Bytes of data that the peer has not confirmed.
    pub unconfirmed: u64,
    /// How many such bytes there may be now: it follows the path, up to `limits.link`.
    pub window: u64,
    /// Control messages that wait, and lanes whose senders are to be told of credit.
    pub control: usize,
    /// Frames of questions and answers that wait, and last words of lanes.
    pub frames: usize,
    /// Lanes that have something to send.
    pub lanes: usize,
    /// Bytes of messages that wait in them, about: senders wait when it is more than leaves in 100 ms, or
    /// than four times `limits.link` if that is more; and at sixteen times in any case.
    pub waiting: u64,
}

/// One namespace, as a node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NamespaceMetrics {
    /// What became of the messages that this node accepted for it, since the first of its present
    /// senders was opened.
    pub ledger: Ledger,
    /// Senders that were opened here and are not gone; clones of one count as one.
    pub senders: usize,
    /// How many sends wait for credit.
    pub waiting: usize,
    /// How many messages could be sent now without waiting, over all receivers.
    pub credit: u64,
    /// Messages that were accepted and wait for a receiver.
    pub homeless: usize,
    /// Receivers that the list has.
    pub receivers: usize,
    /// Receivers that are open here.
    pub receivers_here: usize,
    /// Messages that have arrived here and were not taken.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
}

impl Metrics {
    /// All of it in the text format of Prometheus, version 0.0.4: to be served as
    /// `text/plain; version=0.0.4`. The names are listed in `docs/operations.md`.
    pub fn to_prometheus(&self) -> String {
        prometheus::text(self)
    }
}
