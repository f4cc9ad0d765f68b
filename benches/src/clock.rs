//! A clock that all processes of a machine share.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Seconds since some moment that is the same for all processes, and stays.
pub(crate) fn now() -> f64 {
    // Every Unix has it.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock that only goes forward");
    Duration::from(now).as_secs_f64()
}
