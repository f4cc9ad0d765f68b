//! When the leader last heard of every node: its own clock only, so that no clocks are compared.

use std::{collections::HashMap, time::Duration};

use dchan_core::NodeId;
use tokio::time::Instant;

/// When the leader last heard of every node.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    term: u64,
    looked: Option<Instant>,
    heard: HashMap<NodeId, Instant>,
}

impl Leases {
    pub(crate) fn heard(&mut self, id: NodeId, now: Instant) {
        // Only who is tracked, so that strangers do not make it grow.
        if let Some(last) = self.heard.get_mut(&id) {
            *last = now;
        }
    }

    /// How long a node has been silent. Nobody knows of a node that is not tracked.
    pub(crate) fn silence(&self, id: NodeId, now: Instant) -> Option<Duration> {
        Some(now.duration_since(*self.heard.get(&id)?))
    }

    /// Those of `nodes` that have been silent for longer than `limit`.
    ///
    /// All clocks start afresh in a new term; and if this was not called for half that time: then it
    /// is this process that was asleep.
    pub(crate) fn silent(
        &mut self,
        term: u64,
        nodes: impl IntoIterator<Item = NodeId>,
        now: Instant,
        limit: Duration,
    ) -> Vec<NodeId> {
        let slept = self.looked.is_none_or(|last| now.duration_since(last) > limit / 2);
        if self.term != term || slept {
            self.heard.clear();
        }
        self.term = term;
        self.looked = Some(now);
        let old = std::mem::take(&mut self.heard);
        let known = |id| (id, old.get(&id).copied().unwrap_or(now));
        self.heard = nodes.into_iter().map(known).collect();
        let silent = self.heard.iter().filter(|(_, last)| now.duration_since(**last) > limit);
        let mut silent: Vec<NodeId> = silent.map(|(id, _)| *id).collect();
        silent.sort();
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn who_is_silent_is_named_once_it_is_too_long() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        let nodes = [NodeId(1), NodeId(2)];
        for second in 0..=10 {
            let now = start + Duration::from_secs(second);
            assert!(leases.silent(1, nodes, now, LIMIT).is_empty());
            leases.heard(NodeId(1), now);
        }
        assert_eq!(leases.silent(1, nodes, start + Duration::from_secs(11), LIMIT), [NodeId(2)]);
    }

    #[test]
    fn a_new_term_and_a_long_sleep_start_afresh() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.silent(1, [NodeId(1)], start, LIMIT);
        let late = start + Duration::from_secs(4);
        leases.silent(1, [NodeId(1)], late, LIMIT);
        leases.silent(2, [NodeId(1)], late + Duration::from_secs(4), LIMIT);
        let after = late + Duration::from_secs(8);
        assert!(leases.silent(2, [NodeId(1)], after, LIMIT).is_empty(), "a new term");
        let asleep = after + Duration::from_secs(60);
        assert!(leases.silent(2, [NodeId(1)], asleep, LIMIT).is_empty(), "asleep");
    }

    #[test]
    fn strangers_are_not_tracked() {
        let mut leases = Leases::default();
        leases.heard(NodeId(9), Instant::now());
        assert!(leases.heard.is_empty());
    }
}
