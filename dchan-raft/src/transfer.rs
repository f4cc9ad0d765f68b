//! Puts a snapshot together that comes in pieces.

use bytes::Bytes;
use dchan_core::NodeId;
use tokio::time::Instant;

use crate::{
    rpc::Chunk,
    types::{Snapshot, SnapshotMeta, Vote},
};

/// A snapshot that is not complete. A node holds at most one.
#[derive(Debug)]
pub(crate) struct Assembly {
    from: NodeId,
    vote: Vote,
    meta: SnapshotMeta,
    total: u64,
    data: Vec<u8>,
    pub(crate) touched: Instant,
}

/// What became of a piece.
#[derive(Debug)]
pub(crate) enum Taken {
    More,
    Complete(Vote, Snapshot),
    /// It does not fit: the sender must start again.
    Wrong(&'static str),
}

/// Takes a piece. The first one replaces whatever was there.
pub(crate) fn take(
    slot: &mut Option<Assembly>,
    from: NodeId,
    chunk: Chunk,
    limit: usize,
    now: Instant,
) -> Taken {
    if chunk.total > limit as u64 {
        return Taken::Wrong("a snapshot that is larger than the limit");
    }
    if chunk.offset == 0 {
        let Chunk { vote, meta, total, .. } = chunk.clone();
        *slot = Some(Assembly { from, vote, meta, total, data: Vec::new(), touched: now });
    }
    let Some(assembly) = slot else { return Taken::Wrong("a piece without a beginning") };
    let same = assembly.from == from
        && assembly.vote == chunk.vote
        && assembly.meta == chunk.meta
        && assembly.total == chunk.total;
    if !same || assembly.data.len() as u64 != chunk.offset {
        return Taken::Wrong("a piece that does not follow the last one");
    }
    if chunk.offset + chunk.data.len() as u64 > chunk.total {
        *slot = None;
        return Taken::Wrong("more than was announced");
    }
    assembly.data.extend_from_slice(&chunk.data);
    assembly.touched = now;
    if (assembly.data.len() as u64) < assembly.total {
        return Taken::More;
    }
    match slot.take() {
        Some(Assembly { vote, meta, data, .. }) => {
            Taken::Complete(vote, Snapshot { meta, snapshot: Bytes::from(data) })
        }
        None => Taken::Wrong("a piece without a beginning"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(total: u64, offset: u64, data: &'static [u8]) -> Chunk {
        let (vote, meta) = (Vote::new(1, 1), SnapshotMeta::default());
        Chunk { vote, meta, total, offset, data: Bytes::from_static(data) }
    }

    fn give(slot: &mut Option<Assembly>, from: u64, chunk: Chunk) -> Taken {
        take(slot, NodeId(from), chunk, 100, Instant::now())
    }

    #[test]
    fn pieces_in_order_make_a_whole() {
        let mut slot = None;
        assert!(matches!(give(&mut slot, 1, chunk(5, 0, b"abc")), Taken::More));
        let Taken::Complete(_, whole) = give(&mut slot, 1, chunk(5, 3, b"de")) else { panic!() };
        assert_eq!(&whole.snapshot[..], b"abcde");
        assert!(slot.is_none());
    }

    #[test]
    fn whatever_does_not_fit_is_refused() {
        let mut slot = None;
        assert!(matches!(give(&mut slot, 1, chunk(5, 3, b"de")), Taken::Wrong(_)));
        assert!(matches!(give(&mut slot, 1, chunk(101, 0, b"a")), Taken::Wrong(_)));
        assert!(matches!(give(&mut slot, 1, chunk(5, 0, b"abc")), Taken::More));
        assert!(matches!(give(&mut slot, 2, chunk(5, 3, b"de")), Taken::Wrong(_)), "another node");
        assert!(matches!(give(&mut slot, 1, chunk(5, 4, b"e")), Taken::Wrong(_)), "a gap");
        assert!(matches!(give(&mut slot, 1, chunk(5, 3, b"def")), Taken::Wrong(_)), "too much");
        assert!(slot.is_none());
    }
}
