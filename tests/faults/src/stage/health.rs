//! Whether a stage is well.

use std::{collections::BTreeSet, time::Duration};

use dchan_conformance::cluster::Kind;
use dchan_core::NodeId;
use tokio::time::Instant;

use super::{Stage, eventually, net::Net};
use crate::{player::Player, sockets};

impl Stage {
    /// The seat of the leader, as all say who are there.
    pub async fn leader(&self) -> usize {
        let leads = || {
            let seen: BTreeSet<_> =
                self.live().map(|(_, player)| player.notes.with(|told| told.seen.leader)).collect();
            let leader = seen.first().copied().flatten().filter(|_| seen.len() == 1)?;
            self.live().find(|(_, player)| player.id() == Some(leader)).map(|(at, _)| at)
        };
        eventually(|| leads().map(drop).ok_or_else(|| "nobody leads".into())).await;
        leads().expect("a leader")
    }

    /// Waits until all is well, and returns how long after that moment it is: all nodes that are there
    /// see the same leader, themselves and each other and all open receivers, and nothing else; each
    /// sender that sends has got through to each of its receivers; and no two nodes have more than one
    /// connection, nor a sender and its receiver less.
    pub async fn well(&self, since: Instant) -> Duration {
        eventually(|| self.is_well(since)).await;
        let heal = since.elapsed();
        eventually(|| self.is_linked_once_by_quic()).await;
        heal
    }

    fn is_well(&self, since: Instant) -> Result<(), String> {
        let mut nodes = BTreeSet::new();
        let mut receivers = BTreeSet::new();
        for (at, player) in self.live() {
            nodes.insert(player.id().ok_or_else(|| format!("{at} has not started"))?);
            player.notes.with(|told| receivers.extend(told.receivers.iter().cloned()));
        }
        let mut leaders = BTreeSet::new();
        for (at, player) in self.live() {
            player.notes.with(|told| {
                let wrong = |what: &str| Err(format!("{at} sees {:?}: {what}", told.seen));
                match &told.seen {
                    seen if seen.nodes != nodes => wrong("other nodes"),
                    seen if seen.receivers != receivers => wrong("other receivers"),
                    seen if !seen.leader.is_some_and(|id| nodes.contains(&id)) => {
                        wrong("no leader")
                    }
                    seen => {
                        leaders.extend(seen.leader);
                        Ok(())
                    }
                }
            })?;
        }
        if leaders.len() > 1 {
            return Err(format!("several are said to lead: {leaders:?}"));
        }
        self.is_connected(since)
    }

    fn is_connected(&self, since: Instant) -> Result<(), String> {
        let mut needed = BTreeSet::new();
        for (handle, flow) in &self.flows {
            let receives =
                |(_, player): &(usize, &Player)| player.notes.has_opened(&flow.namespace);
            for (at, player) in self.live().filter(receives) {
                let last = player.notes.with(|told| told.last.get(handle).copied());
                if flow.endless && last.is_none_or(|last| last <= since) {
                    return Err(format!("nothing of {handle} has come to {at}"));
                }
                needed.insert((at.min(flow.seat), at.max(flow.seat)));
            }
        }
        match &self.net {
            Net::Within(cluster) => self.is_once(&needed, |a, b| cluster.connections(a, b)),
            _ if self.is_quic() => self.is_linked(&needed),
            Net::Loopback(_) | Net::Switch(_) => {
                let process = |at| self.player(at).process().id();
                self.is_once(&needed, |a, b| sockets::connections(process(a), process(b)))
            }
        }
    }

    /// No two nodes have more than one connection, and those that need one have it.
    fn is_once(
        &self,
        needed: &BTreeSet<(usize, usize)>,
        connections: impl Fn(usize, usize) -> usize,
    ) -> Result<(), String> {
        let live: Vec<usize> = self.live().map(|(at, _)| at).collect();
        for (first, a) in live.iter().enumerate() {
            for b in &live[first + 1..] {
                let (count, least) = (connections(*a, *b), needed.contains(&(*a, *b)));
                if count > 1 || (least && count == 0) {
                    return Err(format!("{a} and {b} have {count} connections"));
                }
            }
        }
        Ok(())
    }

    /// Whether processes are connected by QUIC: the kernel does not know who is at the other end.
    fn is_quic(&self) -> bool {
        self.over.kind == Kind::Quic && !matches!(self.net, Net::Within(_))
    }

    /// Those that need a connection have one, as they say.
    fn is_linked(&self, needed: &BTreeSet<(usize, usize)>) -> Result<(), String> {
        let linked = self.linked();
        for (a, b) in needed {
            let ids = self.player(*a).id().zip(self.player(*b).id());
            if !ids.is_some_and(|(a, b)| linked.contains(&pair(a, b))) {
                return Err(format!("{a} and {b} are not linked"));
            }
        }
        Ok(())
    }

    /// Who dials by QUIC takes a socket for it, beside the one to listen at, and keeps it for a moment
    /// when the connection is over. There must be as many as pairs that say they are linked.
    fn is_linked_once_by_quic(&self) -> Result<(), String> {
        if !self.is_quic() {
            return Ok(());
        }
        let sockets = self.live().map(|(_, player)| sockets::udp(player.process().id()));
        let dialled: usize = sockets.map(|count| count.saturating_sub(1)).sum();
        let linked = self.linked().len();
        match dialled == linked {
            true => Ok(()),
            false => Err(format!("{dialled} connections between {linked} pairs")),
        }
    }

    /// The pairs that say that they are linked.
    fn linked(&self) -> BTreeSet<(NodeId, NodeId)> {
        let mut linked = BTreeSet::new();
        for (_, player) in self.live() {
            let Some(id) = player.id() else { continue };
            player.notes.with(|told| linked.extend(told.linked.iter().map(|peer| pair(id, *peer))));
        }
        linked
    }

    /// Waits until a node sees that another one is off the list.
    pub async fn not_listed(&self, sees: usize, at: usize) {
        let (notes, id) = (self.notes(sees), self.player(at).id().expect("it has started"));
        eventually(|| match notes.with(|told| told.seen.nodes.contains(&id)) {
            true => Err(format!("{at} is on the list of {sees}")),
            false => Ok(()),
        })
        .await;
    }

    /// The ids of the nodes that are there.
    pub fn ids(&self) -> BTreeSet<NodeId> {
        self.live().filter_map(|(_, player)| player.id()).collect()
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}
