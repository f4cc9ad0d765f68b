//! ZeroMQ with its default high-water marks. It blocks its thread, as it is made to do.

use anyhow::Context as _;
use dchan_benches::{Contender, Msg, Ready, Setup, Side};
use tokio::task::{spawn_blocking, yield_now};
use zmq::{Context, Error, Message, Socket, SocketType};

/// How long a socket waits before others of its task have a turn, in milliseconds.
const TURN: i32 = 20;
/// Nobody has taken anything for so long: the peer is gone. In milliseconds.
const LONG: i32 = 10_000;
/// From so many bytes on, a message is sent from where it is.
const LARGE: usize = 4096;

/// PUSH and PULL, or DEALER and DEALER if messages go both ways.
pub(crate) struct Zmq;

impl Contender for Zmq {
    type Side = End;

    fn name(&self) -> &'static str {
        "zmq"
    }

    fn help(&self) -> &'static str {
        "ZeroMQ over TCP: PUSH and PULL, or DEALER and DEALER"
    }

    fn lacks(&self, _: &Setup) -> Option<String> {
        None
    }

    async fn listen(&self, setup: &Setup, _: &[String], ready: Ready) -> anyhow::Result<End> {
        let end = End::new(setup, SocketType::PULL)?;
        end.socket.bind("tcp://127.0.0.1:*")?;
        let at = end.socket.get_last_endpoint()?.ok().context("an address that is no text")?;
        ready.say(at);
        Ok(end)
    }

    async fn connect(&self, setup: &Setup, to: &[String]) -> anyhow::Result<End> {
        let end = End::new(setup, SocketType::PUSH)?;
        to.iter().try_for_each(|to| end.socket.connect(to))?;
        Ok(end)
    }
}

/// A socket.
pub(crate) struct End {
    context: Context,
    socket: Socket,
    out: Vec<u8>,
}

impl End {
    fn new(setup: &Setup, one_way: SocketType) -> anyhow::Result<Self> {
        let context = Context::new();
        let socket = context.socket(if setup.both_ways { SocketType::DEALER } else { one_way })?;
        socket.set_rcvtimeo(TURN)?;
        socket.set_sndtimeo(LONG)?;
        socket.set_linger(LONG)?;
        Ok(Self { context, socket, out: Vec::new() })
    }

    /// The next message, unless none comes for some time.
    fn take(&self) -> anyhow::Result<Option<Msg>> {
        let mut message = Message::new();
        match self.socket.recv(&mut message, 0) {
            Ok(()) => Msg::decode(&message).map(Some),
            Err(Error::EAGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Side for End {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        if message.body.len() >= LARGE {
            return Ok(self.socket.send(message.encode()?, 0)?);
        }
        self.out.clear();
        message.write(&mut self.out)?;
        Ok(self.socket.send(&self.out[..], 0)?)
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            yield_now().await;
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        let Self { mut context, socket, .. } = self;
        drop(socket);
        // It waits until the peer has what was sent.
        Ok(spawn_blocking(move || context.destroy()).await??)
    }
}
