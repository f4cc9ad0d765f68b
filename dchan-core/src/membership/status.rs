use serde::Serialize;

/// How a membership fares, as far as its own node can tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MembershipStatus {
    /// Whether changes could be made lately: there is a leader that answers, and it has a majority.
    pub quorum: bool,
    /// Counts the reigns of leaders; 0 if there are none.
    pub term: u64,
    /// How often another leader, or none, was seen since the node started.
    pub leader_changes: u64,
    /// What a human must look after, such as a disk that is full.
    pub fault: Option<String>,
    /// It has ended, and only a restart of the node brings it back.
    pub stopped: bool,
    /// Numbers of its own.
    pub samples: Vec<Sample>,
}

/// A number that a membership adds to the metrics of its node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Its name, as Prometheus wants it: `dchan_raft_log_bytes`. Counters end in `_total`, and nothing
    /// else does.
    pub name: &'static str,
    /// What it says, in one line.
    pub help: &'static str,
    /// A label and its value, if several samples share the name. Those stand next to each other.
    pub label: Option<(&'static str, &'static str)>,
    /// Its value.
    pub value: f64,
}

impl Default for MembershipStatus {
    /// That of a membership that needs no leader and cannot fail.
    fn default() -> Self {
        Self {
            quorum: true,
            term: 0,
            leader_changes: 0,
            fault: None,
            stopped: false,
            samples: Vec::new(),
        }
    }
}
