//! Plain TCP as a transport: an example to copy from.
//!
//! A frame on the wire is its payload's length (4 bytes, big-endian), its lane (8 bytes), a byte that
//! is 1 for a lane's last frame, and the payload. There is no encryption: see the gRPC transport for
//! one that real clusters can use.

use std::{collections::VecDeque, io, io::IoSlice, time::Duration};

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use dchan_core::{
    Addr, Connection, ErrorKind, Frame, FrameBatch, FrameSink, FrameStream, Incoming, LaneId,
    Listener, Received, Transport, TransportError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

const HEADER: usize = 4 + 8 + 1;
/// How much is read, or taken from a batch, at a time.
const CHUNK: usize = 256 * 1024;
/// Payloads from here on are written from where they are instead of being copied.
const LARGE: usize = 8 * 1024;

/// Carries frames over plain TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpTransport;

#[async_trait]
impl Transport for TcpTransport {
    fn name(&self) -> &'static str {
        "tcp"
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError> {
        let (listener, local) = listen(at).await?;
        Ok(Box::new(Accepting { listener, local }))
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        Ok(connection(connect(to).await?, to.clone()))
    }
}

/// Listens, and tells where.
pub(crate) async fn listen(at: &Addr) -> Result<(TcpListener, Addr), TransportError> {
    let bind = async {
        let listener = TcpListener::bind(at.as_str()).await?;
        let local = listener.local_addr()?.into();
        Ok((listener, local))
    };
    bind.await.map_err(|error| TransportError::io("listen at", at, error))
}

/// Connects a socket.
pub(crate) async fn connect(to: &Addr) -> Result<TcpStream, TransportError> {
    let socket = TcpStream::connect(to.as_str()).await;
    socket.and_then(prompt).map_err(|error| {
        let mut error = TransportError::io("dial", to, error);
        if error.kind == ErrorKind::Broken {
            // What never stood cannot break: names that do not resolve, resets.
            error.kind = ErrorKind::Unreachable;
        }
        error
    })
}

/// Waits for the next socket, and tells where it comes from.
pub(crate) async fn accept(
    listener: &TcpListener,
    local: &Addr,
) -> Result<(TcpStream, Addr), TransportError> {
    loop {
        let accepted = listener.accept().await;
        let accepted = accepted.and_then(|(socket, from)| Ok((prompt(socket)?, from.into())));
        let error = match accepted {
            Ok(accepted) => return Ok(accepted),
            Err(error) => TransportError::io("accept at", local, error),
        };
        match error.kind {
            // The peer gave up while it waited to be accepted.
            ErrorKind::Broken => {}
            // No sockets left: there may be some soon, and the listener is not dead.
            ErrorKind::Exhausted => tokio::time::sleep(Duration::from_millis(50)).await,
            _ => return Err(error),
        }
    }
}

/// Small frames go at once.
fn prompt(socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    Ok(socket)
}

#[derive(Debug)]
struct Accepting {
    listener: TcpListener,
    local: Addr,
}

#[async_trait]
impl Listener for Accepting {
    fn local_addr(&self) -> Addr {
        self.local.clone()
    }

    async fn accept(&mut self) -> Result<Incoming, TransportError> {
        let (socket, peer) = accept(&self.listener, &self.local).await?;
        let connection = connection(socket, peer.clone());
        Ok(Incoming::new(peer, async { Ok(connection) }))
    }
}

fn connection(socket: TcpStream, peer: Addr) -> Connection {
    let (read, write) = socket.into_split();
    let sink = Sink { socket: write, out: Outgoing::default(), peer: peer.clone() };
    let stream = Stream { socket: read, buffer: BytesMut::new(), peer: peer.clone() };
    Connection::new(sink, stream, peer)
}

#[derive(Debug)]
struct Sink {
    socket: OwnedWriteHalf,
    /// What has been taken and not written: what a dropped `send` leaves waits for the next call.
    out: Outgoing,
    peer: Addr,
}

#[async_trait]
impl FrameSink for Sink {
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
        if batch.iter().any(|frame| frame.payload.len() > Frame::MAX) {
            return Err(TransportError::new(ErrorKind::Protocol, "send to", &self.peer));
        }
        let error = |error| TransportError::io("send to", &self.peer, error);
        self.out.write_to(&mut self.socket).await.map_err(error)?;
        while self.out.bytes < CHUNK {
            let Some(frame) = batch.pop() else { break };
            self.out.push(frame);
        }
        self.out.write_to(&mut self.socket).await.map_err(error)
    }

    async fn close(mut self: Box<Self>) -> Result<(), TransportError> {
        let error = |error| TransportError::io("close to", &self.peer, error);
        self.out.write_to(&mut self.socket).await.map_err(error)?;
        self.socket.shutdown().await.map_err(error)
    }
}

