//! Changes on their way into the log: those that wait together go together, in one entry.

use std::sync::Arc;

use dchan_core::{Change, MembershipError, Version};
use tokio::sync::{mpsc, oneshot};

use crate::{
    rpc::{Answer, Ask, AskError},
    shared::{Backoff, Shared},
    types::{Command, Origin, encode},
};

/// The changes of one call.
#[derive(Debug)]
pub(crate) struct Proposal {
    changes: Vec<Change>,
    len: usize,
    reply: oneshot::Sender<Result<Version, String>>,
}

/// What an entry holds besides the changes, in bytes, at most.
const OVERHEAD: usize = 128;

impl Shared {
    /// Makes changes, and returns when they are committed. This node may not show them yet.
    pub(crate) async fn propose(&self, changes: Vec<Change>) -> Result<Version, MembershipError> {
        let storage = |error| MembershipError::Storage(Box::new(error));
        let len = encode(&changes).map_err(storage)?.len();
        let max = self.config.limits.entry - OVERHEAD;
        if len > max {
            return Err(MembershipError::TooLarge { len, max });
        }
        let (reply, made) = oneshot::channel();
        let proposal = Proposal { changes, len, reply };
        let committed = async {
            self.proposals.send(proposal).await.map_err(|_| MembershipError::Stopped)?;
            let made = made.await.map_err(|_| MembershipError::Stopped)?;
            made.map_err(MembershipError::Refused)
        };
        tokio::select! {
            () = self.room.stop.cancelled() => Err(MembershipError::Stopped),
            version = committed => version,
        }
    }

    /// Makes changes, and returns when this node shows them.
    pub(crate) async fn apply(&self, changes: Vec<Change>) -> Result<Version, MembershipError> {
        let shown = async {
            let version = self.propose(changes).await?;
            let mut shown = self.peers.view.subscribe();
            let shown = shown.wait_for(|view| view.version >= version).await;
            shown.map(|_| version).map_err(|_| MembershipError::Stopped)
        };
        tokio::select! {
            biased;
            fault = self.room.fault.wait() => Err(self.faulty(fault)),
            () = self.room.stop.cancelled() => Err(MembershipError::Stopped),
            version = shown => version,
        }
    }

    pub(crate) fn faulty(&self, fault: &str) -> MembershipError {
        match &*self.room.refused.borrow() {
            Some(reason) => MembershipError::Refused(reason.clone()),
            None => MembershipError::Storage(fault.into()),
        }
    }
}

/// Takes what waits, and has it committed. One command is on its way at a time: so a node's changes
/// are made in the order in which it asked for them, and a repeated command is known by its number.
pub(crate) async fn run(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Proposal>) {
    let max = shared.config.limits.entry - OVERHEAD;
    let session = shared.life().incarnation.0;
    let (mut number, mut left) = (0, None);
    loop {
        let first = match left.take() {
            Some(first) => Some(first),
            None => waiting.recv().await,
        };
        let Some(first) = first else { return };
        let (batch, over) = gather(first, &mut waiting, max);
        left = over;
        number += 1;
        let origin = Origin { node: shared.me.id, boot: shared.me.boot, session, number };
        shared.telemetry().proposal(batch.len());
        let (replies, changes): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|proposal| (proposal.reply, proposal.changes)).unzip();
        let command = match Command::new(origin, &changes.concat()) {
            Ok(command) => command,
            Err(error) => {
                tracing::error!(%error, "changes cannot be encoded");
                continue;
            }
        };
        let made = commit(&shared, command).await;
        for reply in replies {
            // Whoever asked may have given up.
            let _ = reply.send(made.clone());
        }
    }
}

/// As many proposals as fit into one entry, and the first one that does not.
fn gather(
    first: Proposal,
    waiting: &mut mpsc::Receiver<Proposal>,
    max: usize,
) -> (Vec<Proposal>, Option<Proposal>) {
    let (mut len, mut batch) = (first.len, vec![first]);
    while let Ok(next) = waiting.try_recv() {
        len += next.len;
        if len > max {
            return (batch, Some(next));
        }
        batch.push(next);
    }
    (batch, None)
}

/// Repeats it until a leader says that it is committed, or that it never will be.
async fn commit(shared: &Shared, command: Command) -> Result<Version, String> {
    let times = &shared.config.times;
    let mut backoff = Backoff::new(times.backoff_max.min(times.election_min));
    let mut reminder = shared.reminder();
    loop {
        match shared.ask_leader(Ask::Forward(command.clone())).await {
            Ok(Answer::Done(version)) => return Ok(version),
            Ok(Answer::Refused(reason)) | Err(AskError::Refused(reason)) => return Err(reason),
            Ok(answer) => tracing::debug!(%command, ?answer, "not committed yet"),
            Err(error) => tracing::debug!(%command, %error, "not committed yet"),
        }
        shared.say_waits(&mut reminder, "a change of the list");
        shared.pause_for_leader(backoff.step(shared)).await;
    }
}
