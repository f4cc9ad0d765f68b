use dchan_core::{Addr, ErrorKind, TransportError, tls::explain};
use quinn::{ConnectionError, StoppedError, TransportErrorCode, VarInt, WriteError};

/// Codes with which a connection is closed.
///
/// Both directions have ended, and everything has been read.
pub(crate) const DONE: VarInt = VarInt::from_u32(0);
/// It is given up.
pub(crate) const ABORTED: VarInt = VarInt::from_u32(1);

/// What the end of a QUIC connection says.
pub(crate) fn connection(
    operation: &'static str,
    peer: &Addr,
    error: ConnectionError,
) -> TransportError {
    let kind = match &error {
        ConnectionError::TransportError(error) if is_crypto(error.code) => ErrorKind::Refused,
        ConnectionError::ConnectionClosed(close) if is_crypto(close.error_code) => {
            ErrorKind::Refused
        }
        ConnectionError::VersionMismatch => ErrorKind::Refused,
        ConnectionError::TransportError(_) => ErrorKind::Protocol,
        ConnectionError::CidsExhausted => ErrorKind::Exhausted,
        _ => ErrorKind::Broken,
    };
    let refused = TransportError::new(kind, operation, peer);
    match &error {
        // Peers send a number only.
        ConnectionError::ConnectionClosed(close) if is_crypto(close.error_code) => {
            let alert = u64::from(close.error_code) as u8;
            refused.because(format!("{} ({error})", explain(alert)))
        }
        _ => refused.because(error),
    }
}

/// Alerts of TLS: certificates, or another protocol.
fn is_crypto(code: TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

/// What never stood cannot break: nobody was reached.
pub(crate) fn never_stood(mut error: TransportError) -> TransportError {
    if error.kind == ErrorKind::Broken {
        error.kind = ErrorKind::Unreachable;
    }
    error
}

pub(crate) fn write(operation: &'static str, peer: &Addr, error: WriteError) -> TransportError {
    match error {
        WriteError::ConnectionLost(error) => broken(operation, peer, error),
        error => TransportError::new(ErrorKind::Broken, operation, peer).because(error),
    }
}

/// The end of waiting for a stream's acknowledgement. A peer that is done has it all.
pub(crate) fn stopped(
    operation: &'static str,
    peer: &Addr,
    result: Result<Option<VarInt>, StoppedError>,
) -> Result<(), TransportError> {
    match result {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(TransportError::new(ErrorKind::Broken, operation, peer)
            .because("the peer stopped reading")),
        Err(StoppedError::ConnectionLost(ConnectionError::ApplicationClosed(close)))
            if close.error_code == DONE =>
        {
            Ok(())
        }
        Err(StoppedError::ConnectionLost(error)) => Err(broken(operation, peer, error)),
        Err(error) => Err(TransportError::new(ErrorKind::Broken, operation, peer).because(error)),
    }
}

/// For those who send, a connection that is over is broken, whoever is to blame.
fn broken(operation: &'static str, peer: &Addr, error: ConnectionError) -> TransportError {
    TransportError::new(ErrorKind::Broken, operation, peer).because(error)
}
