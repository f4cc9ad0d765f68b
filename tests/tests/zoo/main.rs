//! The suites can fail: for each rule there is somebody who breaks it, and is caught.
//!
//! Each of the zoo is broken in one way. What rules it fails is in `docs/teeth.md`, and is compared with
//! what it really fails.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod membership;
mod table;
mod transport;
