use std::sync::Arc;

use async_trait::async_trait;
use dchan_core::{Addr, Connection, ErrorKind, Listener, Transport, TransportError as Error};
use parking_lot::Mutex;

/// A transport that listens already, so that its address is known before the node starts: the founders
/// of a cluster are known by their addresses.
#[derive(Debug)]
pub(crate) struct Bound {
    transport: Arc<dyn Transport>,
    listener: Mutex<Option<Box<dyn Listener>>>,
}

impl Bound {
    /// Listens, and says where.
    pub(crate) async fn listen(
        transport: Arc<dyn Transport>,
        at: &Addr,
    ) -> Result<(Arc<Self>, Addr), Error> {
        let listener = transport.listen(at).await?;
        let local = listener.local_addr();
        Ok((Arc::new(Self { transport, listener: Mutex::new(Some(listener)) }), local))
    }
}

#[async_trait]
impl Transport for Bound {
    fn name(&self) -> &'static str {
        self.transport.name()
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, Error> {
        let listener = self.listener.lock().take();
        listener.ok_or_else(|| Error::new(ErrorKind::InUse, "listen at", at))
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, Error> {
        self.transport.dial(to).await
    }
}
