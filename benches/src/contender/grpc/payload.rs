use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes};
use futures::{Stream, stream};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::{Msg, contender::framed::BATCH};

/// What a message of gRPC is.
pub(in crate::contender) trait Payload: Send + Sync + Sized + 'static {
    /// What goes out, out of what is queued.
    fn pack(queue: mpsc::Receiver<Msg>) -> impl Stream<Item = Self> + Send + 'static;
    /// Takes the next message out of it.
    fn unpack(&mut self) -> anyhow::Result<Option<Msg>>;
    /// Writes it into the buffer that is sent.
    fn encode(self, out: &mut EncodeBuf<'_>) -> anyhow::Result<()>;
    /// Reads it out of what was received.
    fn decode(from: &mut DecodeBuf<'_>) -> anyhow::Result<Self>;
}

/// One of ours.
pub(in crate::contender) struct Item(pub(super) Option<Msg>);

impl Payload for Item {
    fn pack(queue: mpsc::Receiver<Msg>) -> impl Stream<Item = Self> + Send + 'static {
        ReceiverStream::new(queue).map(|message| Self(Some(message)))
    }

    fn unpack(&mut self) -> anyhow::Result<Option<Msg>> {
        Ok(self.0.take())
    }

    fn encode(self, out: &mut EncodeBuf<'_>) -> anyhow::Result<()> {
        self.0.iter().try_for_each(|message| message.write(out))
    }

    fn decode(from: &mut DecodeBuf<'_>) -> anyhow::Result<Self> {
        let message = match from.has_remaining() {
            true => Some(Msg::decode(from.chunk())?),
            false => None,
        };
        from.advance(from.remaining());
        Ok(Self(message))
    }
}

/// As many of ours as are queued, up to about 64 KiB.
pub(in crate::contender) struct Batch(Bytes);

impl Payload for Batch {
    fn pack(queue: mpsc::Receiver<Msg>) -> impl Stream<Item = Self> + Send + 'static {
        stream::unfold(queue, |mut queue| async move {
            let mut out = Vec::with_capacity(BATCH + BATCH / 8);
            let mut next = queue.recv().await;
            while let Some(message) = next {
                // A message can always be written.
                message.put(&mut out).ok()?;
                next = if out.len() < BATCH { queue.try_recv().ok() } else { None };
            }
            (!out.is_empty()).then(|| (Self(out.into()), queue))
        })
    }

    fn unpack(&mut self) -> anyhow::Result<Option<Msg>> {
        Msg::take(&mut self.0)
    }

    fn encode(self, out: &mut EncodeBuf<'_>) -> anyhow::Result<()> {
        out.put(self.0);
        Ok(())
    }

    fn decode(from: &mut DecodeBuf<'_>) -> anyhow::Result<Self> {
        Ok(Self(from.copy_to_bytes(from.remaining())))
    }
}

/// Hands over to the payload.
pub(super) struct Plain<P>(PhantomData<fn() -> P>);

impl<P> Default for Plain<P> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<P: Payload> Codec for Plain<P> {
    type Encode = P;
    type Decode = P;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<P: Payload> Encoder for Plain<P> {
    type Item = P;
    type Error = Status;

    fn encode(&mut self, payload: P, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        payload.encode(out).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<P: Payload> Decoder for Plain<P> {
    type Item = P;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<P>, Status> {
        P::decode(from).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
