use std::{fmt, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::consume_budget};

use super::{MemoryNetwork, link::End};
use crate::{
    Addr, Connection, ErrorKind, Frame, FrameBatch, FrameSink, FrameStream, Incoming, Listener,
    Received, Transport, TransportError,
};

/// How many connections may wait to be accepted before dials wait too.
pub(super) const BACKLOG: usize = 128;

/// The way of one node onto a [`MemoryNetwork`].
#[derive(Debug)]
pub(super) struct MemoryTransport {
    network: MemoryNetwork,
    /// Where its dials come from.
    place: Mutex<Addr>,
}

impl MemoryTransport {
    pub(super) fn new(network: MemoryNetwork, place: Addr) -> Self {
        Self { network, place: Mutex::new(place) }
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError> {
        let (at, knocks) = self.network.bind(at)?;
        let mut place = self.place.lock();
        if place.port() == 0 {
            *place = at.clone();
        }
        Ok(Box::new(MemoryListener { network: self.network.clone(), at, knocks }))
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        let from = self.place.lock().clone();
        let end = self.network.connect(&from, to).await?;
        Ok(connection(end))
    }
}

struct MemoryListener {
    network: MemoryNetwork,
    at: Addr,
    knocks: mpsc::Receiver<Arc<End>>,
}

impl fmt::Debug for MemoryListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryListener").field("at", &self.at).finish_non_exhaustive()
    }
}

#[async_trait]
impl Listener for MemoryListener {
    fn local_addr(&self) -> Addr {
        self.at.clone()
    }

    async fn accept(&mut self) -> Result<Incoming, TransportError> {
        match self.knocks.recv().await {
            Some(end) => Ok(Incoming::new(end.peer().clone(), async move { Ok(connection(end)) })),
            None => Err(TransportError::new(ErrorKind::Broken, "accept at", &self.at)),
        }
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.network.unbind(&self.at);
    }
}

fn connection(end: Arc<End>) -> Connection {
    let peer = end.peer().clone();
    Connection::new(MemorySink(end.clone()), MemoryStream(end), peer)
}

struct MemorySink(Arc<End>);
struct MemoryStream(Arc<End>);

#[async_trait]
impl FrameSink for MemorySink {
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
        let error = |kind| TransportError::new(kind, "send to", self.0.peer());
        if batch.iter().any(|frame| frame.payload.len() > Frame::MAX) {
            return Err(error(ErrorKind::Protocol));
        }
        // Nothing here ever waits for the system: without this a busy pair would starve its thread.
        consume_budget().await;
        if batch.is_empty() {
            return Ok(());
        }
        self.0.send(batch).await.map_err(error)
    }

    fn is_flushed(&self) -> bool {
        true
    }

    async fn close(self: Box<Self>) -> Result<(), TransportError> {
        self.0.close().map_err(|kind| TransportError::new(kind, "close to", self.0.peer()))
    }
}

#[async_trait]
impl FrameStream for MemoryStream {
    async fn recv(&mut self, batch: &mut FrameBatch) -> Result<Received, TransportError> {
        consume_budget().await;
        let error = |kind| TransportError::new(kind, "receive from", self.0.peer());
        self.0.recv(batch).await.map_err(error)
    }
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySink({} to {})", self.0.here(), self.0.peer())
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStream({} from {})", self.0.here(), self.0.peer())
    }
}
