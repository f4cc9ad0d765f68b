//! Users' values go into lanes while these are locked.

use std::cell::Cell;

use serde::Serialize;

use crate::lane::RecordWriter;

thread_local! {
    /// Whether this thread is in a user's `Serialize`, with a lane locked.
    static ENCODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in a user's `Serialize`: it must not lock another lane.
pub(super) fn is_encoding() -> bool {
    ENCODING.get()
}

/// Encodes a value behind what is in the lane already.
#[inline]
pub(super) fn encode<T: Serialize>(
    value: &T,
    writer: &mut RecordWriter<'_>,
) -> postcard::Result<()> {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            ENCODING.set(false);
        }
    }
    ENCODING.set(true);
    let _reset = Reset;
    crate::codec::encode(value, writer)
}
