//! The other end of a connection, as one has it who knows `proto/dchan.proto` and tonic, and nothing of us.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, future::BoxFuture};
use http::uri::PathAndQuery;
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use tonic::{IntoStreamingRequest as _, Response, Status, Streaming, body::Body, client::Grpc};
use tonic_prost::ProstCodec;

pub(crate) type Codec = ProstCodec<Frames, Frames>;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Frames {
    #[prost(message, repeated, tag = "1")]
    pub(crate) frames: Vec<Frame>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Frame {
    #[prost(uint64, tag = "1")]
    pub(crate) lane: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) payload: Bytes,
    #[prost(bool, tag = "3")]
    pub(crate) last: bool,
}

/// Makes the call.
pub(crate) async fn link(
    client: &mut Grpc<Channel>,
    outgoing: impl Stream<Item = Frames> + Send + 'static,
) -> Result<Response<Streaming<Frames>>, Status> {
    let path = PathAndQuery::from_static("/dchan.v1.Transport/Link");
    client.streaming(outgoing.into_streaming_request(), path, Codec::default()).await
}

/// A connection of hyper's as tonic wants it.
pub(crate) struct Channel(pub(crate) SendRequest<Body>);

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
