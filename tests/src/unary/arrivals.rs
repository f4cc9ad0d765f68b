use std::sync::Arc;

use async_trait::async_trait;
use dchan_core::{Addr, Frame, FrameBatch, FrameStream, Received, TransportError};
use tokio::sync::mpsc;
use tonic::Status;

use super::{failed, tasks::Tasks};

/// The frames of one message; none at the end; or why there are no more.
pub(super) type Arrival = Result<Option<Vec<Frame>>, Status>;

/// What has arrived, whichever side called: one message, and the next has to wait.
#[derive(Debug)]
pub(super) struct Arrivals {
    arrived: mpsc::Receiver<Arrival>,
    ended: bool,
    tasks: Arc<Tasks>,
    peer: Addr,
}

impl Arrivals {
    pub(super) fn new(arrived: mpsc::Receiver<Arrival>, tasks: Arc<Tasks>, peer: Addr) -> Self {
        Self { arrived, ended: false, tasks, peer }
    }
}

#[async_trait]
impl FrameStream for Arrivals {
    async fn recv(&mut self, batch: &mut FrameBatch) -> Result<Received, TransportError> {
        if self.ended {
            return Ok(Received::End);
        }
        let broken = || Err(Status::unavailable("the connection is broken"));
        let arrival = self.arrived.recv().await.unwrap_or_else(broken);
        let failed = |status| failed("receive from", &self.peer, status);
        let Some(frames) = arrival.map_err(failed)? else {
            self.ended = true;
            self.tasks.ended();
            return Ok(Received::End);
        };
        frames.into_iter().for_each(|frame| batch.push(frame));
        Ok(Received::Frames)
    }
}
