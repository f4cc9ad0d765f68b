//! Messages in a stream of bytes, each behind its length.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::Msg;

/// How many bytes are written and read at a time, about.
pub(super) const BATCH: usize = 64 * 1024;

/// Room for what has been read.
pub(super) fn buffer() -> BytesMut {
    BytesMut::with_capacity(4 * BATCH)
}

/// Reads messages for as long as `take` asks for more, or until the peer has ended.
pub(super) async fn read_while(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    mut take: impl FnMut(Msg) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    loop {
        while let Some(message) = Msg::take(buffer)? {
            if !take(message)? {
                return Ok(());
            }
        }
        buffer.reserve(BATCH);
        if from.read_buf(buffer).await? == 0 {
            anyhow::ensure!(buffer.is_empty(), "the peer went away within a message");
            return Ok(());
        }
    }
}

/// Reads the next message, if another one comes.
pub(super) async fn read(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> anyhow::Result<Option<Msg>> {
    let mut next = None;
    let take = |message| {
        next = Some(message);
        Ok(false)
    };
    read_while(from, buffer, take).await?;
    Ok(next)
}
