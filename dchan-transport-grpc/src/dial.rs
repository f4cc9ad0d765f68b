use std::task::{Context, Poll};

use dchan_core::{Addr, Connection, ErrorKind, TransportError, tls::Tls};
use futures::future::BoxFuture;
use http::Uri;
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
    rt::Executor as _,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::oneshot};
use tonic::body::Body;

use crate::{
    codec::Frames,
    error,
    halves::connection,
    proto::transport_client::TransportClient,
    queue::Queue,
    secure::{self, Secured},
    tasks::Tasks,
    transport,
};

/// Connects to a listener. Dropping the future drops the tasks, and the socket with them.
pub(crate) async fn dial(to: &Addr, tls: Option<&Tls>) -> Result<Connection, TransportError> {
    let origin = Uri::try_from(format!("http://{to}"))
        .map_err(|error| TransportError::new(ErrorKind::Address, "dial", to).because(error))?;
    let socket = TcpStream::connect(to.as_str()).await;
    let socket = socket.and_then(|socket| socket.set_nodelay(true).map(|()| socket));
    let socket = socket.map_err(|error| TransportError::io("dial", to, error))?;
    let Secured { socket, identity, clue } = match tls {
        Some(tls) => secure::client(socket, to, tls).await?,
        None => secure::plain(socket),
    };

    let tasks = Tasks::default();
    let (requests, http) = Builder::new(tasks.executor())
        .initial_stream_window_size(transport::STREAM_WINDOW)
        .initial_connection_window_size(transport::CONNECTION_WINDOW)
        .max_frame_size(transport::MAX_FRAME_SIZE)
        .max_send_buf_size(transport::SEND_BUFFER)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|error| clue.explain(error::hyper("dial", to, error)))?;
    let (ended, mut end) = oneshot::channel();
    tasks.executor().execute(async move {
        // Nobody asks for it once the connection stands: its stream sees the end too.
        let _ = ended.send(http.await);
    });

    let (queue, outgoing) = Queue::new();
    let mut client = TransportClient::with_origin(Channel(requests), origin)
        .max_decoding_message_size(Frames::MAX_BYTES);
    let answered = tokio::select! {
        biased;
        answered = client.link(outgoing) => answered,
        // Now and then hyper leaves a call unanswered whose connection ends just when it begins.
        over = &mut end => return Err(clue.explain(never_called(to, over))),
    };
    let answer = match answered {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            // The call hears only that the connection is gone, the connection hears why.
            drop(client);
            let error = match end.await {
                Ok(Err(error)) => error::hyper("dial", to, error),
                _ => error::status("dial", to, status),
            };
            return Err(clue.explain(error));
        }
    };
    Ok(connection(queue, answer, tasks, to.clone(), identity))
}

/// The connection ended before the call was answered.
fn never_called(
    to: &Addr,
    over: Result<hyper::Result<()>, oneshot::error::RecvError>,
) -> TransportError {
    match over {
        Ok(Err(error)) => error::hyper("dial", to, error),
        _ => TransportError::new(ErrorKind::Broken, "dial", to),
    }
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
