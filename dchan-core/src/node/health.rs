//! Whether a node can do its work.

use std::fmt;

use serde::Serialize;
use tracing::{error, info, warn};

use super::{Inner, Node};

/// Whether a node can do its work: see [`Node::health`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// It runs. A node that is not live does not become so again: restart its process.
    pub live: bool,
    /// It is part of its cluster, and channels can be opened now. Channels that are open flow on
    /// without that.
    pub ready: bool,
    /// Why it is not live or not ready; empty if it is both.
    pub reasons: Vec<NotReady>,
}

/// Why a node is not ready, or not live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum NotReady {
    /// It has stopped. Not live.
    Stopped,
    /// It is being shut down.
    Stopping,
    /// A task that it cannot do without has ended. Not live.
    TaskEnded {
        /// Which one.
        task: &'static str,
    },
    /// Its membership has ended. Not live.
    MembershipStopped,
    /// Its membership says that a human must look after something.
    Fault {
        /// What it says.
        what: String,
    },
    /// The list of nodes does not have this process: it was taken off, or has not come back yet.
    NotListed,
    /// No leader with a majority has answered lately.
    NoQuorum,
}

impl NotReady {
    /// Whether only a restart helps.
    fn is_final(&self) -> bool {
        matches!(self, Self::Stopped | Self::TaskEnded { .. } | Self::MembershipStopped)
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("it has stopped"),
            Self::Stopping => f.write_str("it is being shut down"),
            Self::TaskEnded { task } => write!(f, "its {task} has ended"),
            Self::MembershipStopped => f.write_str("its membership has ended"),
            Self::Fault { what } => f.write_str(what),
            Self::NotListed => f.write_str("it is not on the list of nodes"),
            Self::NoQuorum => f.write_str("no leader with a majority answers"),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.live, self.ready) {
            (_, true) => "ready",
            (true, false) => "not ready",
            (false, false) => "not live",
        })?;
        for (at, reason) in self.reasons.iter().enumerate() {
            write!(f, "{} {reason}", if at == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

impl Health {
    pub(super) fn of(reasons: Vec<NotReady>) -> Self {
        let live = !reasons.iter().any(NotReady::is_final);
        Self { live, ready: reasons.is_empty(), reasons }
    }

    /// Says what has become of the health of a node. Under a target of its own, so that it can be shown
    /// when other lines of this level are not.
    pub(super) fn log(&self) {
        let Self { live, ready, .. } = self;
        match (live, ready) {
            (_, true) => info!(target: "dchan::health", live, ready, "{self}"),
            (true, false) => warn!(target: "dchan::health", live, ready, "{self}"),
            (false, false) => error!(target: "dchan::health", live, ready, "{self}"),
        }
    }
}

impl Node {
    /// Whether the node can do its work: for the probes of whoever runs the process. Cheap: it looks at
    /// what is known, and asks nobody. The log tells of each change, within a second or so.
    pub fn health(&self) -> Health {
        self.inner().health()
    }
}

impl Inner {
    pub(super) fn health(&self) -> Health {
        if self.shared.stopping.is_cancelled() {
            return Health::of(vec![NotReady::Stopped]);
        }
        let mut reasons = Vec::new();
        if let Some(task) = self.shared.ended_task() {
            reasons.push(NotReady::TaskEnded { task });
        }
        if self.is_closing() {
            // What follows is what a shutdown does to it.
            reasons.push(NotReady::Stopping);
            return Health::of(reasons);
        }
        let status = self.membership.status();
        if status.stopped {
            reasons.push(NotReady::MembershipStopped);
        }
        if let Some(what) = status.fault {
            reasons.push(NotReady::Fault { what });
        }
        let me = &self.shared.me;
        let view = self.shared.view.borrow().clone();
        if view.nodes.get(&me.id).is_none_or(|entry| entry.boot != me.boot) {
            reasons.push(NotReady::NotListed);
        }
        if !status.quorum {
            reasons.push(NotReady::NoQuorum);
        }
        Health::of(reasons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_say_whether_a_restart_helps() {
        let fine = Health::of(Vec::new());
        assert!(fine.live && fine.ready);
        assert_eq!(fine.to_string(), "ready");
        let cut_off = Health::of(vec![NotReady::NotListed, NotReady::NoQuorum]);
        assert!(cut_off.live && !cut_off.ready);
        let said = "not ready: it is not on the list of nodes, no leader with a majority answers";
        assert_eq!(cut_off.to_string(), said);
        let deaf = Health::of(vec![NotReady::TaskEnded { task: "listener" }]);
        assert!(!deaf.live && !deaf.ready);
        assert_eq!(deaf.to_string(), "not live: its listener has ended");
    }
}
