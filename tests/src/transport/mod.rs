//! The rules for a [`Transport`], one async function each, named after the rule in `docs/contract.md`
//! that it checks.

mod arriving;
mod ending;
mod fixture;
pub mod ip;
mod meeting;
mod pair;
mod script;
mod sending;
mod suite;
pub mod udp;

pub use arriving::*;
pub use ending::*;
pub use fixture::{Breakable, Held, TransportFixture};
pub use meeting::*;
pub use sending::*;
pub use suite::RULES;

#[cfg(doc)]
use dchan_core::Transport;
