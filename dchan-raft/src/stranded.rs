//! What to say when there is no leader with a majority: whether there can ever be one.

use std::{collections::BTreeSet, time::Duration};

use dchan_core::{Addr, NodeId};
use futures::future::join_all;
use openraft::async_runtime::watch::WatchReceiver;

use crate::{reminder::Reminder, shared::Shared};

/// How long an election may take before anything is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long there has been no leader with a majority.
#[derive(Debug)]
pub(crate) struct Stranded {
    reminder: Reminder,
}

impl Stranded {
    pub(crate) fn new() -> Self {
        Self { reminder: Reminder::new(PATIENCE) }
    }

    pub(crate) fn led(&mut self) {
        *self = Self::new();
    }

    /// Says it, if it is time to.
    pub(crate) async fn unled(&mut self, shared: &Shared) {
        let Some(silent) = self.reminder.due() else { return };
        match lost(shared).await {
            Some(lost) => tracing::error!(
                ?silent,
                "{lost}: the cluster cannot recover. Stop all of its nodes, move their data \
                 directories away, and start them anew"
            ),
            None => tracing::warn!(
                ?silent,
                "there is no leader with a majority: channels that are open flow on, and opening waits until a \
                 majority of the founders runs again, each with its data directory"
            ),
        }
    }
}

/// Which founders have lost what they knew, if those that are left are no majority.
///
/// Only a node that has been in the cluster knows who they were; and one that is down has lost nothing
/// for all that anybody knows.
pub(crate) async fn lost(shared: &Shared) -> Option<String> {
    let voters = {
        let metrics = shared.raft.get()?.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership().clone();
        let ids: BTreeSet<u64> = members.voter_ids().collect();
        let at = |id| Some((NodeId(id), members.get_node(&id)?.addr.parse::<Addr>().ok()?));
        ids.into_iter().filter_map(at).collect::<Vec<_>>()
    };
    let within = shared.config.times.request;
    let looks = voters.iter().filter(|(id, _)| *id != shared.me.id).map(|(id, addr)| async move {
        let found = shared.peers.requests.identify(addr, within).await;
        found.is_ok_and(|info| info.id != *id).then(|| addr.to_string())
    });
    let lost: Vec<String> = join_all(looks).await.into_iter().flatten().collect();
    let majority = voters.len() / 2 + 1;
    let is_lost = !voters.is_empty() && voters.len() - lost.len() < majority;
    is_lost.then(|| {
        let (count, all, who) = (lost.len(), voters.len(), lost.join(", "));
        format!("{count} of {all} founders have lost their data directories ({who})")
    })
}
