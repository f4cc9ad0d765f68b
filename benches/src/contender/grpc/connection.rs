use std::convert::Infallible;

use anyhow::Context;
use dchan_transport_grpc::http2::{self, Channel};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
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
    let http = http2::client(TokioExecutor::new()).handshake(TokioIo::new(socket));
    let (requests, http) = http.await?;
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
    let http = http2::server(TokioExecutor::new());
    let http = http.serve_connection(TokioIo::new(socket), service);
    Ok(tokio::spawn(async move {
        // A peer that is done just goes.
        let _ended = http.await;
    }))
}
