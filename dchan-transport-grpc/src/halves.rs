use std::{fmt, sync::Arc};

use async_trait::async_trait;
use dchan_core::{
    Addr, Connection, ErrorKind, Frame, FrameBatch, FrameSink, FrameStream, Identity, Received,
    TransportError,
};
use futures::StreamExt;
use tonic::Streaming;

use crate::{
    codec::Frames,
    error,
    queue::{Over, Queue},
    tasks::Tasks,
};

/// Puts a connection together: the same on both sides, once the call stands.
pub(crate) fn connection(
    queue: Arc<Queue>,
    incoming: Streaming<Frames>,
    tasks: Tasks,
    peer: Addr,
    identity: Option<Identity>,
) -> Connection {
    let tasks = Arc::new(tasks);
    let sink = GrpcSink { queue, tasks: tasks.clone(), peer: peer.clone() };
    let stream = GrpcStream { incoming, ended: false, tasks, peer: peer.clone() };
    let connection = Connection::new(sink, stream, peer);
    match identity {
        Some(identity) => connection.with_identity(identity),
        None => connection,
    }
}

struct GrpcSink {
    queue: Arc<Queue>,
    tasks: Arc<Tasks>,
    peer: Addr,
}

#[async_trait]
impl FrameSink for GrpcSink {
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
        if batch.iter().any(|frame| frame.payload.len() > Frame::MAX) {
            return Err(TransportError::new(ErrorKind::Protocol, "send to", &self.peer));
        }
        let sent = if batch.is_empty() {
            // What was taken goes out by itself.
            self.queue.check()
        } else {
            self.queue.push(batch).await
        };
        sent.map_err(|Over| TransportError::new(ErrorKind::Broken, "send to", &self.peer))
    }

    async fn close(self: Box<Self>) -> Result<(), TransportError> {
        let closed = self.queue.close().await;
        closed.map_err(|Over| TransportError::new(ErrorKind::Broken, "close to", &self.peer))?;
        self.tasks.sent_all();
        Ok(())
    }
}

struct GrpcStream {
    incoming: Streaming<Frames>,
    ended: bool,
    tasks: Arc<Tasks>,
    peer: Addr,
}

#[async_trait]
impl FrameStream for GrpcStream {
    async fn recv(&mut self, batch: &mut FrameBatch) -> Result<Received, TransportError> {
        while !self.ended {
            match self.incoming.next().await {
                Some(Ok(Frames(frames))) if frames.is_empty() => {}
                Some(Ok(Frames(frames))) => {
                    frames.into_iter().for_each(|frame| batch.push(frame));
                    return Ok(Received::Frames);
                }
                Some(Err(status)) => {
                    return Err(error::status("receive from", &self.peer, status));
                }
                None => {
                    self.ended = true;
                    self.tasks.seen_all();
                }
            }
        }
        Ok(Received::End)
    }
}

impl fmt::Debug for GrpcSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcSink").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl fmt::Debug for GrpcStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcStream").field("peer", &self.peer).finish_non_exhaustive()
    }
}
