//! A peer that says whatever it likes, over any transport.

pub mod wire;

use std::{sync::Arc, time::Duration};

use dchan_core::{
    Addr, Connection, Frame, FrameBatch, FrameSink, FrameStream, LaneId, Received, Receiver,
    Transport,
};
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::Instant};

use crate::cluster::{PATIENCE, until};
use wire::{Attach, Control, Credit, Hello, Refusal};

/// A peer that has a connection and no manners. It listens all the while.
#[derive(Debug)]
pub struct Adversary {
    sink: Sink,
    heard: Arc<Mutex<Heard>>,
    /// Listening, and saying that it is there.
    tasks: [JoinHandle<()>; 2],
    /// Whom it talks to.
    pub theirs: Hello,
}

type Sink = Arc<tokio::sync::Mutex<Box<dyn FrameSink>>>;

/// What the other side said.
#[derive(Debug, Default)]
struct Heard {
    controls: Vec<Control>,
    /// Frames of other lanes than that of control messages.
    frames: Vec<(u64, Vec<u8>)>,
    ended: bool,
}

impl Hello {
    /// The hello of a decent node.
    pub fn decent(transport: &dyn Transport, node: u64) -> Self {
        Self {
            version: 1,
            cluster_name: "dchan".into(),
            cluster: None,
            transport: transport.name().into(),
            node,
            incarnation: 1,
            boot: fastrand::u64(..),
            addr: "127.0.0.1:9".into(),
            attempt: 1,
        }
    }
}

