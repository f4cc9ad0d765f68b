//! Keeping the lanes in step with the list, and the list in step with what is open here.

use std::{collections::HashMap, sync::Arc};

use imbl::ordmap::DiffItem;
use tracing::{debug, warn};

use super::Inner;
use crate::{Change, Namespace, NodeId, ReceiverId, View, inbox::Inbox, link::Backoff};

/// What a change of the view means for one namespace.
#[derive(Default)]
struct Difference {
    come: Vec<(ReceiverId, NodeId)>,
    gone: Vec<ReceiverId>,
}

impl Inner {
    /// Follows the view until the node stops.
    pub(super) async fn follow_view(self: Arc<Self>) {
        let mut view = self.shared.view.clone();
        let stopping = self.shared.stopping.clone();
        loop {
            let new = view.borrow_and_update().clone();
            if self.bring_in_step(&new) {
                self.mend_list();
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.forget_peers() => {}
                changed = view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Forgets peers of which nothing is left, whenever there may be some.
    async fn forget_peers(&self) {
        let soon = self.shared.config.times.heartbeat;
        loop {
            if self.peers.forget_idle() {
                tokio::time::sleep(soon).await;
            } else {
                self.shared.idle.notified().await;
            }
        }
    }

    /// Tells each router what has changed for it, and nothing else. Whether the list may need mending since.
    fn bring_in_step(&self, new: &Arc<View>) -> bool {
        let (me, boot) = (self.shared.me.id, self.shared.me.boot);
        let mut differs = false;
        let mut seen = self.seen.lock();
        let mut differences: HashMap<Namespace, Difference> = HashMap::new();
        for item in seen.receivers.diff(&new.receivers) {
            match item {
                DiffItem::Add((name, id), node) => {
                    differs |= id.boot == boot && self.open_inbox(id).is_none();
                    differences.entry(name.clone()).or_default().come.push((*id, *node));
                }
                DiffItem::Remove((name, id), _) => {
                    differs |= id.boot == boot && self.open_inbox(id).is_some();
                    differences.entry(name.clone()).or_default().gone.push(*id);
                }
                DiffItem::Update { .. } => {}
            }
        }
        for item in seen.nodes.diff(&new.nodes) {
            if let DiffItem::Add(id, entry) | DiffItem::Update { new: (id, entry), .. } = item {
                if *id == me {
                    differs = true;
                } else {
                    self.peers.peer(*id, Some(&entry.addr));
                }
            }
        }
        *seen = new.clone();
        for (name, Difference { come, gone }) in differences {
            let router = self.routers.lock().get(&name).cloned();
            if let Some(router) = router {
                router.update(new, &come, &gone);
            }
        }
        differs
    }

    /// That of a receiver that is open here, or is being opened.
    fn open_inbox(&self, id: &ReceiverId) -> Option<Arc<Inbox>> {
        self.shared.inbox(id).filter(|inbox| inbox.is_open())
    }

    /// What must change on the list for it to have just the receivers that are open here.
    fn mending(&self) -> Vec<Change> {
        let view = self.shared.view.borrow().clone();
        let (me, boot) = (self.shared.me.id, self.shared.me.boot);
        let listed = view.nodes.get(&me).is_some_and(|entry| entry.boot == boot);
        if !listed {
            // The membership puts the node back first.
            return Vec::new();
        }
        let registered = self.registered.lock();
        let mut changes = Vec::new();
        for id in registered.iter() {
            if let Some(inbox) = self.open_inbox(id)
                && !view.receivers.contains_key(&inbox.key())
            {
                let namespace = inbox.namespace.clone();
                changes.push(Change::Receiver { namespace, id: *id, node: me });
            }
        }
        for (namespace, id) in view.receivers_on(me) {
            // One that is being opened is here before it is registered.
            if id.boot == boot && self.open_inbox(id).is_none() {
                changes.push(Change::ReceiverGone { namespace: namespace.clone(), id: *id });
            }
        }
        changes
    }

    /// Has the list mended, in the background, which is a look at all receivers of this node. It costs nothing to
    /// say it again meanwhile: a storm of receivers that close is one such look, not one for each.
    pub(super) fn mend_list(&self) {
        self.mends.notify_one();
    }

    /// Mends the list whenever that is asked for, until the node stops.
    pub(super) async fn keep_list(self: Arc<Self>) {
        let (first, most) = self.shared.config.times.redial;
        let fresh = || Backoff::new(first, most, self.shared.random());
        let mut backoff = fresh();
        let mend = async {
            loop {
                self.mends.notified().await;
                let changes = self.mending();
                if changes.is_empty() {
                    continue;
                }
                debug!(changes = changes.len(), "mending the list");
                match self.membership.apply(changes).await {
                    Ok(_) => backoff = fresh(),
                    Err(error) => {
                        if let Some(held) = self.shared.log.pass("mending") {
                            let suppressed = held.lines();
                            warn!(%error, suppressed, "the list cannot be mended yet");
                        }
                        tokio::time::sleep(backoff.next_wait()).await;
                        self.mend_list();
                    }
                }
            }
        };
        self.shared.stopping.run_until_cancelled(mend).await;
    }
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
