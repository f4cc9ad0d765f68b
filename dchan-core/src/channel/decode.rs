//! From a batch of an inbox to values.

use std::{future::Future, marker::PhantomData, sync::Arc};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::{
    NodeId,
    inbox::{Batch, Body},
    lane::{AnyQueue, ReceiptCell},
    router::{LocalItem, Values},
    wire::{Flags, Records},
};

/// A queue of values that takes up to so many bytes is filled again when it is empty.
const SPARE: usize = 16 * 1024;

/// The batch that a receiver works through.
pub(super) struct Present<T> {
    pub(super) slot: u64,
    pub(super) from: NodeId,
    items: Items<T>,
}

enum Items<T> {
    Records(Records),
    Single(Single),
    /// A [`Values<T>`].
    Values(Box<dyn AnyQueue>, PhantomData<fn() -> T>),
    /// Values of another type, from a sender in this process, and the bytes of each.
    Alien(Box<dyn AnyQueue>, u64),
}

struct Single {
    flags: Flags,
    pieces: Vec<Bytes>,
    receipt: Option<Arc<ReceiptCell>>,
    returned: bool,
}

/// A message as it comes out of a batch.
pub(super) struct Item<T> {
    /// `None` if it cannot be decoded.
    pub(super) value: Option<T>,
    pub(super) flags: Flags,
    pub(super) bytes: u64,
    pub(super) receipt: Option<Arc<ReceiptCell>>,
}

impl<T: Send + 'static> Present<T> {
    pub(super) fn new(batch: Batch) -> Self {
        let Batch { slot, from, count, bytes, body } = batch;
        let items = match body {
            Body::Records(records) => Items::Records(records),
            Body::Single { flags, pieces, receipt } => {
                Items::Single(Single { flags, pieces, receipt, returned: false })
            }
            Body::Values(queue) if Values::<T>::of(&*queue).is_some() => {
                Items::Values(queue, PhantomData)
            }
            Body::Values(queue) => Items::Alien(queue, bytes / count.max(1)),
        };
        Self { slot, from, items }
    }

    /// Values of another type.
    pub(super) fn is_alien(&self) -> bool {
        matches!(self.items, Items::Alien(..))
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.items {
            Items::Records(records) => records.0.is_empty(),
            Items::Single(single) => single.returned,
            Items::Values(queue, _) => {
                Values::<T>::of(&**queue).is_none_or(|values| values.0.is_empty())
            }
            Items::Alien(queue, _) => queue.len() == 0,
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Present<T> {
    /// The next message, decoded, if it is one of many in a frame.
    #[inline(always)]
    pub(super) fn next_record(&mut self) -> Option<Item<T>> {
        match &mut self.items {
            Items::Records(records) => records.take(|flags, body| decode(flags, body, None)),
            _ => None,
        }
    }

    /// The next message, decoded. One that came in pieces is put together in `whole`.
    #[inline(never)]
    pub(super) fn next(&mut self, whole: &mut Whole) -> Option<Item<T>> {
        match &mut self.items {
            Items::Records(_) => self.next_record(),
            Items::Single(Single { returned: true, .. }) => None,
            Items::Single(Single { flags, pieces, receipt, returned }) => {
                *returned = true;
                Some(whole.of(pieces, |body| decode(*flags, body, receipt.clone())))
            }
            Items::Values(queue, _) => {
                Values::<T>::of_mut(&mut **queue)?.0.pop_front().map(|item| Item {
                    value: Some(item.value),
                    flags: item.flags,
                    bytes: size_of::<T>() as u64,
                    receipt: item.receipt,
                })
            }
            Items::Alien(queue, bytes) if queue.len() > 0 => {
                let (flags, receipt) = (Flags::default(), queue.skip());
                Some(Item { value: None, flags, bytes: *bytes, receipt })
            }
            Items::Alien(..) => None,
        }
    }
}

impl<T: Send + 'static> Present<T> {
    /// The last messages that were taken out are back in. A sender in another process still has them.
    pub(super) fn put_back(&mut self, messages: impl DoubleEndedIterator<Item = LocalItem<T>>) {
        match &mut self.items {
            Items::Single(single) => single.returned &= messages.count() == 0,
            Items::Values(queue, _) => {
                if let Some(Values(values)) = Values::<T>::of_mut(&mut **queue) {
                    messages.rev().for_each(|message| values.push_front(message));
                }
            }
            Items::Records(_) | Items::Alien(..) => {}
        }
    }

    /// Whether its values have not left the process.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.items, Items::Values(..))
    }

    /// An empty queue of values that may be filled again, unless it takes too much memory.
    pub(super) fn into_spare(self) -> Option<Box<dyn AnyQueue>> {
        let Items::Values(queue, _) = self.items else { return None };
        let room = Values::<T>::of(&*queue)?.0.capacity() * size_of::<LocalItem<T>>();
        (room <= SPARE).then_some(queue)
    }

    /// What is left, to be given back to its sender.
    pub(super) fn into_rest(self) -> Batch {
        let (slot, from) = (self.slot, self.from);
        let body = match self.items {
            Items::Records(records) => Body::Records(records),
            Items::Single(Single { returned: false, flags, pieces, receipt }) => {
                Body::Single { flags, pieces, receipt }
            }
            Items::Values(queue, _) | Items::Alien(queue, _) => Body::Values(queue),
            Items::Single(_) => Body::Records(Records::default()),
        };
        Batch { slot, from, count: 0, bytes: 0, body }
    }
}

/// Where messages that came in pieces are put together. Kept from one to the next: memory that went back to
/// the system would have to be had again, page by page.
#[derive(Default)]
pub(super) struct Whole(Vec<u8>);

impl Whole {
    /// No more than so many bytes are kept.
    const KEPT: usize = 2 << 20;

    fn of<R>(&mut self, pieces: &[Bytes], read: impl FnOnce(&[u8]) -> R) -> R {
        if let [piece] = pieces {
            return read(piece);
        }
        self.0.clear();
        self.0.reserve_exact(pieces.iter().map(Bytes::len).sum());
        pieces.iter().for_each(|piece| self.0.extend_from_slice(piece));
        let read = read(&self.0);
        if self.0.capacity() > Self::KEPT {
            self.0 = Vec::new();
        }
        read
    }
}

#[inline]
fn decode<T: DeserializeOwned>(
    flags: Flags,
    body: &[u8],
    receipt: Option<Arc<ReceiptCell>>,
) -> Item<T> {
    Item { value: crate::codec::decode(body), flags, bytes: body.len() as u64, receipt }
}

/// Runs a future on this thread. As in tokio, not within async code: that would block everything else.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.block_on(future),
        Err(_) => futures::executor::block_on(future),
    }
}
