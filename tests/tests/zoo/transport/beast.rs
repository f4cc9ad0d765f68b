use std::{mem, pin::Pin, sync::Arc};

use async_trait::async_trait;
use dchan_core::{Addr, Connection, ErrorKind, Incoming, Listener, Transport, TransportError};
use tokio::{sync::Mutex, task::yield_now};

use super::halves::{self, Shared};

/// How a transport is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beast {
    Tame,
    SwapsFrames,
    RepeatsFrames,
    LosesFrames,
    CutsPayloads,
    MergesFrames,
    ForgetsLast,
    SwallowsTooLarge,
    MixesLanes,
    SharesOneLock,
    TakesFromTheMiddle,
    TakesNothing,
    LosesDroppedSends,
    LosesDroppedReceives,
    HoldsBack,
    KeepsLoneFrames,
    SendsFromATaskPerFrame,
    BuffersWithoutEnd,
    SpeaksAfterTheEnd,
    EndsBothWays,
    HangsInClose,
    HidesBreaks,
    KeepsHalvesAlive,
    TakesAnyBytes,
    LeavesTasks,
    NamesOtherErrors,
    DialsOneByOne,
    DialsOnWhenDropped,
    KeepsPortZero,
    ListensForEver,
    AcceptsOneByOne,
    KeepsTheUnready,
    LosesDroppedAccepts,
    MistakesPeers,
}

/// A transport that is broken in one way.
#[derive(Debug)]
pub(crate) struct Broken {
    beast: Beast,
    inner: Arc<dyn Transport>,
    shared: Shared,
    dialling: Mutex<()>,
}

impl Broken {
    pub(crate) fn new(beast: Beast, inner: Arc<dyn Transport>) -> Self {
        Self { beast, inner, shared: Shared::default(), dialling: Mutex::new(()) }
    }

    fn rename(&self, mut error: TransportError) -> TransportError {
        if self.beast == Beast::NamesOtherErrors {
            error.kind = ErrorKind::Exhausted;
        }
        error
    }
}

#[async_trait]
impl Transport for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError> {
        let inner = self.inner.listen(at).await.map_err(|error| self.rename(error))?;
        let (beast, shared, unready) = (self.beast, self.shared.clone(), Arc::default());
        Ok(Box::new(BrokenListener { beast, shared, inner: Some(inner), unready }))
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        let mut one_by_one = None;
        if self.beast == Beast::DialsOneByOne {
            one_by_one = Some(self.dialling.lock().await);
        }
        if self.beast == Beast::LeavesTasks {
            tokio::spawn(std::future::pending::<()>());
        }
        let dialled = if self.beast == Beast::DialsOnWhenDropped {
            let (inner, to) = (self.inner.clone(), to.clone());
            let mut leak = Leak(None);
            leak.0 = Some(inner.dial(&to).await?);
            yield_now().await;
            leak.0.take().expect("it was just put there")
        } else {
            self.inner.dial(to).await.map_err(|error| self.rename(error))?
        };
        drop(one_by_one);
        let mut connection = halves::wrap(self.beast, &self.shared, dialled);
        if self.beast == Beast::MistakesPeers {
            connection.peer = to.with_port(1);
        }
        Ok(connection)
    }
}

#[derive(Debug)]
struct BrokenListener {
    beast: Beast,
    shared: Shared,
    inner: Option<Box<dyn Listener>>,
    /// Held by whoever was accepted last, until it is ready.
    unready: Arc<Mutex<()>>,
}

impl BrokenListener {
    fn inner(&mut self) -> &mut Box<dyn Listener> {
        self.inner.as_mut().expect("there until it is dropped")
    }
}

#[async_trait]
impl Listener for BrokenListener {
    fn local_addr(&self) -> Addr {
        let at = self.inner.as_ref().expect("there until it is dropped").local_addr();
        if self.beast == Beast::KeepsPortZero { at.with_port(0) } else { at }
    }

    async fn accept(&mut self) -> Result<Incoming, TransportError> {
        let mut turn = None;
        if self.beast == Beast::AcceptsOneByOne {
            turn = Some(self.unready.clone().lock_owned().await);
        }
        let incoming = self.inner().accept().await?;
        if self.beast == Beast::LosesDroppedAccepts {
            yield_now().await;
        }
        let (beast, shared) = (self.beast, self.shared.clone());
        if beast == Beast::KeepsTheUnready {
            let leak = Leak(Some(incoming.ready.await?));
            return Ok(Incoming::new(incoming.peer, take_out(leak)));
        }
        Ok(Incoming::new(incoming.peer, async move {
            let connection = incoming.ready.await?;
            drop(turn);
            Ok(halves::wrap(beast, &shared, connection))
        }))
    }
}

impl Drop for BrokenListener {
    fn drop(&mut self) {
        if self.beast == Beast::ListensForEver {
            mem::forget(self.inner.take());
        }
    }
}

/// Keeps a connection for ever if it is dropped with it.
struct Leak(Option<Connection>);

fn take_out(
    mut leak: Leak,
) -> Pin<Box<dyn Future<Output = Result<Connection, TransportError>> + Send>> {
    Box::pin(async move { Ok(leak.0.take().expect("taken once")) })
}

impl Drop for Leak {
    fn drop(&mut self) {
        mem::forget(self.0.take());
    }
}
