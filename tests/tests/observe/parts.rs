//! Parts of a node that fail on request.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dchan_core::{
    Addr, Change, Connection, Context, ErrorKind, Incoming, Listener, Membership, MembershipError,
    MembershipStatus, Transport, TransportError, Version, View,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// A membership that says what a test wants of how it fares.
#[derive(Debug)]
pub(crate) struct Ailing {
    pub(crate) inner: Arc<dyn Membership>,
    pub(crate) status: Mutex<MembershipStatus>,
}

#[async_trait]
impl Membership for Ailing {
    async fn start(&self, context: Context) -> Result<(), MembershipError> {
        self.inner.start(context).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Version, MembershipError> {
        self.inner.apply(changes).await
    }

    fn view(&self) -> watch::Receiver<Arc<View>> {
        self.inner.view()
    }

    fn status(&self) -> MembershipStatus {
        self.status.lock().clone()
    }

    async fn leave(&self, within: Duration) -> Result<(), MembershipError> {
        self.inner.leave(within).await
    }
}

/// A transport whose listener dies on request.
#[derive(Debug)]
pub(crate) struct GoesDeaf {
    pub(crate) inner: Arc<dyn Transport>,
    pub(crate) dies: Arc<Notify>,
}

#[derive(Debug)]
struct Dying {
    inner: Box<dyn Listener>,
    dies: Arc<Notify>,
}

#[async_trait]
impl Transport for GoesDeaf {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError> {
        let inner = self.inner.listen(at).await?;
        Ok(Box::new(Dying { inner, dies: self.dies.clone() }))
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        self.inner.dial(to).await
    }
}

#[async_trait]
impl Listener for Dying {
    fn local_addr(&self) -> Addr {
        self.inner.local_addr()
    }

    async fn accept(&mut self) -> Result<Incoming, TransportError> {
        let at = self.local_addr();
        tokio::select! {
            () = self.dies.notified() => {
                Err(TransportError::new(ErrorKind::Exhausted, "accept at", &at))
            }
            accepted = self.inner.accept() => accepted,
        }
    }
}
