use std::{error::Error, io};

use super::Addr;

/// What kind of failure a transport had. Core decides from this alone whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The address is not one that this transport can use: trying again is useless.
    Address,
    /// The address to listen at is taken.
    InUse,
    /// Nobody answers there now.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// The connection was there and is no more.
    Broken,
    /// The peer, or our own configuration, refuses: certificates, plain text where TLS is asked for.
    Refused,
    /// The peer sent what is no frame.
    Protocol,
    /// This machine has run out of something: sockets, memory, ports.
    Exhausted,
}

impl ErrorKind {
    /// Whether the same call may succeed later without anybody changing a configuration.
    pub fn is_transient(self) -> bool {
        !matches!(self, Self::Address | Self::Refused)
    }

    /// One word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::InUse => "in_use",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
            Self::Refused => "refused",
            Self::Protocol => "protocol",
            Self::Exhausted => "exhausted",
        }
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Address => "unusable address",
            Self::InUse => "address in use",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed out",
            Self::Broken => "connection broken",
            Self::Refused => "refused",
            Self::Protocol => "protocol error",
            Self::Exhausted => "out of resources",
        })
    }
}

/// A failure of a transport: what kind, in which operation, with which peer, and why.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {peer}: {kind}")]
#[non_exhaustive]
pub struct TransportError {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// What was being done: "listen at", "dial", "send to", "receive from".
    pub operation: &'static str,
    /// With whom.
    pub peer: Addr,
    /// What lies below.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl TransportError {
    /// An error with nothing below it.
    pub fn new(kind: ErrorKind, operation: &'static str, peer: &Addr) -> Self {
        Self { kind, operation, peer: peer.clone(), source: None }
    }

    /// An error from one of the operating system's.
    pub fn io(operation: &'static str, peer: &Addr, source: io::Error) -> Self {
        use io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::AddrInUse => ErrorKind::InUse,
            Io::AddrNotAvailable | Io::InvalidInput => ErrorKind::Address,
            Io::ConnectionRefused | Io::HostUnreachable | Io::NetworkUnreachable | Io::NotFound => {
                ErrorKind::Unreachable
            }
            Io::TimedOut => ErrorKind::TimedOut,
            Io::InvalidData => ErrorKind::Protocol,
            Io::OutOfMemory | Io::QuotaExceeded => ErrorKind::Exhausted,
            _ if matches!(source.raw_os_error(), Some(23 | 24)) => ErrorKind::Exhausted,
            _ => ErrorKind::Broken,
        };
        Self::new(kind, operation, peer).because(source)
    }

    /// Adds what lies below.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}
