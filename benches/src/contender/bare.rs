//! The practical limit: tokio TCP, one task a side, no queue, no credit, no resume.

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Contender, Ready, Setup, Side};
use crate::Msg;

const BATCH: usize = 64 * 1024;

/// Bare tokio TCP.
pub struct Bare;

impl Contender for Bare {
    type Side = Socket;

    fn name(&self) -> &'static str {
        "bare"
    }

    fn help(&self) -> &'static str {
        "Bare tokio TCP, one task a side, encoded into a 64 KiB write buffer"
    }

    async fn listen(&self, _: &Setup, _: &[String], ready: Ready) -> anyhow::Result<Socket> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ready.say(listener.local_addr()?);
        Socket::over(listener.accept().await?.0)
    }

    async fn connect(&self, _: &Setup, to: &[String]) -> anyhow::Result<Socket> {
        Socket::over(TcpStream::connect(&to[0]).await?)
    }
}

/// One end of a socket, and what is on its way in and out.
pub struct Socket {
    stream: TcpStream,
    out: Vec<u8>,
    read: BytesMut,
}

impl Socket {
    fn over(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        let (out, read) = (Vec::with_capacity(2 * BATCH), BytesMut::with_capacity(4 * BATCH));
        Ok(Self { stream, out, read })
    }
}

impl Side for Socket {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        message.put(&mut self.out)?;
        if self.out.len() >= BATCH {
            self.push().await?;
        }
        Ok(())
    }

    async fn push(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        loop {
            if let Some(message) = Msg::take(&mut self.read)? {
                return Ok(Some(message));
            }
            self.read.reserve(BATCH);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                anyhow::ensure!(self.read.is_empty(), "the peer went away within a message");
                return Ok(None);
            }
        }
    }

    async fn end(mut self) -> anyhow::Result<()> {
        self.push().await?;
        Ok(self.stream.shutdown().await?)
    }
}
