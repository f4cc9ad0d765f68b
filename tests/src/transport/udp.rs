//! What a fixture for a transport over UDP needs.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::SocketAddr,
    sync::Arc,
};

use dchan_core::Addr;
use tokio::{
    net::UdpSocket,
    task::{JoinHandle, JoinSet},
};

use super::{Breakable, Held};

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// An address that refuses datagrams: its port is bound by a socket that takes them from one other only.
pub async fn dead() -> Held {
    let [socket, other] = [bind().await, bind().await];
    socket.connect(address(&other)).await.expect("connecting is a matter of this machine");
    Held::new(address(&socket).into(), (socket, other))
}

/// An address where datagrams vanish.
pub async fn black_hole() -> Held {
    let socket = bind().await;
    Held::new(address(&socket).into(), socket)
}

/// An address that leads to `to` until it is cut. Then everything vanishes, and nobody is told.
pub async fn breakable(to: &Addr) -> Breakable {
    let proxy = UdpProxy::start(to).await;
    let addr = proxy.addr.clone();
    Breakable { addr, cut: Box::new(move || drop(proxy)) }
}

/// Leads datagrams to an address and back, until it is dropped.
#[derive(Debug)]
pub struct UdpProxy {
    /// Where it begins.
    pub addr: Addr,
    serving: JoinHandle<()>,
}

impl UdpProxy {
    /// Starts it.
    pub async fn start(to: &Addr) -> Self {
        let near = Arc::new(bind().await);
        let addr = address(&near).into();
        let to = to.as_str().parse().expect("an IP address");
        Self { addr, serving: tokio::spawn(serve(near, to)) }
    }
}

impl Drop for UdpProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(near: Arc<UdpSocket>, to: SocketAddr) {
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut back = JoinSet::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Some((len, from)) = heard(near.recv_from(&mut buffer).await) else { continue };
        let far = match flows.entry(from) {
            Entry::Occupied(flow) => flow.into_mut(),
            Entry::Vacant(flow) => {
                let far = flow.insert(Arc::new(bind().await));
                back.spawn(lead_back(far.clone(), near.clone(), from));
                far
            }
        };
        // What cannot be sent is lost: that is UDP.
        let _lost = far.send_to(&buffer[..len], to).await;
    }
}

async fn lead_back(far: Arc<UdpSocket>, near: Arc<UdpSocket>, to: SocketAddr) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Some((len, _)) = heard(far.recv_from(&mut buffer).await) else { continue };
        let _lost = near.send_to(&buffer[..len], to).await;
    }
}

/// That nobody was there for an earlier datagram is no concern of this one.
fn heard<T>(received: io::Result<T>) -> Option<T> {
    match received {
        Ok(received) => Some(received),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => None,
        Err(error) => panic!("a socket of the proxy: {error}"),
    }
}

async fn bind() -> UdpSocket {
    UdpSocket::bind(LOOPBACK).await.expect("a free port")
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("a bound socket has an address")
}
