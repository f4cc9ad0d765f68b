//! The side that dialled: it makes the calls.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use dchan_core::{Addr, Connection, ErrorKind, Frame, FrameBatch, FrameSink, TransportError};
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
    rt::Executor as _,
};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tonic::{Request, Status, body::Body, client::Grpc};
use tonic_prost::ProstCodec;

use super::{
    OPEN, PULL, PUSH,
    arrivals::{Arrival, Arrivals},
    failed,
    message::{Empty, MAX_BYTES, Numbers},
    tasks::Tasks,
};
use crate::tcp;

/// Connects to a listener. Dropping the future drops the tasks, and the socket with them.
pub(super) async fn dial(to: &Addr) -> Result<Connection, TransportError> {
    let origin = format!("http://{to}").parse();
    let origin =
        origin.map_err(|e| TransportError::new(ErrorKind::Address, "dial", to).because(e))?;
    let socket = tcp::connect(to).await?;

    // What never stood cannot break.
    let never_stood = || TransportError::new(ErrorKind::Unreachable, "dial", to);
    let tasks = Tasks::default();
    let http = Builder::new(tasks.spawner()).handshake(TokioIo::new(socket));
    let (requests, http) = http.await.map_err(|error| never_stood().because(error))?;
    tasks.spawner().execute(async move {
        // How it ends is seen by the calls.
        let _ended = http.await;
    });

    let client = Client(Grpc::with_origin(Channel(requests), origin));
    let opened: Result<Empty, Status> = client.call(OPEN, Empty {}).await;
    opened.map_err(|status| never_stood().because(status))?;

    let (arrivals, arrived) = mpsc::channel(1);
    tasks.spawner().execute(pull(client.clone(), arrivals));
    let (tasks, peer) = (Arc::new(tasks), to.clone());
    let sink = Push {
        client,
        numbers: Numbers::default(),
        call: Call::Idle,
        _tasks: tasks.clone(),
        peer: peer.clone(),
    };
    let stream = Arrivals::new(arrived, tasks, peer.clone());
    Ok(Connection::new(sink, stream, peer))
}

/// A connection of HTTP/2.
#[derive(Clone, Debug)]
struct Client(Grpc<Channel>);

impl Client {
    /// One call. It is under way until it is answered or the connection ends, and is never repeated.
    fn call<Q, A>(&self, path: PathAndQuery, question: Q) -> BoxFuture<'static, Result<A, Status>>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = self.0.clone().max_decoding_message_size(MAX_BYTES);
        Box::pin(async move {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let answer = grpc.unary(Request::new(question), path, ProstCodec::default()).await?;
            Ok(answer.into_inner())
        })
    }
}

/// The call of the sink that is under way. It belongs to the sink, so that a `send` that is dropped leaves
/// it for the next.
enum Call {
    Idle,
    UnderWay(BoxFuture<'static, Result<Empty, Status>>),
    /// One has failed, and there is no other.
    Failed,
}

impl Call {
    /// Waits for the answer, if there is a call.
    async fn answered(&mut self) -> Result<(), Status> {
        let answer = match self {
            Self::Idle => return Ok(()),
            Self::UnderWay(call) => call.await,
            Self::Failed => return Err(Status::unavailable("the connection is broken")),
        };
        *self = if answer.is_ok() { Self::Idle } else { Self::Failed };
        answer.map(drop)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::UnderWay(_) => "UnderWay",
            Self::Failed => "Failed",
        })
    }
}

#[derive(Debug)]
struct Push {
    client: Client,
    numbers: Numbers,
    call: Call,
    _tasks: Arc<Tasks>,
    peer: Addr,
}

impl Push {
    async fn answered(&mut self) -> Result<(), TransportError> {
        let answered = self.call.answered().await;
        answered.map_err(|status| failed("send to", &self.peer, status))
    }
}

#[async_trait]
impl FrameSink for Push {
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
        if batch.iter().any(|frame| frame.payload.len() > Frame::MAX) {
            return Err(TransportError::new(ErrorKind::Protocol, "send to", &self.peer));
        }
        self.answered().await?;
        if !batch.is_empty() {
            let message = self.numbers.pack(batch);
            self.call = Call::UnderWay(self.client.call(PUSH, message));
        }
        self.answered().await
    }

    async fn close(mut self: Box<Self>) -> Result<(), TransportError> {
        self.answered().await?;
        let end = self.numbers.end();
        self.call = Call::UnderWay(self.client.call(PUSH, end));
        // The peer has it all: this side may hang up as soon as it has read everything.
        self.answered().await
    }
}

/// The worker: pulls message after message, each when there is room for it, until the end or a failure.
/// It does not wait for somebody to read: the other side counts on being asked.
async fn pull(client: Client, arrivals: mpsc::Sender<Arrival>) {
    let mut numbers = Numbers::default();
    // If nobody reads any more, then nobody needs more.
    while let Ok(room) = arrivals.reserve().await {
        let message = client.call(PULL, Empty {}).await;
        let arrival = message.and_then(|message| numbers.unpack(message));
        let is_last = !matches!(arrival, Ok(Some(_)));
        room.send(arrival);
        if is_last {
            return;
        }
    }
}

/// A connection of hyper's as tonic wants it.
#[derive(Clone, Debug)]
struct Channel(SendRequest<Body>);

impl tower::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
