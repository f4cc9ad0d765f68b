use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, Weak},
    time::Duration,
};

use futures::FutureExt;
use parking_lot::Mutex;
use quinn::{Endpoint, ServerConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket as Raw, Type};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{error::DONE, tuning};

/// What the system is asked to buffer for a socket, in bytes. It may give less.
const BUFFER: usize = 4 << 20;
/// How long an address stays taken by connections that have just ended, at most.
const DRAINING: Duration = Duration::from_secs(1);

/// A UDP socket and the connections through it. With the last who holds it, it is closed.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) endpoint: Endpoint,
    /// While nobody listens, turns away who knocks.
    refusing: Mutex<Option<JoinHandle<()>>>,
}

impl Socket {
    /// A socket to dial from: at any address, so that it follows the machine to another network.
    pub(crate) fn to_dial(to: SocketAddr) -> io::Result<Arc<Self>> {
        let any = match to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        Self::bind(any, None)
    }

    fn bind(at: SocketAddr, server: Option<ServerConfig>) -> io::Result<Arc<Self>> {
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(tuning::endpoint(), server, udp(at)?, runtime)?;
        Ok(Arc::new(Self { endpoint, refusing: Mutex::new(None) }))
    }

    /// From now on, who knocks is turned away.
    fn refuse(&self) {
        self.refuse_all();
        let Ok(runtime) = Handle::try_current() else { return };
        let endpoint = self.endpoint.clone();
        let refusing = runtime.spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                incoming.refuse();
            }
        });
        *self.refusing.lock() = Some(refusing);
    }

    /// Turns away all who have knocked.
    fn refuse_all(&self) {
        while let Some(Some(incoming)) = self.endpoint.accept().now_or_never() {
            incoming.refuse();
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // QUIC keeps the socket for as long as its last connections drain: a dial that comes meanwhile
        // would wait for an answer in vain.
        self.endpoint.close(DONE, b"done");
        self.refuse_all();
        if let Some(refusing) = self.refusing.get_mut() {
            refusing.abort();
        }
    }
}

/// A bound UDP socket with large buffers.
fn udp(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Raw::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    // The system bounds them without an error, or has its own idea of them.
    let _ = (socket.set_recv_buffer_size(BUFFER), socket.set_send_buffer_size(BUFFER));
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// The sockets that a transport listens at, or has listened at: connections outlive their listener, and
/// keep its socket. Who listens there again takes it over.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    map: Mutex<HashMap<SocketAddr, Weak<Socket>>>,
}

/// The right to accept what comes in. Dropped, it turns away who knocks.
#[derive(Debug)]
pub(crate) struct Listening(pub(crate) Arc<Socket>);

impl Sockets {
    /// Listens at an address, and waits a moment for connections there that have just ended.
    pub(crate) async fn listen(
        &self,
        at: SocketAddr,
        config: ServerConfig,
    ) -> io::Result<Listening> {
        let deadline = Instant::now() + DRAINING;
        loop {
            if let Some(again) = self.take_over(at)? {
                return Ok(again);
            }
            match Socket::bind(at, Some(config.clone())) {
                Ok(socket) => {
                    let at = socket.endpoint.local_addr()?;
                    let mut map = self.map.lock();
                    map.retain(|_, socket| socket.strong_count() > 0);
                    map.insert(at, Arc::downgrade(&socket));
                    return Ok(Listening(socket));
                }
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(DRAINING / 20).await,
            }
        }
    }

    fn take_over(&self, at: SocketAddr) -> io::Result<Option<Listening>> {
        let map = self.map.lock();
        let Some(socket) = map.get(&at).and_then(Weak::upgrade) else { return Ok(None) };
        let refusing = socket.refusing.lock().take();
        match refusing {
            Some(refusing) => {
                refusing.abort();
                Ok(Some(Listening(socket)))
            }
            None => Err(io::ErrorKind::AddrInUse.into()),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.refuse();
    }
}
