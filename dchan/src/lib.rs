//! Channels that span a cluster: `tokio::sync::mpsc`, where sender and receiver may be in different
//! processes on different machines.
//!
//! Any node opens a [`Receiver`] or a [`Sender`] by name. Every message goes straight from the sender's
//! process to one receiver's, in order, with backpressure, and the sender's node can say what has become
//! of it. There is no broker. Raft only keeps the list of who receives what.
//!
//! ```no_run
//! use std::time::Duration;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { id: u64, item: String }
//!
//! # #[cfg(all(feature = "grpc", feature = "raft"))]
//! # async fn quick_start() -> Result<(), Box<dyn std::error::Error>> {
//! let node = dchan::Node::builder("127.0.0.1:7001")
//!     .cluster("shop")
//!     .peers(["127.0.0.1:7002", "127.0.0.1:7003"])
//!     .data_dir("./data")
//!     .start()
//!     .await?;
//!
//! let mut orders = node.receiver::<Order>("orders").await?; // on any node
//! tokio::spawn(async move {
//!     while let Some(order) = orders.recv().await? {
//!         println!("{}: {}", order.id, order.item);
//!     }
//!     Ok::<_, dchan::RecvError>(())
//! });
//!
//! let tx = node.sender::<Order>("orders").await?; // on any node
//! // Ok: a receiver has room for it.
//! tx.send(Order { id: 1, item: "widget".into() }).await?;
//! // Ok: its application has taken it.
//! let mut receipt = tx.send_tracked(Order { id: 2, item: "gadget".into() }).await?;
//! receipt.taken_within(Duration::from_secs(30)).await?;
//!
//! node.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `grpc` | yes | the gRPC transport, which nodes use unless [`Builder::quic`] or [`Builder::transport`] says otherwise |
//! | `quic` | yes | the QUIC transport: [`Builder::quic`]; without `grpc` nodes use it anyhow |
//! | `raft` | yes | the Raft membership, which nodes use unless [`Builder::membership`] says otherwise |
//! | `cli` | yes | the binary `dchan`; needs `grpc` and `raft` |
//! | `full` | yes | all of them |
//!
//! Without a transport or without `raft` a node needs one of one's own: see [`Transport`] and [`Membership`].

mod bound;
mod builder;
mod carrier;
mod error;
mod node;

pub use builder::Builder;
pub use dchan_core::{
    Addr, AddrError, Boot, Breach, ClusterId, Config, ConfigError, Delivery, Dropped, FlushError,
    Health, Incarnation, Ledger, Limits, LinkState, Links, Membership, MembershipError,
    MemoryNetwork, Metrics, Namespace, NamespaceError, NodeEntry, NodeId, NotReady, OpenError,
    OpenReceiver, OpenSender, OwnedPermit, Permit, PermitError, Receipt, ReceiptError, Receiver,
    ReceiverId, RecvError, SendError, SendTimeoutError, Sender, ShutdownError, StaticMembership,
    Times, Transport, TransportError, TryRecvError, TrySendError, Version, View,
};
pub use error::StartError;
pub use node::Node;

/// What it takes to write a transport or a membership of one's own.
pub use dchan_core as core;
/// Certificates: who a node is, and whom it believes.
#[cfg(any(feature = "grpc", feature = "quic"))]
pub use dchan_core::tls;
#[cfg(feature = "raft")]
pub use dchan_raft as raft;
#[cfg(feature = "grpc")]
pub use dchan_transport_grpc as grpc;
#[cfg(feature = "quic")]
pub use dchan_transport_quic as quic;

/// The README's examples compile.
#[cfg(all(doctest, feature = "grpc", feature = "raft"))]
#[doc = include_str!("../../README.md")]
struct Readme;
