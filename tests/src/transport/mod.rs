//! The rules for a [`Transport`], one async function each, named after the rule in `docs/contract.md`
//! that it checks.

mod arriving;
mod ending;
mod failure;
mod fixture;
pub mod ip;
mod meeting;
mod pair;
mod rule;
mod script;
mod sending;
pub mod udp;

pub use arriving::*;
pub use ending::*;
pub use failure::{Failure, Outcome};
pub use fixture::{Breakable, Held, TransportFixture};
pub use meeting::*;
pub use rule::{RULES, Rule, check, contract_rules};
pub use sending::*;

#[cfg(doc)]
use dchan_core::Transport;
