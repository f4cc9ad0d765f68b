//! The rules for a [`Membership`], one async function each, named after the rule in `docs/contract.md`
//! that it checks.
//!
//! Each starts a few nodes over the fixture's network. They have links and nothing else: their
//! memberships are the suite's to call, as a node would.

mod changing;
mod fixture;
mod leaving;
mod listing;
mod member;
mod starting;
mod suite;
mod watching;
mod world;

pub use changing::*;
pub use fixture::{Life, MembershipFixture};
pub use leaving::*;
pub use listing::*;
pub use starting::*;
pub use suite::RULES;

#[cfg(doc)]
use dchan_core::Membership;
