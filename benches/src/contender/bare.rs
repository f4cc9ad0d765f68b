//! The practical limit: tokio TCP, one task a side, no queue, no credit, no resume.

use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::{
    Contender, InTurn, Ready, Setup, Side,
    framed::{self, BATCH},
};
use crate::Msg;

/// Bare tokio TCP.
pub struct Bare;

impl Contender for Bare {
    type Side = Sockets;

    fn name(&self) -> &'static str {
        "bare"
    }

    fn help(&self) -> &'static str {
        "Bare tokio TCP, one task a side, encoded into a 64 KiB write buffer"
    }

    fn lacks(&self, setup: &Setup) -> Option<String> {
        (setup.senders > 1).then(|| "it has one sender".to_owned())
    }

    async fn listen(&self, _: &Setup, _: &[String], ready: Ready) -> anyhow::Result<Sockets> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ready.say(listener.local_addr()?);
        Ok(Sockets(InTurn::new([Socket::new(listener.accept().await?.0)?])))
    }

    async fn connect(&self, _: &Setup, to: &[String]) -> anyhow::Result<Sockets> {
        let mut all = Vec::new();
        for to in to {
            all.push(Socket::new(TcpStream::connect(to).await?)?);
        }
        Ok(Sockets(InTurn::new(all)))
    }
}

/// One socket for each receiver.
pub struct Sockets(InTurn<Socket>);

/// A socket, and what is on its way out and in.
struct Socket {
    stream: TcpStream,
    out: Vec<u8>,
    read: BytesMut,
}

impl Socket {
    fn new(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, out: Vec::with_capacity(2 * BATCH), read: framed::buffer() })
    }

    async fn push(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }
}

impl Side for Sockets {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        let socket = self.0.turn();
        message.put(&mut socket.out)?;
        if socket.out.len() >= BATCH {
            socket.push().await?;
        }
        Ok(())
    }

    async fn push(&mut self) -> anyhow::Result<()> {
        for socket in self.0.all() {
            socket.push().await?;
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        let Socket { stream, read, .. } = self.0.first();
        framed::read(stream, read).await
    }

    async fn recv_while(
        &mut self,
        take: impl FnMut(Msg) -> anyhow::Result<bool> + Send,
    ) -> anyhow::Result<()> {
        let Socket { stream, read, .. } = self.0.first();
        framed::read_while(stream, read, take).await
    }

    async fn end(mut self) -> anyhow::Result<()> {
        self.push().await?;
        for socket in self.0.all() {
            socket.stream.shutdown().await?;
        }
        Ok(())
    }
}
