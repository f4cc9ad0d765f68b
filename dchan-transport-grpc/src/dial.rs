use dchan_core::{Addr, Connection, TransportError, tls::Tls};
use tokio::net::TcpStream;

use crate::{
    call::call,
    halves::connection,
    secure::{self, Secured},
};

/// Connects to a listener. Dropping the future drops the socket.
pub(crate) async fn dial(to: &Addr, tls: Option<&Tls>) -> Result<Connection, TransportError> {
    let socket = TcpStream::connect(to.as_str()).await;
    let socket = socket.and_then(|socket| socket.set_nodelay(true).map(|()| socket));
    let socket = socket.map_err(|error| TransportError::io("dial", to, error))?;
    let Secured { socket, identity, clue } = match tls {
        Some(tls) => secure::client(socket, to, tls).await?,
        None => secure::plain(socket),
    };

    let called = call(socket, to).await;
    let (http, call) = called.map_err(|error| clue.explain(error))?;
    Ok(connection(http, call, to.clone(), identity))
}