/// Dials until there is a connection: on a busy machine it may not be made in time.
///
/// # Panics
///
/// If there is none after a long time.
pub async fn reach(transport: &dyn Transport, to: &Addr) -> Connection {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match transport.dial(to).await {
            Ok(connection) => return connection,
            Err(error) => assert!(Instant::now() < deadline, "no connection: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Adversary {
    /// Dials, and introduces itself. `Err` is how it was refused; `None` if the connection just ended.
    ///
    /// # Panics
    ///
    /// If there is no connection at all, or no answer in time.
    pub async fn meet(
        transport: &dyn Transport,
        to: &Addr,
        hello: Hello,
    ) -> Result<Self, Option<(Refusal, Hello)>> {
        Self::meet_in(reach(transport, to).await, hello).await
    }

    /// The same in a connection that it has.
    ///
    /// # Panics
    ///
    /// If there is no answer in time.
    pub async fn meet_in(
        connection: Connection,
        hello: Hello,
    ) -> Result<Self, Option<(Refusal, Hello)>> {
        let Connection { mut sink, stream, .. } = connection;
        let heard = Arc::<Mutex<Heard>>::default();
        let listening = tokio::spawn(listen(stream, heard.clone()));
        let mut batch = FrameBatch::new();
        batch.push(Frame::new(LaneId(0), wire::encode(&Control::Hello(hello)).into()));
        if sink.send(&mut batch).await.is_err() || sink.send(&mut batch).await.is_err() {
            listening.abort();
            return Err(None);
        }
        until("the hello is answered", || {
            let heard = heard.lock();
            heard.ended || !heard.controls.is_empty()
        })
        .await;
        let first = heard.lock().controls.first().cloned();
        match first {
            Some(Control::Welcome(theirs)) => {
                let sink = Arc::new(tokio::sync::Mutex::new(sink));
                let beating = tokio::spawn(beat(sink.clone()));
                Ok(Self { sink, heard, tasks: [listening, beating], theirs })
            }
            Some(Control::Refuse(refusal, theirs)) => {
                listening.abort();
                Err(Some((refusal, theirs)))
            }
            Some(other) => panic!("a hello is answered with {other:?}"),
            None => Err(None),
        }
    }

    /// Sends a frame, if the other side still listens. Whether it does.
    pub async fn frame(&mut self, lane: u64, payload: Vec<u8>) -> bool {
        self.frames([(lane, payload)]).await
    }

    /// Sends frames. Whether the other side took them.
    ///
    /// # Panics
    ///
    /// If the other side neither reads nor ends the connection.
    pub async fn frames(&mut self, frames: impl IntoIterator<Item = (u64, Vec<u8>)>) -> bool {
        let mut batch = FrameBatch::new();
        for (lane, payload) in frames {
            batch.push(Frame::new(LaneId(lane), payload.into()));
        }
        let sending = send(&self.sink, batch);
        tokio::time::timeout(PATIENCE, sending).await.expect("they read, or hang up")
    }

    /// Says something of the link or its lanes.
    pub async fn say(&mut self, controls: &[Control]) -> bool {
        self.frame(wire::CONTROL, wire::controls(controls)).await
    }

    /// Opens a lane to a receiver, and waits for its first credit.
    pub async fn open<T: Send + 'static>(&mut self, lane: u64, to: &Receiver<T>) -> Credit {
        self.frame(lane, wire::attach(&attach_to(to))).await;
        self.hear("a lane is answered", |control| match control {
            Control::Resumed { credit, .. } if credit.lane == lane => Some(credit.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until the other side has said something of that sort.
    ///
    /// # Panics
    ///
    /// If it does not in time.
    pub async fn hear<R>(&mut self, what: &str, is: impl Fn(&Control) -> Option<R>) -> R {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.heard.lock().controls.iter().rev().find_map(&is) {
                return found;
            }
            assert!(!self.has_ended(), "the connection ended while waiting until {what}");
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many control messages of that sort were heard.
    pub fn count(&self, is: impl Fn(&Control) -> bool) -> usize {
        self.heard.lock().controls.iter().filter(|control| is(control)).count()
    }

    /// How many messages may be sent on a lane, as was last said.
    pub fn granted(&self, lane: u64) -> u64 {
        let granted = |control: &Control| match control {
            Control::Credit(credit) | Control::Resumed { credit, .. } if credit.lane == lane => {
                Some(credit.limit_messages)
            }
            _ => None,
        };
        self.heard.lock().controls.iter().rev().find_map(granted).unwrap_or(0)
    }

    /// The frames of a lane that were heard.
    pub fn frames_of(&self, lane: u64) -> Vec<Vec<u8>> {
        let heard = self.heard.lock();
        heard.frames.iter().filter(|(of, _)| *of == lane).map(|(_, bytes)| bytes.clone()).collect()
    }

    /// The lanes that the other side has introduced, with how.
    pub fn attached(&self) -> Vec<(u64, Attach)> {
        let heard = self.heard.lock();
        let attach = |(lane, bytes): &(u64, Vec<u8>)| match bytes.split_first() {
            Some((1, rest)) if *lane >= wire::FIRST => {
                Some((*lane, postcard::from_bytes(rest).ok()?))
            }
            _ => None,
        };
        heard.frames.iter().filter_map(attach).collect()
    }

    /// Whether the other side has ended the connection.
    pub fn has_ended(&self) -> bool {
        self.heard.lock().ended
    }

    /// Waits until the other side ends the connection.
    pub async fn cut(&self) {
        until("the connection is cut", || self.has_ended()).await;
    }
}

impl Drop for Adversary {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A decent introduction of a lane to that receiver.
pub fn attach_to<T: Send + 'static>(receiver: &Receiver<T>) -> Attach {
    let id = receiver.id();
    Attach {
        namespace: receiver.namespace().as_str().into(),
        receiver: (id.boot.0, id.counter),
        fresh: true,
        taken: 0,
        wanting: true,
    }
}

/// Whether all of it went.
async fn send(sink: &Sink, mut batch: FrameBatch) -> bool {
    let mut sink = sink.lock().await;
    while !batch.is_empty() {
        if sink.send(&mut batch).await.is_err() {
            return false;
        }
    }
    sink.send(&mut batch).await.is_ok()
}

async fn beat(sink: Sink) {
    let payload = wire::encode(&Control::Beat { sent: 0, echo: None, version: 0 });
    loop {
        let mut batch = FrameBatch::new();
        batch.push(Frame::new(LaneId(wire::CONTROL), payload.clone().into()));
        if !send(&sink, batch).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn listen(mut stream: Box<dyn FrameStream>, heard: Arc<Mutex<Heard>>) {
    let mut batch = FrameBatch::new();
    while let Ok(Received::Frames) = stream.recv(&mut batch).await {
        let mut heard = heard.lock();
        while let Some(Frame { lane, payload, .. }) = batch.pop() {
            if lane.0 == wire::CONTROL {
                heard.controls.extend(wire::decode(&payload));
            } else {
                heard.frames.push((lane.0, payload.to_vec()));
            }
        }
    }
    heard.lock().ended = true;
}
