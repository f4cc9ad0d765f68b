use std::{
    collections::VecDeque,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use dchan_core::Frame;
use quinn::{SendStream, StoppedError, StreamId, VarInt, WriteError};

use crate::unit::pieces;

/// A stream that goes out, and what is to be written to it.
#[derive(Debug)]
pub(crate) struct OutStream {
    stream: SendStream,
    pieces: VecDeque<Bytes>,
    waiting: usize,
    finish: bool,
}

impl OutStream {
    pub(crate) fn new(stream: SendStream) -> Self {
        Self { stream, pieces: VecDeque::new(), waiting: 0, finish: false }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.stream.id()
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        self.waiting += piece.len();
        self.pieces.push_back(piece);
    }

    pub(crate) fn push_frame(&mut self, frame: Frame) {
        let (first, second) = pieces(frame);
        self.push(first);
        second.into_iter().for_each(|second| self.push(second));
    }

    /// Whether the stream ends behind what has been pushed.
    pub(crate) fn finish_when_drained(&mut self, finish: bool) {
        self.finish = finish;
        self.finish_if_drained();
    }

    /// How many bytes are to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether QUIC has taken everything.
    pub(crate) fn is_drained(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether QUIC has taken everything, the end too.
    pub(crate) fn is_finished(&self) -> bool {
        self.finish && self.is_drained()
    }

    /// Writes for as long as QUIC takes it. If it is pending, the task is woken when it may go on.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        while !self.pieces.is_empty() {
            let written = {
                let pieces = self.pieces.make_contiguous();
                // Cancel-safe: dropped while it waits, it has written nothing.
                ready!(pin!(self.stream.write_chunks(pieces)).poll(cx))?
            };
            self.pieces.drain(..written.chunks);
            self.waiting -= written.bytes;
        }
        self.finish_if_drained();
        Poll::Ready(Ok(()))
    }

    fn finish_if_drained(&mut self) {
        if self.is_finished() {
            // An error means that it has ended already.
            let _ended = self.stream.finish();
        }
    }

    /// Waits until the peer has everything, once the stream is finished.
    pub(crate) fn acknowledged(
        &self,
    ) -> impl Future<Output = Result<Option<VarInt>, StoppedError>> + Send + 'static {
        self.stream.stopped()
    }
}
