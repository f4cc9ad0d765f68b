use std::{error::Error as _, io};

use dchan_core::{Addr, ErrorKind, TransportError, tls::explain};
use tonic::{Code, Status};

/// What a call's status says about its connection.
pub(crate) fn status(operation: &'static str, peer: &Addr, status: Status) -> TransportError {
    let kind = match status.code() {
        // The codec's own, and tonic's for messages that are too long.
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::Protocol,
        // Without a cause it is tonic's about the bytes of a message; else something below broke.
        Code::Internal if status.source().is_none() => ErrorKind::Protocol,
        Code::DeadlineExceeded => ErrorKind::TimedOut,
        Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Refused,
        Code::ResourceExhausted => ErrorKind::Exhausted,
        _ => ErrorKind::Broken,
    };
    TransportError::new(kind, operation, peer).because(status)
}

/// What an error of HTTP/2 says about its connection.
pub(crate) fn http(operation: &'static str, peer: &Addr, error: &h2::Error) -> TransportError {
    let kind = match error.get_io() {
        Some(io) => TransportError::io(operation, peer, io.kind().into()).kind,
        None => ErrorKind::Broken,
    };
    TransportError::new(kind, operation, peer).because(error.to_string())
}

/// What an error of TLS says about its connection.
pub(crate) fn tls(operation: &'static str, peer: &Addr, error: io::Error) -> TransportError {
    match refusal(&error) {
        Some(why) => TransportError::new(ErrorKind::Refused, operation, peer).because(why),
        None => TransportError::io(operation, peer, error),
    }
}

/// Why one side does not accept the other's part of the handshake of TLS, if it is that.
pub(crate) fn refusal(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::AlertReceived(alert) => {
            format!("{} ({error})", explain(u8::from(*alert)))
        }
        rustls::Error::InvalidMessage(_) => {
            format!("the peer does not speak TLS, as this node does ({error})")
        }
        error => error.to_string(),
    })
}

/// What never stood cannot break: nobody (or nobody of our kind) was reached.
pub(crate) fn never_stood(mut error: TransportError) -> TransportError {
    if error.kind == ErrorKind::Broken {
        error.kind = ErrorKind::Unreachable;
    }
    error
}
