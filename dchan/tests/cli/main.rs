//! The command line, end to end: real processes, real files.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod clock;
mod disks;
mod files;
mod founders;
mod process;
mod stopping;
mod usage;
