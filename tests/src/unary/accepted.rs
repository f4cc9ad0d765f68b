//! The side that was dialled: it answers the calls.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use dchan_core::{Addr, Connection, ErrorKind, Frame, FrameBatch, FrameSink, TransportError};
use futures::future::BoxFuture;
use hyper::{body::Incoming, rt::Executor as _, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
};
use tonic::{Code, Request, Response, Status, body::Body, server::Grpc};
use tonic_prost::ProstCodec;

use super::{
    OPEN, PULL, PUSH,
    arrivals::{Arrival, Arrivals},
    message::{Empty, MAX_BYTES, Message, Numbers},
    tasks::Tasks,
};

/// How many calls a peer may have under way: one of each kind, and one that is being answered.
const CALLS: u32 = 4;

/// Waits until the peer opens the connection. Dropping the future drops the tasks, and the socket with
/// them.
pub(super) async fn serve(socket: TcpStream, peer: Addr) -> Result<Connection, TransportError> {
    let (opens, opened) = oneshot::channel();
    let (pushes, pushed) = mpsc::channel(1);
    let (answers, pulls) = mpsc::channel(1);
    let door = Arc::new(Door {
        opens: Mutex::new(Some(opens)),
        pushes: AsyncMutex::new((pushes, Numbers::default())),
        pulls: AsyncMutex::new(pulls),
    });
    let service = service_fn(move |request| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    });

    let tasks = Tasks::default();
    let http = Builder::new(tasks.spawner())
        .max_concurrent_streams(CALLS)
        .serve_connection(TokioIo::new(socket), service);
    tasks.spawner().execute(async move {
        // The door goes with it, and that is how the halves see it.
        let _ended = http.await;
    });
    let opened = opened.await;
    opened.map_err(|_| TransportError::new(ErrorKind::Broken, "accept from", &peer))?;

    let tasks = Arc::new(tasks);
    let sink = Answers {
        out: answers,
        numbers: Numbers::default(),
        tasks: tasks.clone(),
        peer: peer.clone(),
    };
    let stream = Arrivals::new(pushed, tasks, peer.clone());
    Ok(Connection::new(sink, stream, peer))
}

/// What the calls of a connection meet. It lives as long as HTTP/2 does.
struct Door {
    opens: Mutex<Option<oneshot::Sender<()>>>,
    /// What was pushed, on its way to the stream; and why there is no more, if the peer went wrong.
    pushes: AsyncMutex<(mpsc::Sender<Arrival>, Numbers)>,
    /// What the sink has for those who pull.
    pulls: AsyncMutex<mpsc::Receiver<Answer>>,
}

/// A message for the peer, and who is to be told that HTTP/2 has it.
struct Answer {
    message: Message,
    taken: Option<oneshot::Sender<()>>,
}

impl Door {
    async fn answer(self: Arc<Self>, request: http::Request<Incoming>) -> http::Response<Body> {
        let path = request.uri().path();
        let door = self.clone();
        let answer = if path == OPEN {
            unary(request, async move |_: Empty| door.open()).await
        } else if path == PUSH {
            unary(request, async move |message| door.push(message).await).await
        } else if path == PULL {
            unary(request, async move |_: Empty| door.pull().await).await
        } else {
            Status::unimplemented("no such call").into_http()
        };
        if let Some(status) = Status::from_header_map(answer.headers())
            && !matches!(status.code(), Code::Ok | Code::Unavailable)
        {
            // The peer went wrong. Tonic's refusals too: what could not be read may have been frames.
            let why = Status::invalid_argument(status.message());
            // If nobody is there to hear it, then the connection is over anyway.
            let _gone = self.pushes.lock().await.0.send(Err(why)).await;
        }
        answer
    }

    fn open(&self) -> Result<Empty, Status> {
        let opens = self.opens.lock().take().ok_or_else(|| Status::already_exists("it is open"))?;
        opens.send(()).map_err(|()| Status::unavailable("the listener gave up"))?;
        Ok(Empty {})
    }

    /// Waits for room, not for the reader: the next message may travel while it works on this one.
    async fn push(&self, message: Message) -> Result<Empty, Status> {
        let mut pushes = self.pushes.lock().await;
        let frames = pushes.1.unpack(message)?;
        let gone = |_| Status::unavailable("the stream was dropped");
        pushes.0.send(Ok(frames)).await.map_err(gone)?;
        Ok(Empty {})
    }

    async fn pull(&self) -> Result<Message, Status> {
        let next = self.pulls.lock().await.recv().await;
        let Answer { message, taken } =
            next.ok_or_else(|| Status::unavailable("the sink was dropped"))?;
        // The sink may have been dropped while it closed.
        let _gone = taken.map(|taken| taken.send(()));
        Ok(message)
    }
}

#[derive(Debug)]
struct Answers {
    out: mpsc::Sender<Answer>,
    numbers: Numbers,
    tasks: Arc<Tasks>,
    peer: Addr,
}

#[async_trait]
impl FrameSink for Answers {
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
        if batch.iter().any(|frame| frame.payload.len() > Frame::MAX) {
            return Err(TransportError::new(ErrorKind::Protocol, "send to", &self.peer));
        }
        // There is room once HTTP/2 has the last message: for an empty batch there is no more to do.
        let room = self.out.reserve().await;
        let room =
            room.map_err(|_| TransportError::new(ErrorKind::Broken, "send to", &self.peer))?;
        if !batch.is_empty() {
            room.send(Answer { message: self.numbers.pack(batch), taken: None });
        }
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<(), TransportError> {
        let broken = || TransportError::new(ErrorKind::Broken, "close to", &self.peer);
        let (taken, is_taken) = oneshot::channel();
        let end = Answer { message: self.numbers.end(), taken: Some(taken) };
        self.out.send(end).await.map_err(|_| broken())?;
        is_taken.await.map_err(|_| broken())?;
        self.tasks.ended();
        Ok(())
    }
}

/// Reads a call, has it answered, and writes the answer.
async fn unary<Q, A, F>(
    request: http::Request<Incoming>,
    answer: impl FnOnce(Q) -> F + Send + 'static,
) -> http::Response<Body>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let codec = ProstCodec::<A, Q>::default();
    let mut grpc = Grpc::new(codec).max_decoding_message_size(MAX_BYTES);
    grpc.unary(Once(Some(answer)), request).await
}

/// A function as tonic wants it.
struct Once<H>(Option<H>);

impl<Q, A, F, H> tower::Service<Request<Q>> for Once<H>
where
    A: 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
    H: FnOnce(Q) -> F,
{
    type Response = Response<A>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<A>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        match self.0.take().map(|answer| answer(request.into_inner())) {
            Some(answering) => Box::pin(async move { answering.await.map(Response::new) }),
            None => Box::pin(async { Err(Status::internal("called twice")) }),
        }
    }
}
