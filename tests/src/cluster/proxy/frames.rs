//! The proxy for other transports: it speaks the transport itself, and leads frames on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use dchan_core::{
    Connection, FrameBatch, FrameSink, FrameStream, Incoming, Listener, Received, Transport,
    TransportError,
};
use futures::FutureExt;
use tokio::task::JoinSet;

use super::{End, Live, Shared, broken, swallow};

/// A listener at a free port, without waiting for it.
pub(super) fn listen(transport: &dyn Transport) -> Box<dyn Listener> {
    let at = "127.0.0.1:0".parse().expect("an address");
    let listening = transport.listen(&at).now_or_never();
    listening.expect("an IP address needs no waiting").expect("a free port")
}

pub(super) async fn serve(
    mut listener: Box<dyn Listener>,
    transport: Arc<dyn Transport>,
    shared: Arc<Shared>,
) {
    let mut connections = JoinSet::new();
    while let Ok(incoming) = listener.accept().await {
        connections.spawn(connect(incoming, transport.clone(), shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(incoming: Incoming, transport: Arc<dyn Transport>, shared: Arc<Shared>) {
    let mut orders = shared.orders.subscribe();
    let at_first = *orders.borrow_and_update();
    let Some(at) = shared.find(&mut orders, at_first).await else { return };
    let Ok(far) = transport.dial(&at).await else { return };
    let Ok(near) = incoming.ready.await else { return };
    let live = Live::new(&shared);
    let Connection { sink, stream: mut near_stream, .. } = near;
    let mut near_sink = Some(sink);
    let Connection { sink, stream: mut far_stream, .. } = far;
    let mut far_sink = Some(sink);
    let flow = async {
        tokio::try_join!(
            pump(&mut near_stream, &mut far_sink, &shared.dark[0]),
            pump(&mut far_stream, &mut near_sink, &shared.dark[1]),
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
            drop((near_stream, near_sink));
            swallow(read_all(far_stream), orders, at_first).await;
        }
        Some(End::Node) => {
            drop((far_stream, far_sink));
            swallow(read_all(near_stream), orders, at_first).await;
        }
    }
}

async fn read_all(mut from: Box<dyn FrameStream>) {
    let mut batch = FrameBatch::new();
    while let Ok(Received::Frames) = from.recv(&mut batch).await {
        batch = FrameBatch::new();
    }
}

async fn pump(
    from: &mut Box<dyn FrameStream>,
    to: &mut Option<Box<dyn FrameSink>>,
    dark: &AtomicBool,
) -> Result<(), TransportError> {
    let mut batch = FrameBatch::new();
    let mut lost = false;
    loop {
        let received = from.recv(&mut batch).await?;
        // What comes behind a gap vanishes as well, until the connection is cut.
        lost |= dark.load(SeqCst);
        match (received, to.as_mut()) {
            (Received::Frames, Some(to)) if !lost => {
                while !batch.is_empty() {
                    to.send(&mut batch).await?;
                }
                to.send(&mut batch).await?;
            }
            (Received::Frames, _) => batch = FrameBatch::new(),
            // The other direction may go on.
            (Received::End, Some(_)) if !lost => {
                return match to.take() {
                    Some(to) => to.close().await,
                    None => Ok(()),
                };
            }
            (Received::End, _) => return Ok(()),
        }
    }
}
