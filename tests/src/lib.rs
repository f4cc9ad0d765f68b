//! What a third party needs to write a [`Transport`](dchan_core::Transport) and to prove it: the suite
//! that checks every rule of `docs/contract.md` ([`transport_suite!`]), and a worked example
//! ([`tcp`]). Besides, a peer that breaks every rule ([`adversary`]).

pub mod adversary;
mod bounded;
pub mod cluster;
mod failure;
pub mod membership;
pub mod rule;
mod seed;
pub mod tcp;
pub mod transport;
pub mod unary;

/// The tutorial's transport passes the suite.
#[cfg(doctest)]
#[doc = include_str!("../../docs/writing-a-transport.md")]
struct WritingATransport;
