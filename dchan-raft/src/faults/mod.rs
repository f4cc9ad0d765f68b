//! What becomes of a node, and of a cluster, when disks fail, lose what they were told, or change it.

mod cluster;
mod damage;
mod disk;
mod failing;
mod power;

/// How often each of these is tried: a little in everyday runs, more if `DCHAN_DISK_ROUNDS` says so.
fn rounds(few: u64) -> u64 {
    std::env::var("DCHAN_DISK_ROUNDS").map_or(few, |rounds| rounds.parse().expect("a number"))
}
