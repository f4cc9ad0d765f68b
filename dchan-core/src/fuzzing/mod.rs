//! What reads bytes of others, as functions that take any bytes: for the fuzzers in `fuzz/` and for the
//! test that replays what they found. And the lane without a network, for the benches ([`Pair`]). No part
//! of the interface.
//!
//! Each function panics if something is wrong: that what was decoded is not what is encoded, that more is held
//! than may be, that an account does not balance.

mod chunks;
mod handshake;
mod input;
mod lanes;
mod pair;
mod wire;

pub use self::{
    chunks::chunk_assembly,
    handshake::handshake,
    input::Input,
    lanes::lane_events,
    pair::{Pair, encode},
    wire::wire,
};

/// The longest error that anybody may provoke, in characters: each is a line of the log.
const LONGEST: usize = 1024;

/// An error that others provoke fits into a line.
fn check_error(error: &dyn std::error::Error) {
    let said = error.to_string();
    assert!(said.chars().count() <= LONGEST, "an error of {} bytes", said.len());
    assert!(!said.chars().any(char::is_control), "{said:?} breaks the line");
}
