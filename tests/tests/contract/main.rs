//! Transports and memberships keep the contract. One program, as each takes longer to build than most of these tests
//! take to run.
#![allow(clippy::unwrap_used)]

#[path = "../founders/mod.rs"]
mod founders;

mod grpc;
mod membership;
mod memory;
mod quic;
mod rules;
mod tcp;
mod unary;
