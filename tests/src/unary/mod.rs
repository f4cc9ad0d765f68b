//! A transport out of unary calls of gRPC: an example for those whose network has nothing but question
//! and answer.
//!
//! Calls are not ordered among each other: HTTP/2 gives each a stream of its own, and a server works on
//! them in any order. A transport that makes a call for each frame, each from a task of its own, mixes
//! frames up as soon as there is load. Here each direction of a connection has one call under way, and
//! the next begins when that one is answered:
//!
//! - `Push` brings frames of the side that dialled. It is answered once there is room for the next ones:
//!   so a reader that does not read makes its writer wait.
//! - `Pull` fetches frames of the other side, which has nobody to call. It is answered as soon as there
//!   are some, and that may be long after.
//! - `Open` comes first. Its answer says that somebody is there who took the connection in.
//!
//! Messages are numbered, so that whoever breaks this is found out instead of believed. A call that fails
//! is not repeated: nobody could tell whether it was made already. It breaks the connection, and core,
//! which counts what has arrived, goes on over another one.
//!
//! All calls of a connection share one connection of HTTP/2, which ends with it. The price of it all is
//! a round trip for each message: see [`GrpcTransport`] for one stream in place of many calls.
//!
//! [`GrpcTransport`]: https://docs.rs/dchan-transport-grpc

mod accepted;
mod arrivals;
mod dialled;
mod message;
mod tasks;

use async_trait::async_trait;
use dchan_core::{Addr, Connection, ErrorKind, Incoming, Listener, Transport, TransportError};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::tcp;

const OPEN: PathAndQuery = PathAndQuery::from_static("/dchan.unary.Link/Open");
const PUSH: PathAndQuery = PathAndQuery::from_static("/dchan.unary.Link/Push");
const PULL: PathAndQuery = PathAndQuery::from_static("/dchan.unary.Link/Pull");

/// Carries frames in unary calls of gRPC. There is no encryption.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnaryTransport;

#[async_trait]
impl Transport for UnaryTransport {
    fn name(&self) -> &'static str {
        "unary"
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError> {
        let (listener, local) = tcp::listen(at).await?;
        Ok(Box::new(Accepting { listener, local }))
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        dialled::dial(to).await
    }
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
        let (socket, peer) = tcp::accept(&self.listener, &self.local).await?;
        Ok(Incoming::new(peer.clone(), accepted::serve(socket, peer)))
    }
}

/// What the status of a call says about its connection.
fn failed(operation: &'static str, peer: &Addr, status: Status) -> TransportError {
    let kind = match status.code() {
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::Protocol,
        _ => ErrorKind::Broken,
    };
    TransportError::new(kind, operation, peer).because(status)
}
