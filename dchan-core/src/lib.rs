//! The core of dchan: everything that is the same for every transport and every membership.
//!
//! Most users want the `dchan` crate, which puts this one together with a transport and a
//! membership. Use this crate to write a [`Transport`] or a [`Membership`] of your own.

mod breach;
mod budget;
mod channel;
mod codec;
mod config;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod inbox;
mod lane;
mod link;
mod log;
mod membership;
mod memory;
mod metrics;
mod node;
mod peers;
mod request;
mod router;
mod timers;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;
mod wire;

pub use breach::Breach;
pub use channel::{
    Delivery, FlushError, OpenError, OwnedPermit, Permit, PermitError, Receipt, ReceiptError,
    Receiver, RecvError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};
pub use codec::decode;
pub use config::{Config, ConfigError, Limits, Times};
pub use id::{Boot, ClusterId, Incarnation, LaneId, Namespace, NamespaceError, NodeId, ReceiverId};
pub use lane::{Dropped, Ledger};
pub use log::{Held, LogLimit};
pub use membership::{
    Change, Context, LinkState, Links, Me, Membership, MembershipError, MembershipStatus,
    NodeEntry, Sample, StaticMembership, Version, View,
};
pub use memory::{Faults, MemoryNetwork};
pub use metrics::{
    Histogram, ListMetrics, Metrics, NamespaceMetrics, PeerMetrics, QueueMetrics, RetainedMetrics,
    RoundTrips, Traffic,
};
pub use node::{
    Health, Node, NodeOptions, NotReady, OpenReceiver, OpenSender, ShutdownError, StartError,
};
pub use request::{Ask, Call, Identify, PeerInfo, Question, RequestError, Requests};
pub use timers::{Sleep, Timers};
pub use transport::{
    Addr, AddrError, Connection, ErrorKind, Frame, FrameBatch, FrameSink, FrameStream, Identity,
    Incoming, Listener, Ready, Received, Transport, TransportError,
};
