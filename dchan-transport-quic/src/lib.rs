//! QUIC transport for dchan: one connection per pair of nodes, in both directions, and in it a stream for
//! each lane, so that a lane that is blocked or has lost a packet holds up no other.
//!
//! What is on the streams is in `docs/wire.md`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), dchan_core::TransportError> {
//! use dchan_core::Transport;
//! use dchan_transport_quic::QuicTransport;
//!
//! let transport = QuicTransport::new();
//! let mut listener = transport.listen(&"127.0.0.1:0".parse().expect("an address")).await?;
//! let at = listener.local_addr();
//! let (dialled, accepted) =
//!     tokio::try_join!(transport.dial(&at), async { listener.accept().await?.ready.await })?;
//! assert_eq!(dialled.peer, at);
//! # Ok(()) }
//! ```

mod dial;
mod error;
mod in_stream;
mod link;
mod listen;
mod out_stream;
mod security;
mod sink;
mod socket;
mod stream;
mod transport;
mod tuning;
mod unit;

pub use transport::QuicTransport;

#[cfg(test)]
mod tests;
