//! Whether messages are left in the buffer that a transport read them into.
//!
//! What lies in an inbox must not keep much more alive than is counted, and a small frame may be a small part of a
//! large buffer. So small frames are copied, unless they come to a receiver that has caught up: it takes them at once,
//! as a rule. Some are slow all the same, and so there are not too many of those in a node.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::Records;

/// Frames of at least so many bytes are a good part of what a transport reads at a time.
const LARGE: usize = 16 * 1024;
/// Smaller ones are copied in no time.
const TINY: usize = 1024;
/// So many in between may be left in place. Each may keep a buffer alive that is a few hundred KiB large, though those
/// that came together share one.
const MOST: usize = 128;

/// Counts the frames of a node that are left in place.
#[derive(Debug, Default)]
pub(crate) struct InPlace(Arc<()>);

impl InPlace {
    /// The same messages, as they may lie in an inbox. `caught_up`: nothing else lies there.
    pub(super) fn put(&self, Records(bytes): Records, caught_up: bool) -> Records {
        Records(match bytes.len() {
            LARGE.. => bytes,
            // Two that come at one time may both be the last: that makes no difference.
            TINY.. if caught_up && self.count() < MOST => {
                Bytes::from_owner(Counted { bytes, _count: self.0.clone() })
            }
            _ => Bytes::copy_from_slice(&bytes),
        })
    }

    fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// A frame that counts for as long as anything of it is there.
struct Counted {
    bytes: Bytes,
    _count: Arc<()>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether messages that lie in so much of a buffer are left there.
    fn is_left(in_place: &InPlace, buffer: &Bytes, len: usize, caught_up: bool) -> Option<Records> {
        let put = in_place.put(Records(buffer.slice(..len)), caught_up);
        assert_eq!(put.0, buffer[..len]);
        (put.0.as_ptr() == buffer.as_ptr()).then_some(put)
    }

    #[test]
    fn a_receiver_that_has_caught_up_takes_messages_from_where_they_are() {
        let (in_place, buffer) = (InPlace::default(), Bytes::from(vec![7; 64 * 1024]));
        assert!(is_left(&in_place, &buffer, 5000, true).is_some());
        assert!(is_left(&in_place, &buffer, 5000, false).is_none(), "it may lie there for long");
        assert!(is_left(&in_place, &buffer, 100, true).is_none(), "it would keep so much alive");
        assert!(is_left(&in_place, &buffer, 40_000, false).is_some(), "it is most of the buffer");
    }

    #[test]
    fn so_many_keep_a_buffer_alive() {
        let (in_place, buffer) = (InPlace::default(), Bytes::from(vec![7; 64 * 1024]));
        let left: Vec<_> =
            (0..MOST).filter_map(|_| is_left(&in_place, &buffer, 5000, true)).collect();
        assert_eq!((left.len(), in_place.count()), (MOST, MOST));
        assert!(is_left(&in_place, &buffer, 5000, true).is_none());
        // Something of a frame keeps all of it alive.
        let rest = left[0].0.slice(10..);
        drop(left);
        assert_eq!(in_place.count(), 1);
        drop(rest);
        assert_eq!(in_place.count(), 0);
        assert!(is_left(&in_place, &buffer, 5000, true).is_some());
    }
}
