//! What one sees of a node: its numbers, and what its log tells by itself.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tracing::{info, warn};

use super::{Health, Inner, Node};
use crate::{
    Namespace,
    metrics::{ListMetrics, Metrics, NamespaceMetrics},
};

/// How often the node looks at itself. Nothing waits for it, and an idle node wakes up for it.
const LOOK: Duration = Duration::from_secs(2);

impl Node {
    /// What the node can say of itself in numbers. Costs a lock for each peer and lane, a moment long
    /// each: fine once a second, too much for each message.
    pub fn metrics(&self) -> Metrics {
        self.inner().metrics()
    }
}

impl Inner {
    fn metrics(&self) -> Metrics {
        let health = self.health();
        let view = self.shared.view.borrow().clone();
        let list = ListMetrics {
            version: view.version,
            leader: view.leader,
            nodes: view.nodes.len(),
            receivers: view.receivers.len(),
            status: self.membership.status(),
        };
        Metrics {
            node: self.shared.me.id,
            uptime: self.shared.started.elapsed(),
            live: health.live,
            ready: health.ready,
            tasks: self.shared.tasks.len(),
            handshakes_failed: self.shared.counters.handshakes_failed.read(),
            breaches: self.shared.counters.breaches.read(),
            list,
            peers: self.peers.all().iter().map(|peer| (peer.id, peer.metrics())).collect(),
            namespaces: self.namespaces(),
            retained: self.shared.budget.metrics(),
            ledger: self.account(),
        }
    }

    fn namespaces(&self) -> BTreeMap<Namespace, NamespaceMetrics> {
        let view = self.shared.view.borrow().clone();
        let routers = self.all_routers();
        let mut all: BTreeMap<Namespace, NamespaceMetrics> =
            routers.iter().map(|router| (router.namespace.clone(), router.metrics())).collect();
        for inbox in self.inboxes() {
            let entry = all.entry(inbox.namespace.clone()).or_insert_with(|| NamespaceMetrics {
                receivers: view.receivers_of(&inbox.namespace).count(),
                ..NamespaceMetrics::default()
            });
            let queued = inbox.queued();
            entry.receivers_here += 1;
            entry.queued += queued.messages;
            entry.queued_bytes += queued.bytes;
        }
        all
    }

    /// Tells the log of changes of the node's health, and of lines that were held back, until it stops.
    pub(super) async fn observe(self: Arc<Self>) {
        let stopping = self.shared.stopping.clone();
        let mut before = Health::of(Vec::new());
        while stopping.run_until_cancelled(self.shared.timers.sleep(LOOK)).await.is_some() {
            let now = self.health();
            if now != before && self.shared.log.pass("health").is_some() {
                now.log();
                before = now;
            }
            self.tell_held_back();
        }
    }

    fn tell_held_back(&self) {
        for (kind, suppressed) in self.shared.log.overdue() {
            warn!(kind, suppressed, "more of the same was not logged");
        }
        for peer in self.peers.all() {
            let up = peer.is_up();
            for (kind, suppressed) in peer.log.overdue() {
                info!(peer = %peer.id, kind, suppressed, up, "more of the same was not logged");
            }
        }
    }
}
