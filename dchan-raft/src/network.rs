//! Raft's messages to other nodes.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use dchan_core::{Addr, NodeId, RequestError};
use futures::{Stream, StreamExt, stream};
use openraft::{
    BasicNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    rpc::{Answer, Ask, AskError, Chunk},
    shared::Peers,
    types::{LogId, Snapshot, Types, Vote},
};

/// How many requests with entries are on their way to one node.
const PIPELINE: usize = 4;

/// Makes a [`Peer`] for every node that Raft speaks to.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) peers: Peers,
    /// How long to wait for an answer to what carries data.
    pub(crate) within: Duration,
    pub(crate) chunk: usize,
    /// Kept so that it can be told when Raft has let go of everything.
    pub(crate) _token: TaskTrackerToken,
}

/// One node that Raft speaks to.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    id: NodeId,
    told: Option<Addr>,
    network: Network,
}

type Rpc<T> = Result<T, RPCError<Types>>;
type Appended = Rpc<StreamAppendResult<Types>>;

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        let told = node.addr.parse().ok();
        Peer { id: NodeId(target), told, network: self.clone() }
    }
}

impl Peer {
    async fn ask(&self, question: Ask, within: Duration) -> Result<Answer, AskError> {
        let peers = &self.network.peers;
        let addr = peers.addr_of(self.id).or_else(|| self.told.clone());
        let addr = addr.ok_or(AskError::NoLeader)?;
        peers.ask(self.id, &addr, question, within).await
    }

    async fn append(&self, rpc: AppendEntriesRequest<Types>, option: &RPCOption) -> Appended {
        let (prev, last) = (rpc.prev_log_id, last_of(&rpc));
        // A heartbeat that is late is of no use; entries may take their time on a slow link.
        let data = !rpc.entries.is_empty();
        let within = if data { self.network.within } else { option.soft_ttl() };
        match self.ask(Ask::Append(rpc), within).await.map_err(failed)? {
            Answer::Append(AppendEntriesResponse::Conflict) if prev.is_none() => {
                Err(failed(AskError::Unexpected))
            }
            Answer::Append(AppendEntriesResponse::PartialSuccess(found)) if found > last => {
                Err(failed(AskError::Unexpected))
            }
            Answer::Append(answer) => Ok(answer.into_stream_result(prev, last)),
            _ => Err(failed(AskError::Unexpected)),
        }
    }

    async fn vote_answer(&self, question: Ask, option: &RPCOption) -> Rpc<VoteResponse<Types>> {
        match self.ask(question, option.soft_ttl()).await.map_err(failed)? {
            Answer::Vote(answer) => Ok(answer),
            _ => Err(failed(AskError::Unexpected)),
        }
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<Types>, AskError> {
        let (meta, mut rest): (_, Bytes) = (snapshot.meta, snapshot.snapshot);
        let (total, mut offset) = (rest.len() as u64, 0);
        loop {
            let data = rest.split_to(rest.len().min(self.network.chunk));
            let sent = data.len() as u64;
            let chunk = Chunk { vote, meta: meta.clone(), total, offset, data };
            offset += sent;
            match self.ask(Ask::Snapshot(chunk), self.network.within).await? {
                Answer::More if offset < total => {}
                Answer::Installed(answer) => return Ok(answer),
                _ => return Err(AskError::Unexpected),
            }
        }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        self.append(rpc, &option).await.map(AppendEntriesResponse::from)
    }

    /// Several requests are on their way at a time: a round trip is not a limit on throughput.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Appended>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let peer = self.clone();
        let answers = input.map(move |rpc| {
            let (peer, option, last) = (peer.clone(), option.clone(), last_of(&rpc));
            async move { (last, peer.append(rpc, &option).await) }
        });
        let answers: Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(answers.buffered(PIPELINE));
        // What follows a failure, or a request that was done in part, rests on what is not there.
        let answers = stream::unfold(Some(answers), |answers| async {
            let mut answers = answers?;
            let (last, answer) = answers.next().await?;
            let whole = matches!(&answer, Ok(Ok(upto)) if *upto == last);
            Some((answer, whole.then_some(answers)))
        });
        Box::pin(async move { Ok(Box::pin(answers) as BoxStream<'s, _>) })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        self.vote_answer(Ask::Vote(rpc), &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        self.vote_answer(Ask::PreVote(rpc), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => Ok(sent.map_err(failed)?),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        match self.ask(Ask::TransferLeader(req), option.soft_ttl()).await.map_err(failed)? {
            Answer::Transferred(answer) => Ok(answer),
            _ => Err(failed(AskError::Unexpected)),
        }
    }
}

fn last_of(rpc: &AppendEntriesRequest<Types>) -> Option<LogId> {
    rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id)
}

/// Raft waits before it tries again only if it is told that a node is unreachable.
fn failed(error: AskError) -> RPCError<Types> {
    match &error {
        AskError::Request(RequestError::TimedOut | RequestError::Broken) => {
            NetworkError::new(&error).into()
        }
        _ => Unreachable::new(&error).into(),
    }
}
