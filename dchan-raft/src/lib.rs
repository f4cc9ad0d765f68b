//! Membership for dchan by Raft.
