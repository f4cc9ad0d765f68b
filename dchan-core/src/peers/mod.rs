//! All links of a node: one connection to each peer, and the lanes that go through it.

mod accept;
mod asks;
mod dial;
mod door;
mod in_lanes;
mod incoming;
mod out_lane;
mod peer;
mod shared;

pub(crate) use accept::serve_listener;
#[cfg(feature = "fuzzing")]
pub(crate) use asks::Asks;
pub(crate) use dial::serve_calls;
pub(crate) use out_lane::{LaneOwner, Out, OutLane, TakeBack};
pub(crate) use peer::{Peer, stop_lane};
pub(crate) use shared::{Peers, Shared};
