//! The list, as Raft builds it from its log. It is kept in memory, and rebuilt from the latest
//! snapshot and the log.

use std::{io, sync::Arc};

use bytes::Bytes;
use dchan_core::{Boot, Change, ClusterId, NodeId, View};
use futures::{Stream, StreamExt};
use imbl::OrdMap;
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Files, Store, damaged, encode_io};
use crate::{
    telemetry::Telemetry,
    types::{Command, LogId, Origin, Snapshot, SnapshotMeta, StoredMembership, Types, decode},
};

/// The list, and how far the log is in it.
#[derive(Debug)]
pub(crate) struct Machine {
    list: List,
    last: Option<LogId>,
    membership: StoredMembership,
    files: Files,
    published: Arc<watch::Sender<Arc<View>>>,
    telemetry: Arc<Telemetry>,
    /// Kept so that it can be told when Raft has let go of everything.
    _token: Option<TaskTrackerToken>,
}

/// What snapshots hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct List {
    pub(crate) view: View,
    /// The last command of every node on the list.
    sessions: OrdMap<NodeId, Session>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Session {
    session: u64,
    boot: Boot,
    number: u64,
}

/// Whether a snapshot that another node sent can be used: Raft would stop if it could not. What it says
/// of one receiver fits what it says of its node.
pub(crate) fn is_list(snapshot: &[u8], of: Option<ClusterId>) -> bool {
    decode::<List>(snapshot).is_ok_and(|list| list.view.cluster == of && list.view.is_sound())
}

impl Machine {
    pub(crate) fn new(
        store: &Store,
        cluster: ClusterId,
        published: Arc<watch::Sender<Arc<View>>>,
        telemetry: Arc<Telemetry>,
        token: Option<TaskTrackerToken>,
    ) -> Self {
        Self {
            list: List { view: View::of_cluster(cluster), sessions: OrdMap::new() },
            last: None,
            membership: StoredMembership::default(),
            files: store.files(),
            published,
            telemetry,
            _token: token,
        }
    }

    fn publish(&self) {
        self.published.send_if_modified(|shown| {
            let leader = shown.leader;
            let changed =
                shown.version != self.list.view.version || shown.cluster != self.list.view.cluster;
            if changed {
                let mut view = self.list.view.clone();
                view.leader = leader;
                *shown = Arc::new(view);
            }
            changed
        });
    }
}

impl List {
    pub(crate) fn apply(&mut self, command: &Command, telemetry: &Telemetry) {
        let changes = match command.changes() {
            Ok(changes) => changes,
            Err(error) => {
                // The leader checks commands before it logs them. Every node skips it alike.
                telemetry.malformed("changes", &error);
                return;
            }
        };
        if self.repeated(&command.origin) {
            tracing::debug!(%command, "a repeated command is skipped");
            return;
        }
        self.view.apply(&changes);
        let Origin { node, boot, session, number } = command.origin;
        self.sessions.insert(node, Session { session, boot, number });
        for change in &changes {
            if let Change::NodeGone { id, .. } = change {
                self.forget(*id);
            }
        }
        // A command of an unlisted node that comes late changes nothing that lasts: it has no
        // receivers, and its lease runs out.
        self.forget(node);
    }

    fn repeated(&self, origin: &Origin) -> bool {
        self.sessions.get(&origin.node).is_some_and(|last| {
            let same = origin.session == last.session && origin.boot == last.boot;
            origin.session < last.session || (same && origin.number <= last.number)
        })
    }

    fn forget(&mut self, node: NodeId) {
        if !self.view.nodes.contains_key(&node) {
            self.sessions.remove(&node);
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut answers = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.last = Some(entry.log_id);
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(command) => self.list.apply(command, &self.telemetry),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                }
            }
            answers.extend(responder.map(|responder| (responder, self.list.view.version)));
        }
        // Whoever is answered finds the change in the view.
        self.publish();
        for (responder, version) in answers {
            responder.send(version);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            meta: SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() },
            list: self.list.clone(),
            files: self.files.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> io::Result<()> {
        self.list = decode(&data).map_err(damaged)?;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.files.save(meta.clone(), data).await?;
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.files.load().await
    }
}

/// Makes a snapshot of a list that no longer changes.
#[derive(Debug)]
pub(crate) struct Builder {
    meta: SnapshotMeta,
    list: List,
    files: Files,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (list, meta) = (self.list.clone(), self.meta.clone());
        let data = self.files.run(move || encode_io(&list).map(Bytes::from)).await?;
        self.files.save(meta.clone(), data.clone()).await?;
        tracing::debug!(bytes = data.len(), %meta, "made a snapshot");
        Ok(Snapshot { meta, snapshot: data })
    }
}
