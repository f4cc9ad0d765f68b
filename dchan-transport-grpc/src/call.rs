//! The call that makes a connection: `Link` of `proto/dchan.proto`.

use std::future::poll_fn;

use dchan_core::{Addr, ErrorKind, TransportError};
use h2::{RecvStream, SendStream, server};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, TE},
};
use tonic::Status;

use crate::{
    drive::{Connection, Http},
    error, http2,
    rope::Rope,
    secure::Socket,
};

pub(crate) const PATH: &str = "/dchan.v1.Transport/Link";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Both directions of a call that stands.
pub(crate) struct Call {
    pub(crate) outgoing: SendStream<Rope>,
    pub(crate) incoming: RecvStream,
    /// What a server ends its stream with.
    pub(crate) last_words: Option<HeaderMap>,
}

/// Calls. Dropping the future drops the socket.
pub(crate) async fn call(socket: Socket, to: &Addr) -> Result<(Http, Call), TransportError> {
    let broken = |error| error::http("dial", to, &error);
    let (mut requests, connection) = http2::client().handshake(socket).await.map_err(broken)?;
    let http = Http::new(Connection::Client(connection));
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{to}{PATH}"))
        .header(TE, "trailers")
        .header(CONTENT_TYPE, GRPC)
        .body(())
        .map_err(|error| TransportError::new(ErrorKind::Address, "dial", to).because(error))?;
    let (response, outgoing) = {
        http.until(poll_fn(|cx| requests.poll_ready(cx))).await.map_err(broken)?;
        requests.send_request(request, false).map_err(broken)?
    };
    // A connection of which nobody asks more ends with its call.
    drop(requests);
    let (head, incoming) = http.until(response).await.map_err(broken)?.into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return Err(error::status("dial", to, status));
    }
    if head.status != StatusCode::OK || !is_grpc(&head.headers) {
        let what = format!("expected an answer of gRPC, and there was HTTP status {}", head.status);
        return Err(TransportError::new(ErrorKind::Refused, "dial", to).because(what));
    }
    Ok((http, Call { outgoing, incoming, last_words: None }))
}

/// Waits for the peer's call. Dropping the future drops the socket.
pub(crate) async fn answer(socket: Socket, peer: &Addr) -> Result<(Http, Call), TransportError> {
    let broken = |error| error::http("accept from", peer, &error);
    let mut connection: server::Connection<_, _> =
        http2::server().handshake(socket).await.map_err(broken)?;
    loop {
        let Some(call) = connection.accept().await else {
            return Err(TransportError::new(ErrorKind::Broken, "accept from", peer));
        };
        let (request, mut respond) = call.map_err(broken)?;
        let refusal = refusal(&request);
        let ends = refusal.is_some();
        let response = refusal.unwrap_or_else(|| answer_with(StatusCode::OK));
        let outgoing = respond.send_response(response, ends).map_err(broken)?;
        if !ends {
            let http = Http::new(Connection::Server(connection));
            http.drive();
            let incoming = request.into_body();
            let mut last_words = HeaderMap::new();
            last_words.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
            return Ok((http, Call { outgoing, incoming, last_words: Some(last_words) }));
        }
    }
}

fn answer_with(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// The answer to something else than our call.
fn refusal(request: &Request<RecvStream>) -> Option<Response<()>> {
    if !is_grpc(request.headers()) {
        return Some(answer_with(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if request.method() == Method::POST && request.uri().path() == PATH {
        return None;
    }
    let mut response = answer_with(StatusCode::OK);
    let status = Status::unimplemented(format!("there is only {PATH}"));
    // Only text that is no header could fail.
    let _added = status.add_header(response.headers_mut());
    Some(response)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(GRPC.as_bytes()))
}
