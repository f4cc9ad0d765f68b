use std::{sync::Arc, time::Duration};

use dchan_core::{
    Addr, Connection, ErrorKind, Frame, FrameBatch, FrameSink, FrameStream, LaneId, Listener,
    Received, Transport,
};
use tokio::time::timeout;

use super::TransportFixture;
use crate::{
    bounded::bounded,
    failure::{Failure, Outcome, ensure},
};

/// A listener and one connection to it.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) listener: Box<dyn Listener>,
    pub(super) at: Addr,
    pub(super) dialled: Connection,
    pub(super) accepted: Connection,
}

impl Pair {
    pub(super) async fn new(fixture: &dyn TransportFixture) -> Outcome<Self> {
        let transport = fixture.transport();
        let mut listener = transport.listen(&fixture.listen_at()).await?;
        let at = listener.local_addr();
        let (dialled, accepted) = meet(&transport, &mut listener, &at).await?;
        Ok(Self { transport, listener, at, dialled, accepted })
    }

    /// The connection both ways round: first the end that sends.
    pub(super) fn by(self, role: Role) -> (Connection, Connection, Box<dyn Listener>) {
        match role {
            Role::DiallerSends => (self.dialled, self.accepted, self.listener),
            Role::AcceptorSends => (self.accepted, self.dialled, self.listener),
        }
    }
}

/// Which end plays which part.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    DiallerSends,
    AcceptorSends,
}

impl Role {
    pub(super) const BOTH: [Self; 2] = [Self::DiallerSends, Self::AcceptorSends];
}

/// Dials `at`, which leads to the listener, and accepts.
pub(super) async fn meet(
    transport: &Arc<dyn Transport>,
    listener: &mut Box<dyn Listener>,
    at: &Addr,
) -> Outcome<(Connection, Connection)> {
    let accept = async {
        let incoming = listener.accept().await?;
        Ok::<_, Failure>(incoming.ready.await?)
    };
    let dial = async { Ok::<_, Failure>(transport.dial(at).await?) };
    bounded("dialling and accepting", async { tokio::try_join!(dial, accept) }).await?
}

/// A frame for where it does not matter which.
pub(super) fn any_frame(size: usize) -> Frame {
    Frame::new(LaneId::FIRST, vec![7; size].into())
}

/// Sends one frame one way and waits for it at the other end.
pub(super) async fn one_frame(
    sink: &mut Box<dyn FrameSink>,
    stream: &mut Box<dyn FrameStream>,
) -> Outcome {
    let (mut batch, mut got) = (FrameBatch::new(), FrameBatch::new());
    batch.push(any_frame(3));
    sink.send(&mut batch).await?;
    sink.send(&mut batch).await?;
    let received = bounded("one frame", stream.recv(&mut got)).await??;
    ensure!(received == Received::Frames, "the stream ended instead of giving a frame");
    ensure!(got.pop() == Some(any_frame(3)), "another frame came than was sent");
    Ok(())
}

/// Both directions carry a frame.
pub(super) async fn is_alive(a: &mut Connection, b: &mut Connection) -> Outcome {
    one_frame(&mut a.sink, &mut b.stream).await?;
    one_frame(&mut b.sink, &mut a.stream).await
}

/// Sends until `send` waits for long, and returns how many frames it took. What is left in the
/// batch was not sent.
pub(super) async fn fill(
    sink: &mut Box<dyn FrameSink>,
    limit: usize,
    frame: impl Fn(usize) -> Frame,
) -> Outcome<usize> {
    let (mut taken, mut bytes, mut waits) = (0, 0, false);
    while bytes < limit && !waits {
        let mut batch = FrameBatch::new();
        batch.push(frame(taken));
        let size = batch.bytes();
        match timeout(Duration::from_millis(500), sink.send(&mut batch)).await {
            Ok(sent) => sent?,
            Err(_) => waits = true,
        }
        if batch.is_empty() {
            taken += 1;
            bytes += size;
        }
    }
    Ok(taken)
}

/// Waits until the stream reports that its connection is over, whichever way.
pub(super) async fn is_over(stream: &mut Box<dyn FrameStream>) -> Outcome {
    let over = async {
        let mut batch = FrameBatch::new();
        while let Ok(Received::Frames) = stream.recv(&mut batch).await {
            while batch.pop().is_some() {}
        }
    };
    bounded("recv: noticing that the connection is over", over).await
}

/// Waits until sends fail, and as broken.
pub(super) async fn sends_fail(sink: &mut Box<dyn FrameSink>) -> Outcome {
    let failing = async {
        loop {
            let mut batch = FrameBatch::new();
            batch.push(any_frame(1));
            if let Err(error) = sink.send(&mut batch).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let error = bounded("send: noticing that the connection is over", failing).await?;
    ensure!(
        error.kind == ErrorKind::Broken,
        "send failed as {:?}, not Broken: {error}",
        error.kind
    );
    Ok(())
}
