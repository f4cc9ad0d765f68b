//! What a fixture for a transport over TCP needs.

use dchan_core::Addr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{Duration, timeout},
};

use super::{Breakable, Held};

/// The loopback address with port 0.
pub fn listen_at() -> Addr {
    std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()
}

/// An address that refuses connections: a port that is bound but does not listen.
pub fn dead() -> Held {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let addr = socket.local_addr().expect("a bound socket has an address").into();
    Held::new(addr, socket)
}

/// An address where connecting hangs: its queue is full, and nobody accepts.
pub async fn black_hole() -> Held {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let at = listener.local_addr().expect("a listener has an address");
    let mut waiting = Vec::new();
    // One connect that hangs shows that the queue is full.
    while let Ok(connected) = timeout(Duration::from_millis(100), TcpStream::connect(at)).await {
        waiting.push(connected.expect("the queue takes it, or it hangs"));
    }
    Held::new(at.into(), (listener, waiting))
}

/// An address that leads to `to` until it is cut.
pub async fn breakable(to: &Addr) -> Breakable {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let addr = listener.local_addr().expect("a listener has an address").into();
    let to = to.clone();
    let proxy = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            let to = to.clone();
            connections.spawn(async move {
                let mut far = TcpStream::connect(to.as_str()).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    Breakable { addr, cut: Box::new(move || proxy.abort()) }
}

/// Connects to `to`, sends bytes, ends its direction, and reads whatever comes until the other side
/// is through.
pub async fn intrude(to: &Addr, bytes: Vec<u8>) {
    let mut socket = TcpStream::connect(to.as_str()).await.expect("the listener is there");
    tokio::spawn(async move {
        // Whatever the other side makes of it, it must not wait for us.
        let _ = socket.write_all(&bytes).await;
        let _ = socket.shutdown().await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
}
