//! Values that have not left the process, as they lie in an inbox.

use std::{any::Any, collections::VecDeque, sync::Arc};

use serde::Serialize;

use super::encode::encode;
use crate::{
    inbox::Body,
    lane::{AnyQueue, Homeless, HomelessBody, Parcel, ReceiptCell, RecordWriter},
    wire::Flags,
};

/// Values in an inbox, oldest first.
pub(crate) struct Values<T>(pub(crate) VecDeque<LocalItem<T>>);

/// A value that has not left the process.
pub(crate) struct LocalItem<T> {
    pub(crate) value: T,
    pub(crate) flags: Flags,
    pub(crate) receipt: Option<Arc<ReceiptCell>>,
}

impl<T: 'static> Values<T> {
    /// What is in the queue. `None` if it is one of another type.
    #[inline]
    pub(crate) fn of(queue: &dyn AnyQueue) -> Option<&Self> {
        (queue as &dyn Any).downcast_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn of_mut(queue: &mut dyn AnyQueue) -> Option<&mut Self> {
        (queue as &mut dyn Any).downcast_mut()
    }

    /// An empty queue: that one, if it is of this type.
    pub(super) fn from_spare(spare: Option<Box<dyn AnyQueue>>) -> Box<Self> {
        spare
            .and_then(|queue| (queue as Box<dyn Any>).downcast().ok())
            .unwrap_or_else(|| Box::new(Self(VecDeque::new())))
    }
}

impl<T: Serialize + Send + 'static> AnyQueue for Values<T> {
    fn into_homeless(self: Box<Self>) -> Vec<Homeless> {
        let homeless = |item: LocalItem<T>| Homeless {
            flags: item.flags,
            body: HomelessBody::Value(Box::new(Value(item.value))),
            receipt: item.receipt,
        };
        self.0.into_iter().map(homeless).collect()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn skip(&mut self) -> Option<Arc<ReceiptCell>> {
        self.0.pop_front()?.receipt
    }
}

/// A value that lost its lane.
struct Value<T>(T);

impl<T: Serialize + Send + 'static> Parcel for Value<T> {
    fn encode(&self, writer: &mut RecordWriter<'_>) -> postcard::Result<()> {
        encode(&self.0, writer)
    }

    fn size(&self) -> u64 {
        size_of::<T>() as u64
    }

    fn into_queue(
        self: Box<Self>,
        flags: Flags,
        receipt: Option<Arc<ReceiptCell>>,
    ) -> Box<dyn AnyQueue> {
        Box::new(Values(VecDeque::from([LocalItem { value: self.0, flags, receipt }])))
    }
}

/// How a message that had another lane lies in an inbox, and what it counts for there, in bytes.
pub(super) fn body_of(message: Homeless) -> (u64, Body) {
    let Homeless { flags, body, receipt } = message;
    match body {
        HomelessBody::Encoded(pieces) => {
            let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
            (bytes, Body::Single { flags, pieces, receipt })
        }
        HomelessBody::Value(parcel) => {
            (parcel.size(), Body::Values(parcel.into_queue(flags, receipt)))
        }
    }
}