/// Bytes to be written: small ones gathered, large ones as they are.
#[derive(Debug, Default)]
struct Outgoing {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    bytes: usize,
}

impl Outgoing {
    fn push(&mut self, frame: Frame) {
        self.bytes += HEADER + frame.payload.len();
        // A frame's length fits: it is at most `Frame::MAX`.
        self.tail.put_u32(frame.payload.len() as u32);
        self.tail.put_u64(frame.lane.0);
        self.tail.put_u8(frame.last.into());
        if frame.payload.len() < LARGE {
            self.tail.extend_from_slice(&frame.payload);
        } else {
            self.pieces.push_back(self.tail.split().freeze());
            self.pieces.push_back(frame.payload);
        }
    }

    /// Writes everything. Dropped in mid-way, it can be called again.
    async fn write_to(&mut self, socket: &mut OwnedWriteHalf) -> io::Result<()> {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        while self.bytes > 0 {
            let slices: Vec<_> = self.pieces.iter().take(64).map(|p| IoSlice::new(p)).collect();
            let mut written = socket.write_vectored(&slices).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.bytes -= written;
            while let Some(piece) = self.pieces.front_mut().filter(|_| written > 0) {
                let step = written.min(piece.len());
                piece.advance(step);
                written -= step;
                if piece.is_empty() {
                    self.pieces.pop_front();
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Stream {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    peer: Addr,
}

#[async_trait]
impl FrameStream for Stream {
    async fn recv(&mut self, batch: &mut FrameBatch) -> Result<Received, TransportError> {
        let before = batch.len();
        loop {
            while let Some(frame) = self.next_frame()? {
                batch.push(frame);
            }
            if batch.len() > before {
                return Ok(Received::Frames);
            }
            // A whole frame fits into a chunk: what a peer announces sets no memory aside.
            if self.buffer.capacity() - self.buffer.len() < CHUNK / 4 {
                self.buffer.reserve(CHUNK);
            }
            let read = self.socket.read_buf(&mut self.buffer).await;
            let read = read.map_err(|e| TransportError::io("receive from", &self.peer, e))?;
            if read == 0 && self.buffer.is_empty() {
                return Ok(Received::End);
            }
            if read == 0 {
                return Err(self.error(ErrorKind::Broken));
            }
        }
    }
}

impl Stream {
    /// Splits a whole frame off what has been read.
    fn next_frame(&mut self) -> Result<Option<Frame>, TransportError> {
        let Some((mut header, rest)) = self.buffer.split_at_checked(HEADER) else {
            return Ok(None);
        };
        let (len, lane, last) = (header.get_u32() as usize, header.get_u64(), header.get_u8());
        if len > Frame::MAX || last > 1 {
            return Err(self.error(ErrorKind::Protocol));
        }
        if rest.len() < len {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let payload = self.buffer.split_to(len).freeze();
        Ok(Some(Frame { lane: LaneId(lane), payload, last: last == 1 }))
    }

    fn error(&self, kind: ErrorKind) -> TransportError {
        TransportError::new(kind, "receive from", &self.peer)
    }
}
