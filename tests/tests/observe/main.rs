//! What one sees of a node: numbers, health, and what it logs.
#![allow(clippy::unwrap_used)]

mod capture;
#[path = "../founders/mod.rs"]
mod founders;
mod health;
mod numbers;
mod parts;
mod trace;

use dchan_conformance::cluster::{Cluster, Kind};
use std::sync::Arc;

/// A cluster in memory, in paused time.
fn memory() -> Cluster {
    Cluster::new(Kind::Memory, Arc::new(dchan_conformance::tcp::TcpTransport))
}
