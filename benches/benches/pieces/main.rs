//! The pieces that a message passes through, each by itself, on one thread.
//!
//! `cargo bench -p dchan-benches --bench pieces`

mod codec;
mod lane;
mod local;
mod router;
#[path = "../shared/mod.rs"]
mod shared;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Long enough for a piece that takes nanoseconds.
fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

criterion_group! {
    name = pieces;
    config = short();
    targets = codec::bench, lane::bench, router::bench, local::bench
}
criterion_main!(pieces);
