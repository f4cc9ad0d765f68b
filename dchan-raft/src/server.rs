//! Answers the questions of other nodes, many at a time: no slow one holds up another.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use dchan_core::{NodeId, Question};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout},
};

use crate::{
    leader,
    rpc::{Answer, Ask, Chunk, Envelope, Status},
    shared::Shared,
    sound, store,
    transfer::{self, Taken},
    types::{Founding, Raft, encode},
};

/// Reads questions for as long as there are any.
pub(crate) async fn run(shared: Arc<Shared>, mut questions: mpsc::Receiver<Question>) {
    let half = shared.config.limits.questions / 2;
    let (raft, others) = (Arc::new(Semaphore::new(half)), Arc::new(Semaphore::new(half)));
    while let Some(Question { from, body, reply }) = questions.recv().await {
        let Envelope { cluster, question } = match Envelope::decode(&body) {
            Ok(envelope) => envelope,
            Err(error) => {
                shared.telemetry().malformed("question", &error);
                continue;
            }
        };
        if let Err(reason) = sound::question(from, &question) {
            shared.telemetry().malformed("question", &reason);
            continue;
        }
        let room = if question.is_raft() { &raft } else { &others };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            shared.telemetry().busy();
            continue;
        };
        let own = shared.peers.cluster();
        if !question.is_for_strangers() && (own.is_none() || cluster != own) {
            tracing::debug!(peer = %from, ?cluster, ?own, "a question about another cluster");
            continue;
        }
        let answering = answering(shared.clone(), from, question, permit, reply);
        start(&shared, Box::pin(answering)).await;
    }
}

/// Begins to answer before the next question is looked at: so entries reach Raft in the order in which
/// they were sent.
async fn start(
    shared: &Arc<Shared>,
    mut answering: Pin<Box<impl Future<Output = ()> + Send + 'static>>,
) {
    if futures::poll!(answering.as_mut()).is_pending() {
        shared.spawn(answering);
    }
}

async fn answering(
    shared: Arc<Shared>,
    from: NodeId,
    question: Ask,
    permit: OwnedSemaphorePermit,
    reply: tokio::sync::oneshot::Sender<Bytes>,
) {
    let Some(answer) = answer(&shared, from, question).await else { return };
    match encode(&answer) {
        // Whoever asked may have given up.
        Ok(bytes) => drop(reply.send(bytes)),
        Err(error) => tracing::error!(%error, "an answer cannot be encoded"),
    }
    drop(permit);
}

/// The answer; none if this node cannot say anything.
async fn answer(shared: &Arc<Shared>, from: NodeId, question: Ask) -> Option<Answer> {
    match question {
        Ask::Status => Some(Answer::Status(status(shared))),
        Ask::Found(founding) => found(shared, founding).await,
        Ask::Snapshot(chunk) => snapshot(shared, from, chunk).await,
        Ask::Append(_) | Ask::Vote(_) | Ask::PreVote(_) | Ask::TransferLeader(_) => {
            raft(shared.running()?, question).await
        }
        question => Some(leader::answer(shared, from, question).await),
    }
}

/// What Raft says. A failure of its own is no answer.
async fn raft(raft: &Raft, question: Ask) -> Option<Answer> {
    match question {
        Ask::Append(rpc) => raft.append_entries(rpc).await.ok().map(Answer::Append),
        Ask::Vote(rpc) => raft.vote(rpc).await.ok().map(Answer::Vote),
        Ask::PreVote(rpc) => raft.pre_vote(rpc).await.ok().map(Answer::Vote),
        Ask::TransferLeader(rpc) => {
            raft.handle_transfer_leader(rpc).await.ok().map(Answer::Transferred)
        }
        _ => None,
    }
}

fn status(shared: &Shared) -> Status {
    let belonging = shared.store.belonging();
    match belonging.cluster {
        Some(cluster) => Status::Member { cluster, founding: belonging.founding },
        None => {
            let founder = shared.is_founder();
            let founders = if founder { shared.config.founders.clone() } else { Vec::new() };
            Status::Empty { founders }
        }
    }
}

async fn found(shared: &Shared, founding: Founding) -> Option<Answer> {
    let ours = shared.config.founders.iter().eq(founding.founders.keys());
    if !ours || founding.founders.get(&shared.me.addr) != Some(&shared.me.id) {
        if let Some(held) = shared.telemetry().log.pass("founding") {
            let suppressed = held.lines();
            tracing::warn!(?founding, founders = ?shared.config.founders, suppressed, "founding refused: the lists of founders differ");
        }
        return Some(Answer::Refused("the lists of founders differ".into()));
    }
    let belonging = match shared.store.accept(founding).await {
        Ok(belonging) => belonging,
        Err(error) => {
            tracing::error!(%error, "a founding cannot be written down");
            return None;
        }
    };
    shared.room.accepted.notify_one();
    // The proposer asks for votes next: this node should be able to give its own.
    let ready = timeout(shared.config.times.request / 2, shared.raft.wait());
    let _ = ready.await;
    belonging.founding.map(Answer::Accepted)
}

async fn snapshot(shared: &Shared, from: NodeId, chunk: Chunk) -> Option<Answer> {
    let raft = shared.running()?;
    let known = raft.metrics().borrow_watched().vote;
    if chunk.vote < known {
        return Some(Answer::Installed(openraft::raft::SnapshotResponse::new(known)));
    }
    let limit = shared.config.limits.snapshot;
    let taken =
        transfer::take(&mut shared.room.assembly.lock(), from, chunk, limit, Instant::now());
    match taken {
        Taken::More => Some(Answer::More),
        Taken::Complete(_, snapshot)
            if !store::is_list(&snapshot.snapshot, shared.peers.cluster()) =>
        {
            let reason = "a snapshot that is no list of this cluster";
            shared.telemetry().malformed("snapshot", &reason);
            Some(Answer::Refused(reason.into()))
        }
        Taken::Complete(vote, snapshot) => {
            let installed = raft.install_full_snapshot(vote, snapshot).await;
            installed.ok().map(Answer::Installed)
        }
        Taken::Wrong(reason) => {
            shared.telemetry().malformed("snapshot", &reason);
            Some(Answer::Refused(reason.into()))
        }
    }
}
