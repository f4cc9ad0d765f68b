//! Clusters that keep their list by Raft, without channels.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod net;

mod changes;
mod clock;
mod disks;
mod durable;
mod founding;
mod lives;
mod seeds;
