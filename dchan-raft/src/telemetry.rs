//! What is counted, and logged alike wherever it happens.

use std::fmt::Display;

/// Something a peer sent, or the log holds, that makes no sense.
pub(crate) fn malformed(what: &'static str, error: &dyn Display) {
    tracing::warn!(what, %error, "malformed: ignored");
    metrics::counter!("dchan_raft_malformed_total", "what" => what).increment(1);
}

/// A question that was not taken, as too many are being worked on.
pub(crate) fn busy() {
    tracing::debug!("too many questions at a time: one is not answered");
    metrics::counter!("dchan_raft_questions_refused_total").increment(1);
}

/// A command was sent on its way.
pub(crate) fn proposal(calls: usize) {
    metrics::counter!("dchan_raft_proposals_total").increment(1);
    metrics::counter!("dchan_raft_calls_total").increment(calls as u64);
}

/// A node was taken off the list because its lease ran out.
pub(crate) fn removed() {
    metrics::counter!("dchan_raft_nodes_removed_total").increment(1);
}

/// Raft has ended on this node before the node did.
pub(crate) fn failed() {
    metrics::gauge!("dchan_raft_failed").set(1.0);
}

pub(crate) fn leader_changed() {
    metrics::counter!("dchan_raft_leader_changes_total").increment(1);
}

pub(crate) fn progress(term: u64, last: Option<u64>, log_bytes: usize) {
    metrics::gauge!("dchan_raft_term").set(term as f64);
    metrics::gauge!("dchan_raft_last_entry").set(last.unwrap_or(0) as f64);
    metrics::gauge!("dchan_raft_log_bytes").set(log_bytes as f64);
}
