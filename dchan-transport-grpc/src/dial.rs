use dchan_core::{Addr, Connection, ErrorKind, TransportError, tls::Tls};
use http::Uri;
use hyper::rt::Executor as _;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::oneshot};

use crate::{
    codec::Frames,
    error,
    halves::connection,
    http2::{self, Channel},
    proto::transport_client::TransportClient,
    queue::Queue,
    secure::{self, Secured},
    tasks::Tasks,
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
    let (requests, http) = http2::client(tasks.executor())
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
