//! What is measured.

mod bare;
mod channel;

use std::sync::Arc;

use clap::ValueEnum;
use dchan_conformance::{tcp::TcpTransport, unary::UnaryTransport};
use dchan_core::Transport;
use dchan_transport_grpc::GrpcTransport;
use dchan_transport_quic::QuicTransport;

use crate::{
    Role,
    workload::{self, Msg},
};

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// Bare tokio TCP, one task a side, encoded into a 64 KiB write buffer.
    Bare,
    /// dchan over the plain TCP transport of the conformance package.
    Tcp,
    /// dchan over gRPC.
    Grpc,
    /// The same, with another channel between the same two nodes whose receiver takes nothing.
    GrpcStalled,
    /// dchan over QUIC.
    Quic,
    /// dchan over unary calls of gRPC, one at a time, of the conformance package.
    Unary,
}

impl Contender {
    /// The transport below a channel.
    fn transport(self) -> Option<Arc<dyn Transport>> {
        match self {
            Self::Bare => None,
            Self::Tcp => Some(Arc::new(TcpTransport)),
            Self::Grpc | Self::GrpcStalled => Some(Arc::new(GrpcTransport::new())),
            Self::Quic => Some(Arc::new(QuicTransport::new())),
            Self::Unary => Some(Arc::new(UnaryTransport)),
        }
    }
}

/// One end of what carries the messages, in a process of its own.
pub(crate) trait Side {
    /// Sends a message, at once or with those that follow.
    async fn send(&mut self, message: Msg) -> anyhow::Result<()>;
    /// Lets what was sent go without waiting for more.
    async fn push(&mut self) -> anyhow::Result<()>;
    /// The next message.
    async fn recv(&mut self) -> anyhow::Result<Msg>;
    /// Waits until all that was sent is there, and checks what can be checked.
    async fn end(self) -> anyhow::Result<()>;
}

/// Plays a role to its end.
pub(crate) async fn play(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Receive(point) => match point.contender.transport() {
            None => workload::receive(&point, bare::Bare::accept().await?).await,
            Some(transport) => {
                workload::receive(&point, channel::Channel::found(&point, transport).await?).await
            }
        },
        Role::Send { point, to } => match point.contender.transport() {
            None => workload::send(&point, bare::Bare::connect(&to).await?).await,
            Some(transport) => {
                workload::send(&point, channel::Channel::join(&point, transport, &to).await?).await
            }
        },
    }
}
