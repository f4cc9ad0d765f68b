use std::{io, sync::Arc};

use async_trait::async_trait;
use dchan_core::{Addr, Connection, ErrorKind, Incoming, Listener, TransportError};
use quinn::ServerConfig;
use tokio::net::lookup_host;

use crate::{
    error,
    link::Link,
    security::Security,
    socket::{Listening, Socket, Sockets},
};

pub(crate) async fn listen(
    at: &Addr,
    sockets: &Sockets,
    security: Security,
) -> Result<Box<dyn Listener>, TransportError> {
    security.is_allowed("listen at", at)?;
    let config = security.server("listen at", at)?;
    let bind = async {
        let listening = bind_first(at, sockets, config).await?;
        let local = listening.0.endpoint.local_addr()?.into();
        Ok(Box::new(QuicListener { listening, local, security }) as Box<dyn Listener>)
    };
    bind.await.map_err(|error| TransportError::io("listen at", at, error))
}

/// Takes the first of a name's addresses that is to be had.
async fn bind_first(at: &Addr, sockets: &Sockets, config: ServerConfig) -> io::Result<Listening> {
    let mut failure = io::ErrorKind::NotFound.into();
    for at in lookup_host(at.as_str()).await? {
        match sockets.listen(at, config.clone()).await {
            Ok(listening) => return Ok(listening),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[derive(Debug)]
struct QuicListener {
    listening: Listening,
    local: Addr,
    security: Security,
}

#[async_trait]
impl Listener for QuicListener {
    fn local_addr(&self) -> Addr {
        self.local.clone()
    }

    async fn accept(&mut self) -> Result<Incoming, TransportError> {
        let socket = &self.listening.0;
        let incoming = socket.endpoint.accept().await.ok_or_else(|| {
            TransportError::new(ErrorKind::Broken, "accept at", &self.local)
                .because("its socket has failed")
        })?;
        let peer = Addr::from(incoming.remote_address());
        let ready = serve(incoming, peer.clone(), socket.clone(), self.security.clone());
        Ok(Incoming::new(peer, ready))
    }
}

/// The handshake of TLS. Dropping the future before it is through turns the peer away.
async fn serve(
    incoming: quinn::Incoming,
    peer: Addr,
    socket: Arc<Socket>,
    security: Security,
) -> Result<Connection, TransportError> {
    let config = security.server("accept from", &peer)?;
    let error = |error| error::connection("accept from", &peer, error);
    let connection = incoming.accept_with(Arc::new(config)).map_err(error)?.await.map_err(error)?;
    let identity = security.identity(&connection);
    Link::new(connection, peer.clone(), socket).stand("accept from", None, identity).await
}
