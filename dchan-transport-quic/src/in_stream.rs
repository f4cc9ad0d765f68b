use std::{
    array,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use quinn::{ReadError, RecvStream};

use crate::unit::{Decoder, Malformed, Unit};

/// How many pieces of a stream, a packet's share each, are read at a time.
const PIECES: usize = 48;

/// A stream that comes in, and what has been read of it.
#[derive(Debug)]
pub(crate) struct InStream {
    stream: RecvStream,
    /// Whether it is the first of its direction, which has units that others have not.
    first: bool,
    decoder: Decoder,
    counted: usize,
}

impl InStream {
    pub(crate) fn new(stream: RecvStream, first: bool) -> Self {
        Self { stream, first, decoder: Decoder::default(), counted: 0 }
    }

    pub(crate) fn is_first(&self) -> bool {
        self.first
    }

    /// How many bytes wait for the rest of their frame.
    pub(crate) fn waiting(&self) -> usize {
        self.decoder.waiting()
    }

    /// The same, as it was when this was called before and as it is now.
    pub(crate) fn recount(&mut self) -> (usize, usize) {
        let before = std::mem::replace(&mut self.counted, self.decoder.waiting());
        (before, self.counted)
    }

    /// The next unit of what has been read.
    pub(crate) fn next(&mut self) -> Result<Option<Unit>, Malformed> {
        match self.decoder.next()? {
            Some(Unit::Ready | Unit::End(_)) if !self.first => {
                Err(Malformed("what belongs on the first stream came on another one"))
            }
            Some(unit) => Ok(Some(unit)),
            None => {
                self.decoder.rest();
                Ok(None)
            }
        }
    }

    /// Reads what is there. False at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ReadError>> {
        let mut pieces: [Bytes; PIECES] = array::from_fn(|_| Bytes::new());
        // Cancel-safe: dropped while it waits, it has read nothing.
        let read = ready!(pin!(self.stream.read_chunks(&mut pieces)).poll(cx))?;
        let Some(read) = read else { return Poll::Ready(Ok(false)) };
        pieces[..read].iter().for_each(|piece| self.decoder.push(piece));
        Poll::Ready(Ok(true))
    }
}

/// Waits until a stream has something to read, or has ended, and gives it back.
#[derive(Debug)]
pub(crate) struct Reading(Option<InStream>);

impl Reading {
    pub(crate) fn new(stream: InStream) -> Self {
        Self(Some(stream))
    }
}

impl Future for Reading {
    type Output = (InStream, Result<bool, ReadError>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(stream) = &mut self.0 else { return Poll::Pending };
        let read = ready!(stream.poll_read(cx));
        self.0.take().map_or(Poll::Pending, |stream| Poll::Ready((stream, read)))
    }
}
