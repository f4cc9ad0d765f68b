//! The practical limit: tokio TCP, one task a side, no queue, no credit, no resume.

use anyhow::Context;
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::Side;
use crate::workload::Msg;

const BATCH: usize = 64 * 1024;

pub(super) struct Bare {
    stream: TcpStream,
    out: Vec<u8>,
    read: BytesMut,
}

impl Bare {
    pub(super) async fn accept() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("ready {}", listener.local_addr()?);
        Self::over(listener.accept().await?.0)
    }

    pub(super) async fn connect(to: &str) -> anyhow::Result<Self> {
        Self::over(TcpStream::connect(to).await?)
    }

    fn over(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        let (out, read) = (Vec::with_capacity(2 * BATCH), BytesMut::with_capacity(4 * BATCH));
        Ok(Self { stream, out, read })
    }
}

impl Side for Bare {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        let at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        self.out =
            postcard::to_extend(&message, std::mem::take(&mut self.out)).context("encode")?;
        let len = (self.out.len() - at - 4) as u32;
        self.out[at..at + 4].copy_from_slice(&len.to_le_bytes());
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

    async fn recv(&mut self) -> anyhow::Result<Msg> {
        loop {
            if let Some(len) = self.read.first_chunk().map(|len| u32::from_le_bytes(*len) as usize)
                && let Some(body) = self.read.get(4..4 + len)
            {
                let message = postcard::from_bytes(body)?;
                self.read.advance(4 + len);
                return Ok(message);
            }
            self.read.reserve(BATCH);
            anyhow::ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the peer went away");
        }
    }

    async fn end(mut self) -> anyhow::Result<()> {
        self.push().await?;
        Ok(self.stream.shutdown().await?)
    }
}
