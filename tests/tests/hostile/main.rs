//! Strangers at the door and peers without manners: each is refused, named and counted, what they can
//! make a node hold is bounded, and two honest nodes go on all the while.
#![allow(clippy::unwrap_used)]

mod datagrams;
mod handshake;
mod lanes;
mod pair;
mod port;
mod receiving;
mod requests;
mod values;
