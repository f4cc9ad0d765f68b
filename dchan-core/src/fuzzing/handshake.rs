//! The first words of a stranger.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;

use super::{Input, check_error};
use crate::{
    Addr, Boot, Breach, Connection, Frame, FrameBatch, FrameSink, FrameStream, Identity,
    Incarnation, LaneId, NodeId, Received, TransportError,
    link::{Introduction, expect_hello, greet},
    wire::{Control, Hello, VERSION},
};

/// Any bytes as the frames that a stranger sends to a node that listens, or that dialled it.
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let (listens, proved) = (input.flag(), input.flag());
    let mut frames = VecDeque::new();
    loop {
        let lane = input.near(LaneId::CONTROL.0);
        let more = input.flag();
        let payload = if more { input.bytes(64) } else { input.rest() };
        frames.push_back(Frame::new(LaneId(lane), Bytes::copy_from_slice(payload)));
        if !more || input.is_empty() {
            break;
        }
    }
    let stranger = Addr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 9)));
    let mut connection = Connection::new(Deaf, Script(frames), stranger.clone());
    if proved {
        let identity = Identity { names: vec!["a\nb".repeat(99)], certificate: Bytes::new() };
        connection = connection.with_identity(identity);
    }
    let mine = hello(stranger);
    let heard = if listens {
        let heard = block_on(expect_hello(&mut connection));
        heard.and_then(|theirs| match mine.check(&theirs, connection.identity.as_ref()) {
            Ok(()) => Ok(theirs),
            Err(refusal) => Err(Introduction::Refused(refusal, None)),
        })
    } else {
        block_on(greet(connection, &mine)).map(|(theirs, _)| theirs)
    };
    match heard {
        Ok(theirs) => accepted(&mine, theirs),
        Err(error) => refused(&error),
    }
}

fn accepted(mine: &Hello, theirs: Hello) {
    assert_eq!((theirs.version, &theirs.cluster_name), (mine.version, &mine.cluster_name));
    assert_ne!(theirs.node, mine.node);
    let hello = Control::Hello(theirs);
    let mut again: Bytes = hello.encode(Vec::new()).into();
    assert_eq!(Control::decode_next(&mut again), Ok(Some(hello)));
}

fn refused(error: &Introduction) {
    check_error(error);
    let nobody_to_blame = error.breach().is_none();
    let harmless = matches!(error, Introduction::Refused(refusal, _) if refusal.is_transient());
    assert!(!nobody_to_blame || harmless, "{error} is not counted");
    if let Introduction::Protocol(error) = error {
        assert_eq!(error.kind, Breach::Handshake);
    }
}

fn hello(addr: Addr) -> Hello {
    Hello {
        version: VERSION,
        cluster_name: "dchan".into(),
        cluster: Some(crate::ClusterId(1)),
        transport: "memory".into(),
        node: NodeId(1),
        incarnation: Incarnation(1),
        boot: Boot(1),
        addr,
        attempt: 1,
    }
}

/// Takes everything.
#[derive(Debug)]
struct Deaf;

/// Says what it is told to, and then nothing.
#[derive(Debug)]
struct Script(VecDeque<Frame>);

#[async_trait]
impl FrameSink for Deaf {
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
        while batch.pop().is_some() {}
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), TransportError> {
        Ok(())
    }
}

#[async_trait]
impl FrameStream for Script {
    async fn recv(&mut self, batch: &mut FrameBatch) -> Result<Received, TransportError> {
        match self.0.pop_front() {
            Some(frame) => {
                batch.push(frame);
                Ok(Received::Frames)
            }
            None => Ok(Received::End),
        }
    }
}
