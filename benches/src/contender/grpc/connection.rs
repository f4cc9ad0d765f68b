use std::{
    convert::Infallible,
    task::{Context as Waking, Poll},
};

use anyhow::Context;
use dchan_transport_grpc::http2::{CONNECTION_WINDOW, MAX_FRAME_SIZE, SEND_BUFFER, STREAM_WINDOW};
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http2::{self as client, SendRequest},
    server::conn::http2 as server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tonic::{body::Body, client::Grpc};

/// Connects, for calls.
pub(super) async fn dial(to: &str) -> anyhow::Result<Grpc<Channel>> {
    let socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    let mut builder = client::Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME_SIZE)
        .max_send_buf_size(SEND_BUFFER);
    let (requests, http) = builder.handshake(TokioIo::new(socket)).await?;
    // Whatever is wrong with it, calls hear of.
    tokio::spawn(http);
    let mut client = Grpc::with_origin(Channel(requests), format!("http://{to}").try_into()?);
    client.ready().await.context("the connection is not ready")?;
    Ok(client)
}

/// Answers the calls of one connection. The task ends when the peer has gone.
pub(super) async fn serve<F>(
    listener: TcpListener,
    answer: impl Fn(Request<Incoming>) -> F + Send + 'static,
) -> anyhow::Result<JoinHandle<()>>
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (socket, _) = listener.accept().await?;
    socket.set_nodelay(true)?;
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut builder = server::Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME_SIZE)
        .max_send_buf_size(SEND_BUFFER);
    let http = builder.serve_connection(TokioIo::new(socket), service);
    Ok(tokio::spawn(async move {
        // A peer that is done just goes.
        let _ended = http.await;
    }))
}

/// A connection of hyper's as tonic wants it.
#[derive(Debug)]
pub(in crate::contender) struct Channel(SendRequest<Body>);

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Waking<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
