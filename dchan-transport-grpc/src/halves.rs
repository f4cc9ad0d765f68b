use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::Bytes;
use dchan_core::{
    Addr, Connection, ErrorKind, Frame, FrameBatch, FrameSink, FrameStream, Identity, Received,
    TransportError,
};
use h2::{RecvStream, SendStream};
use http::HeaderMap;

use crate::{
    call::Call,
    codec::{self, Decoder},
    drive::Http,
    error,
    http2::SEND_BUFFER,
    rope::Rope,
};

/// How many bytes are enough for one batch.
const ENOUGH: usize = 128 * 1024;

/// Puts a connection together: the same on both sides, once the call stands.
pub(crate) fn connection(
    http: Http,
    call: Call,
    peer: Addr,
    identity: Option<Identity>,
) -> Connection {
    let http = Arc::new(http);
    let Call { outgoing, incoming, last_words } = call;
    let sink = GrpcSink { http: http.clone(), outgoing, last_words, peer: peer.clone() };
    let stream = GrpcStream {
        http,
        incoming,
        decoder: Decoder::default(),
        ended: false,
        peer: peer.clone(),
    };
    let connection = Connection::new(sink, stream, peer);
    match identity {
        Some(identity) => connection.with_identity(identity),
        None => connection,
    }
}

struct GrpcSink {
    http: Arc<Http>,
    outgoing: SendStream<Rope>,
    /// What a server ends its stream with.
    last_words: Option<HeaderMap>,
    peer: Addr,
}

impl GrpcSink {
    /// Waits until HTTP/2 holds less than it may.
    async fn room(&mut self) -> Result<(), h2::Error> {
        if self.outgoing.capacity() > 0 {
            return Ok(());
        }
        self.outgoing.reserve_capacity(SEND_BUFFER);
        if self.outgoing.capacity() > 0 {
            return Ok(());
        }
        let (http, outgoing) = (&self.http, &mut self.outgoing);
        let room = |cx: &mut Context<'_>| {
            http.drive();
            loop {
                match ready!(outgoing.poll_capacity(cx)) {
                    Some(Ok(_)) if outgoing.capacity() > 0 => return Poll::Ready(Ok(())),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Err(h2::Reason::STREAM_CLOSED.into())),
                }
            }
        };
        http.send(room).await
    }

    fn error(&self, operation: &'static str, error: &h2::Error) -> TransportError {
        error::http(operation, &self.peer, error)
    }
}

#[async_trait]
impl FrameSink for GrpcSink {
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
        if batch.iter().any(|frame| frame.payload.len() > Frame::MAX) {
            return Err(TransportError::new(ErrorKind::Protocol, "send to", &self.peer));
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.room().await.map_err(|error| self.error("send to", &error))?;
        let (http, outgoing) = (&self.http, &mut self.outgoing);
        let sent = http.drive_after(|| {
            loop {
                outgoing.send_data(codec::encode(batch), false)?;
                if batch.is_empty() || outgoing.capacity() == 0 {
                    return Ok(());
                }
            }
        });
        sent.map_err(|error| self.error("send to", &error))
    }

    /// Whoever waits for the connection sees to what HTTP/2 has taken.
    fn is_flushed(&self) -> bool {
        true
    }

    async fn close(mut self: Box<Self>) -> Result<(), TransportError> {
        let last_words = self.last_words.take();
        let (http, outgoing) = (&self.http, &mut self.outgoing);
        let closed = http.drive_after(|| match last_words {
            Some(trailers) => outgoing.send_trailers(trailers),
            None => outgoing.send_data(Rope::default(), true),
        });
        closed.map_err(|error| self.error("close to", &error))?;
        self.http.sent_all();
        Ok(())
    }
}

struct GrpcStream {
    http: Arc<Http>,
    incoming: RecvStream,
    decoder: Decoder,
    ended: bool,
    peer: Addr,
}

impl GrpcStream {
    /// Waits for more bytes. `None`: there will be none.
    async fn more(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let (http, incoming) = (&self.http, &mut self.incoming);
        let more = |cx: &mut Context<'_>| match incoming.poll_data(cx) {
            Poll::Ready(more) => Poll::Ready(more),
            Poll::Pending if http.drive() => incoming.poll_data(cx),
            Poll::Pending => Poll::Pending,
        };
        http.receive(more).await
    }

    /// How the peer has ended its direction.
    async fn end(&mut self) -> Result<(), TransportError> {
        let (http, incoming) = (&self.http, &mut self.incoming);
        let trailers = http.until(poll_fn(|cx| incoming.poll_trailers(cx))).await;
        let trailers = trailers.map_err(|error| self.error(&error))?;
        if !self.decoder.is_empty() {
            return Err(TransportError::new(ErrorKind::Protocol, "receive from", &self.peer)
                .because("the stream ended within a message"));
        }
        match trailers.as_ref().and_then(tonic::Status::from_header_map) {
            Some(status) if status.code() != tonic::Code::Ok => {
                Err(error::status("receive from", &self.peer, status))
            }
            _ => Ok(()),
        }
    }

    fn error(&self, error: &h2::Error) -> TransportError {
        error::http("receive from", &self.peer, error)
    }
}

#[async_trait]
impl FrameStream for GrpcStream {
    async fn recv(&mut self, batch: &mut FrameBatch) -> Result<Received, TransportError> {
        let before = batch.len();
        loop {
            while batch.bytes() < ENOUGH {
                let next = self.decoder.next(batch).map_err(|error| {
                    TransportError::new(ErrorKind::Protocol, "receive from", &self.peer)
                        .because(error)
                })?;
                if !next {
                    break;
                }
            }
            if batch.len() > before {
                return Ok(Received::Frames);
            }
            if self.ended {
                return Ok(Received::End);
            }
            match self.more().await {
                Some(Ok(bytes)) => {
                    let released = self.incoming.flow_control().release_capacity(bytes.len());
                    released.map_err(|error| self.error(&error))?;
                    self.decoder.push(bytes);
                }
                Some(Err(error)) => return Err(self.error(&error)),
                None => {
                    self.end().await?;
                    self.ended = true;
                    self.http.seen_all();
                }
            }
        }
    }
}

impl fmt::Debug for GrpcSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcSink").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl fmt::Debug for GrpcStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcStream").field("peer", &self.peer).finish_non_exhaustive()
    }
}
