//! Clusters of nodes, over each transport, and what can happen to them. One program, as each takes longer to build than
//! most of these tests take to run.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../founders/mod.rs"]
mod founders;

mod budget;
mod cancel;
mod cancel_storm;
mod clock;
mod credit;
mod disks;
mod faults;
mod flow;
mod handover;
mod memory;
mod raft;
mod slow_list;
mod storms;
