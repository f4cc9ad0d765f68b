//! Checksums, so that bytes that went bad on the disk are never taken for what was written.

/// The length of a checksum, in bytes.
const LEN: usize = 4;

/// The bytes, and behind them a checksum over them and the name of the place where they are kept: what
/// is read at another place does not pass for what belongs there.
pub(crate) fn seal(place: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = checksum(place, &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// What was sealed; none if it is not as it was.
pub(crate) fn open<'a>(place: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (bytes, sum) = sealed.split_last_chunk::<LEN>()?;
    (checksum(place, bytes) == u32::from_le_bytes(*sum)).then_some(bytes)
}

pub(crate) fn checksum(place: &[u8], bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(place);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_comes_back_and_nothing_else_does() {
        let sealed = seal(b"vote", b"for the second one".to_vec());
        assert_eq!(open(b"vote", &sealed), Some(&b"for the second one"[..]));
        assert_eq!(open(b"log", &sealed), None, "another place");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(b"vote", &flipped), None, "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(open(b"vote", &sealed[..len]), None, "cut off at {len}");
        }
    }
}
