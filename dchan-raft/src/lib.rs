//! Membership for dchan by Raft: who is in the cluster, and who receives what.
//!
//! [`RaftMembership`] implements [`dchan_core::Membership`] over any transport, as its messages are
//! opaque bytes on [`dchan_core::Requests`].
//!
//! - The nodes in the list of founders found the cluster and vote. Any other node joins as a learner:
//!   it gets the whole list, and has no vote.
//! - What must outlive a process is in a [`DataDir`], which is locked while it is in use.
//! - Every node renews a lease with the leader. A node without one is taken off the list.

mod config;
mod datadir;
mod error;
mod founding;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod leader;
mod leases;
mod leave;
mod membership;
mod network;
mod presence;
mod proposals;
mod reminder;
mod rpc;
mod runtime;
mod seal;
mod server;
mod shared;
mod sound;
mod store;
mod stranded;
mod telemetry;
mod transfer;
mod types;

// The network of the tests is written for those who use this crate.
#[cfg(test)]
extern crate self as dchan_raft;
#[cfg(test)]
mod faults;
#[cfg(test)]
#[path = "../tests/cluster/net/mod.rs"]
mod net;

pub use config::{ConfigError, Limits, RaftConfig, Times, Writes};
pub use datadir::{DataDir, DataDirError};
pub use error::NewError;
pub use membership::RaftMembership;
