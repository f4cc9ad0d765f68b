use bytes::{Buf, Bytes};

use super::{CHUNK, WireError};

/// The length of what stands before each message in a data frame: 3 bytes of length, 1 of flags.
pub(crate) const RECORD_HEADER: usize = 4;

/// What a message carries along besides itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flags(pub(crate) u8);

impl Flags {
    /// Somebody waits for its receipt.
    pub(crate) const TRACKED: Flags = Flags(1);
    /// It was assigned to another receiver before, which has not taken it.
    pub(crate) const REROUTED: Flags = Flags(2);
    /// It was assigned to another receiver before, which may have taken it.
    pub(crate) const REDELIVERED: Flags = Flags(4);
    /// It may be given to another receiver even if the first may have taken it.
    pub(crate) const AT_LEAST_ONCE: Flags = Flags(8);

    pub(crate) fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub(crate) fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// Writes the header of a record of `len` bytes. `len` is at most [`CHUNK`].
pub(crate) fn put_record_header(at: &mut [u8], len: usize, flags: Flags) {
    debug_assert!(len <= CHUNK);
    let word = (len as u32) | (u32::from(flags.0) << 24);
    at[..RECORD_HEADER].copy_from_slice(&word.to_le_bytes());
}

/// A message as it stands in a data frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) flags: Flags,
    pub(crate) body: Bytes,
}

/// The records of a data frame, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records(pub(crate) Bytes);

impl Records {
    /// Counts them and the bytes of their bodies, and checks that they fill the frame exactly.
    pub(crate) fn check(&self, expected: u32) -> Result<u64, WireError> {
        let (mut at, mut found, all) = (0, 0u32, &self.0[..]);
        while let Some(header) = all.get(at..at + RECORD_HEADER) {
            let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            if len > CHUNK {
                return Err(WireError::TooLarge { expected: CHUNK as u64, found: len as u64 });
            }
            at += RECORD_HEADER + len;
            found += 1;
        }
        if at != all.len() || found != expected || found == 0 {
            return Err(WireError::RecordCount { expected, found, bytes: all.len() });
        }
        Ok((all.len() - RECORD_HEADER * found as usize) as u64)
    }
}

impl Records {
    /// Takes the next record out, as what `read` makes of its flags and its body. It is out, too, if that
    /// panics. The frame was checked, so that there is nothing left to go wrong.
    #[inline]
    pub(crate) fn take<R>(&mut self, read: impl FnOnce(Flags, &[u8]) -> R) -> Option<R> {
        let (flags, len) = self.header()?;
        let record = Front { records: &mut self.0, len };
        Some(read(flags, &record.records[..len]))
    }

    fn header(&mut self) -> Option<(Flags, usize)> {
        if self.0.len() < RECORD_HEADER {
            return None;
        }
        let word = self.0.get_u32_le();
        let len = ((word & 0x00ff_ffff) as usize).min(self.0.len());
        Some((Flags((word >> 24) as u8), len))
    }
}

/// What is looked at, and then dropped.
struct Front<'a> {
    records: &'a mut Bytes,
    len: usize,
}

impl Drop for Front<'_> {
    fn drop(&mut self) {
        self.records.advance(self.len);
    }
}

impl Iterator for Records {
    type Item = Record;

    /// The next record, with a hold on the frame.
    fn next(&mut self) -> Option<Record> {
        let (flags, len) = self.header()?;
        Some(Record { flags, body: self.0.split_to(len) })
    }
}
