//! gRPC transport for dchan: one bidirectional stream per pair of nodes carries everything, in both
//! directions, tagged with its lane.
//!
//! The protocol is published in `proto/dchan.proto`, so that any gRPC implementation can speak it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), dchan_core::TransportError> {
//! use dchan_core::Transport;
//! use dchan_transport_grpc::GrpcTransport;
//!
//! let transport = GrpcTransport::new();
//! let mut listener = transport.listen(&"127.0.0.1:0".parse().expect("an address")).await?;
//! let at = listener.local_addr();
//! let (dialled, accepted) =
//!     tokio::try_join!(transport.dial(&at), async { listener.accept().await?.ready.await })?;
//! assert_eq!(dialled.peer, at);
//! # Ok(()) }
//! ```

mod call;
mod codec;
mod dial;
mod drive;
mod error;
mod halves;
#[doc(hidden)]
pub mod http2;
mod listen;
mod rope;
mod secure;
mod transport;

pub use transport::GrpcTransport;

#[cfg(test)]
mod plain;
#[cfg(test)]
mod tests;
