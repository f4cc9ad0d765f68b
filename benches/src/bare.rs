//! The practical limit: tokio TCP, one task a side, no queue, no credit, no resume.

use anyhow::Context;
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    Point,
    workload::{Msg, Sink, Source, cpu},
};

const BATCH: usize = 64 * 1024;

pub(crate) async fn receive() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ready {}", listener.local_addr()?);
    let (mut stream, _) = listener.accept().await?;
    let mut buffer = BytesMut::with_capacity(4 * BATCH);
    let mut sink = Sink::default();
    loop {
        while let Some(len) = buffer.first_chunk().map(|len| u32::from_le_bytes(*len) as usize) {
            let Some(body) = buffer.get(4..4 + len) else { break };
            if !sink.accept(&postcard::from_bytes::<Msg>(body)?)? {
                println!("done {}", sink.report()?);
                return Ok(());
            }
            buffer.advance(4 + len);
        }
        buffer.reserve(BATCH);
        anyhow::ensure!(stream.read_buf(&mut buffer).await? > 0, "the sender went away");
    }
}

pub(crate) async fn send(point: &Point, to: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(2 * BATCH);
    for message in Source::new(point).chain([Msg::end()]) {
        let at = buffer.len();
        buffer.extend_from_slice(&[0; 4]);
        buffer = postcard::to_extend(&message, buffer).context("encode")?;
        let len = (buffer.len() - at - 4) as u32;
        buffer[at..at + 4].copy_from_slice(&len.to_le_bytes());
        if buffer.len() >= BATCH {
            stream.write_all(&buffer).await?;
            buffer.clear();
        }
    }
    stream.write_all(&buffer).await?;
    stream.shutdown().await?;
    println!("done {}", cpu()?);
    Ok(())
}
