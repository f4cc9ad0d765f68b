//! The command line, end to end: real processes, real files.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod disks;
mod files;
mod process;
mod stopping;
mod usage;
