//! Workloads that measure dchan beside the bare socket.
fn main() {}
