//! What goes over a connection, byte by byte: `docs/wire.md` in code.
//!
//! Nothing here trusts a length that a peer names: what is decoded was received before.

mod control;
mod lane;
mod record;

use crate::Breach;

pub(crate) use control::{Beat, Closed, Control, Credit, Hello, Refusal, Resumed, shown};
pub(crate) use lane::{Attach, Chunk, DataHeader, HEADER, LaneFrame, Want};
pub(crate) use record::{Flags, RECORD_HEADER, Records, put_record_header};

/// The version of the protocol. Peers must have the same.
pub(crate) const VERSION: u16 = 1;

/// Messages above this size, in bytes, travel in chunks of this size. It is 64 KiB and what a message has
/// besides: sizes are powers of two as a rule, and in two frames such a message would cost half as much again.
pub(crate) const CHUNK: usize = 65 * 1024;

/// What a peer sent that it must not send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("a {what} that cannot be decoded, {len} bytes long")]
    Undecodable { what: &'static str, len: usize },
    #[error("a frame of unknown kind {kind} on a lane")]
    UnknownKind { kind: u8 },
    #[error("a frame of {found} bytes where at least {expected} are needed")]
    Short { expected: usize, found: usize },
    #[error("{found} records of {bytes} bytes in a frame that announces {expected}")]
    RecordCount { expected: u32, found: u32, bytes: usize },
    #[error("a message of {found} bytes: expected at most {expected}")]
    TooLarge { expected: u64, found: u64 },
}

impl WireError {
    pub(crate) fn breach(&self) -> Breach {
        match self {
            Self::Undecodable { .. }
            | Self::UnknownKind { .. }
            | Self::Short { .. }
            | Self::RecordCount { .. } => Breach::Undecodable,
            Self::TooLarge { .. } => Breach::TooLarge,
        }
    }
}

fn encode<T: serde::Serialize>(value: &T, mut out: Vec<u8>) -> Vec<u8> {
    struct Append<'a>(&'a mut Vec<u8>);
    impl postcard::ser_flavors::Flavor for Append<'_> {
        type Output = ();
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
    // Our own types have no way to fail: no floats of odd sizes, no sequences of unknown length.
    let encoded = postcard::serialize_with_flavor(value, Append(&mut out));
    debug_assert!(encoded.is_ok());
    out
}
