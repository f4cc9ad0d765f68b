//! The command line, end to end: real processes, real files.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod certs;
mod clock;
mod disks;
mod files;
mod founders;
mod process;
mod secure;
mod stopping;
mod usage;
