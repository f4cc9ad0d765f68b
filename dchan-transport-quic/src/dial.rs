use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use dchan_core::{Addr, Connection, ErrorKind, TransportError};
use quinn::{ClientConfig, ConnectionError, RecvStream};
use tokio::{
    net::{UdpSocket, lookup_host},
    time::timeout,
};

use crate::{error, link::Link, security::Security, socket::Socket};

/// How long a question whether anybody has a port stays without an answer, at least.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Connects to a listener. Dropping the future gives up what was begun.
pub(crate) async fn dial(to: &Addr, security: &Security) -> Result<Connection, TransportError> {
    let (link, first) = knock(to, security).await?;
    let identity = security.identity(&link.connection);
    link.stand("dial", Some(first), identity).await
}

/// Connects, and waits until the other side has let us in.
pub(crate) async fn knock(
    to: &Addr,
    security: &Security,
) -> Result<(Arc<Link>, RecvStream), TransportError> {
    security.is_allowed("dial", to)?;
    let config = security.client("dial", to)?;
    let resolved = lookup_host(to.as_str()).await;
    let mut failure = TransportError::new(ErrorKind::Unreachable, "dial", to);
    for at in resolved.map_err(|error| TransportError::io("dial", to, error))? {
        let connected = tokio::select! {
            connected = connect(at, to, config.clone()) => connected,
            nobody = refused(at) => Err(TransportError::io("dial", to, nobody)),
        };
        match connected {
            Ok(connected) => return Ok(connected),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn connect(
    at: SocketAddr,
    to: &Addr,
    config: ClientConfig,
) -> Result<(Arc<Link>, RecvStream), TransportError> {
    let socket = Socket::to_dial(at).map_err(|error| TransportError::io("dial", to, error))?;
    let connecting = socket
        .endpoint
        .connect_with(config, at, to.host())
        .map_err(|error| TransportError::new(ErrorKind::Address, "dial", to).because(error))?;
    let error = |error: ConnectionError| error::connection("dial", to, error);
    let link = Link::new(connecting.await.map_err(error)?, to.clone(), socket);
    // That our side of the handshake is through does not say that the peer accepts our certificate.
    let first = link.connection.accept_uni().await.map_err(error)?;
    Ok((link, first))
}

/// Waits until the other machine says that nobody has that port. QUIC itself does not hear of it, and
/// would go on trying; it ignores datagrams without anything in them. Questions can be lost, and a port
/// may be closed later: it asks again and again.
async fn refused(at: SocketAddr) -> io::Error {
    let asked = async {
        let any: IpAddr = match at {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(at).await?;
        loop {
            socket.send(&[]).await?;
            if let Ok(answered) = timeout(ASK_AGAIN, socket.recv(&mut [0])).await {
                return answered;
            }
        }
    };
    match asked.await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => error,
        // Whatever else happens to this question decides nothing.
        _ => std::future::pending().await,
    }
}
