use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use dchan_core::{
    Addr, Connection, ErrorKind, Incoming, Listener, LogLimit, TransportError, tls::Tls,
};
use hyper::rt::Executor as _;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    codec::Frames,
    error,
    halves::connection,
    http2,
    proto::transport_server::{Transport, TransportServer},
    queue::{Answer, Queue},
    secure::{self, Secured},
    tasks::Tasks,
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

/// Waits for the peer's call. Dropping the future drops the tasks, and the socket with them.
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

    let (called, call) = oneshot::channel();
    let door = Door { called: Mutex::new(Some(called)) };
    let service = TransportServer::new(door).max_decoding_message_size(Frames::MAX_BYTES);

    let tasks = Tasks::default();
    let http = http2::server(tasks.executor())
        .max_concurrent_streams(1)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service));
    let (ended, end) = oneshot::channel();
    tasks.executor().execute(async move {
        // Nobody asks for it once the connection stands: its stream sees the end too.
        let _ = ended.send(http.await);
    });

    tokio::select! {
        biased;
        Ok(Call { queue, incoming }) = call => {
            Ok(connection(queue, incoming, tasks, peer, identity))
        }
        Ok(Err(error)) = end => Err(clue.explain(error::hyper("accept from", &peer, error))),
        else => Err(TransportError::new(ErrorKind::Broken, "accept from", &peer)),
    }
}

/// The call that makes the connection.
struct Call {
    queue: Arc<Queue>,
    incoming: Streaming<Frames>,
}

/// Lets one call in.
struct Door {
    called: Mutex<Option<oneshot::Sender<Call>>>,
}

#[tonic::async_trait]
impl Transport for Door {
    type LinkStream = Answer;

    async fn link(&self, call: Request<Streaming<Frames>>) -> Result<Response<Answer>, Status> {
        let called = self.called.lock().unwrap_or_else(PoisonError::into_inner).take();
        let called = called.ok_or_else(|| Status::already_exists("one call a connection"))?;
        let (queue, outgoing) = Queue::new();
        let call = Call { queue, incoming: call.into_inner() };
        called.send(call).map_err(|_| Status::unavailable("the listener gave up"))?;
        Ok(Response::new(Answer(outgoing)))
    }
}
