use std::time::Duration;

use async_trait::async_trait;
use dchan_core::{
    Addr, Connection, ErrorKind, Incoming, Listener, LogLimit, TransportError, tls::Tls,
};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    call::answer,
    halves::connection,
    secure::{self, Secured},
};

/// How long to wait for sockets when there are none left.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn listen(
    at: &Addr,
    tls: Option<Tls>,
) -> Result<Box<dyn Listener>, TransportError> {
    let bind = async {
        let listener = TcpListener::bind(at.as_str()).await?;
        let local = listener.local_addr()?.into();
        let log = LogLimit::default();
        Ok(Box::new(GrpcListener { listener, local, tls, log }) as Box<dyn Listener>)
    };
    bind.await.map_err(|error| TransportError::io("listen at", at, error))
}

#[derive(Debug)]
struct GrpcListener {
    listener: TcpListener,
    local: Addr,
    tls: Option<Tls>,
    log: LogLimit,
}

#[async_trait]
impl Listener for GrpcListener {
    fn local_addr(&self) -> Addr {
        self.local.clone()
    }

    async fn accept(&mut self) -> Result<Incoming, TransportError> {
        loop {
            let error = match self.listener.accept().await {
                Ok((socket, from)) => {
                    let peer = Addr::from(from);
                    return Ok(Incoming::new(peer.clone(), serve(socket, peer, self.tls.clone())));
                }
                Err(error) => TransportError::io("accept at", &self.local, error),
            };
            match error.kind {
                // The peer gave up while it waited to be accepted.
                ErrorKind::Broken => {}
                ErrorKind::Exhausted => {
                    if let Some(held) = self.log.pass("accept") {
                        let suppressed = held.lines();
                        tracing::warn!(at = %self.local, %error, suppressed, "cannot accept connections");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                _ => return Err(error),
            }
        }
    }
}

/// Waits for the peer's call. Dropping the future drops the socket.
async fn serve(
    socket: TcpStream,
    peer: Addr,
    tls: Option<Tls>,
) -> Result<Connection, TransportError> {
    let nodelay = socket.set_nodelay(true);
    nodelay.map_err(|error| TransportError::io("accept from", &peer, error))?;

    let Secured { socket, identity, clue } = match tls {
        Some(tls) => secure::server(socket, &peer, &tls).await?,
        None => secure::plain(socket),
    };

    let called = answer(socket, &peer).await;
    let (http, call) = called.map_err(|error| clue.explain(error))?;
    Ok(connection(http, call, peer, identity))
}
