//! How HTTP/2 is set up, on both sides. It is no part of the interface: `dchan-benches` measures bare
//! calls under the same settings.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hyper::{
    body::Incoming,
    client::conn::http2::{self as client, SendRequest},
    server::conn::http2 as server,
};
use tonic::body::Body;

/// How much a peer may send before this side has read it, in bytes: on a stream, and on a connection.
/// Small windows stall: a round trip passes before more may come.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// How large a piece of HTTP/2 is, in bytes: room for a whole message as a rule. The default of 16 KiB
/// costs a third of the throughput.
const MAX_FRAME_SIZE: u32 = 256 * 1024;
/// How much HTTP/2 holds back on the sending side, in bytes.
const SEND_BUFFER: usize = 256 * 1024;

/// The side that dials. Its tasks run on `executor`.
pub fn client<E: Clone>(executor: E) -> client::Builder<E> {
    let mut builder = client::Builder::new(executor);
    builder
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME_SIZE)
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// The side that is dialled.
pub fn server<E>(executor: E) -> server::Builder<E> {
    let mut builder = server::Builder::new(executor);
    builder
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME_SIZE)
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// A connection of hyper's as tonic wants it.
#[derive(Debug)]
pub struct Channel(pub SendRequest<Body>);

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
