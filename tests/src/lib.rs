//! What a third party needs to write a [`Transport`](dchan_core::Transport) or a
//! [`Membership`](dchan_core::Membership) and to prove it: suites that check every rule of
//! `docs/contract.md` ([`transport_suite!`], [`membership_suite!`]), and two worked examples of transports,
//! over plain TCP ([`tcp`]) and out of single calls of gRPC ([`unary`]). Besides, a peer that breaks every
//! rule ([`adversary`]).

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
