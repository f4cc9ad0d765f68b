//! The proxy for transports over TCP.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{End, Live, Shared, broken, swallow};

/// A listener at a free port, without waiting for it.
pub(super) fn bind() -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        connections.spawn(connect(near, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(near: TcpStream, shared: Arc<Shared>) {
    let mut orders = shared.orders.subscribe();
    let at_first = *orders.borrow_and_update();
    let Some(at) = shared.find(&mut orders, at_first).await else { return };
    let Ok(far) = TcpStream::connect(at.as_str()).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let live = Live::new(&shared);
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let flow = async {
        tokio::try_join!(
            pump(&mut near_read, &mut far_write, &shared.dark[0]),
            pump(&mut far_read, &mut near_write, &shared.dark[1]),
        )
    };
    let told = tokio::select! {
        _ = flow => None,
        told = broken(&mut orders, at_first) => told,
    };
    drop(live);
    match told {
        None => {}
        Some(End::Dialler) => {
            drop((near_read, near_write));
            swallow(read_all(far_read), orders, at_first).await;
        }
        Some(End::Node) => {
            drop((far_read, far_write));
            swallow(read_all(near_read), orders, at_first).await;
        }
    }
}

async fn read_all(mut from: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; 16 * 1024];
    while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    dark: &AtomicBool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            // The other direction may go on.
            return to.shutdown().await;
        }
        if dark.load(SeqCst) {
            continue;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
