//! One ordered flow of messages from a node to a receiver, as pure state: no tokio, no clock, no I/O.
//!
//! [`Outbound`] is the sending side, [`Inbound`] the receiving side, [`Window`] what a receiver shares
//! out among the lanes that lead to it. The rules are in `docs/protocol.md`.

mod block;
mod inbound;
mod ledger;
#[cfg(test)]
mod model;
mod outbound;
mod receipt;
mod window;

pub(crate) use block::{EncodeFault, RecordWriter};
pub(crate) use inbound::{Delivery, Inbound, LaneFault, Message};
pub use ledger::{Dropped, Ledger};
pub(crate) use outbound::{AnyQueue, Homeless, HomelessBody, Outbound, Parcel};
pub(crate) use receipt::{Outcome, ReceiptCell};
#[cfg(test)]
pub(crate) use window::Grants;
pub(crate) use window::{SlotId, Window};

/// What is taken is told with the next heartbeat, unless somebody waits for it, or it is so much: else a message
/// of a lane that is never busy would cost as much on the way back as it did on the way there. Until then the sender
/// keeps it, which is less than each lane may hold in any case.
pub(crate) const UNTOLD: Amount = Amount { messages: 64, bytes: 16 * 1024 };

/// A number of messages and of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Amount {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Amount {
    pub(crate) fn new(messages: u64, bytes: u64) -> Self {
        Self { messages, bytes }
    }

    pub(crate) fn saturating_sub(self, other: Self) -> Self {
        Self::new(
            self.messages.saturating_sub(other.messages),
            self.bytes.saturating_sub(other.bytes),
        )
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self::new(self.messages.max(other.messages), self.bytes.max(other.bytes))
    }
}

impl std::ops::Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.messages + other.messages, self.bytes + other.bytes)
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Which connection of a link something belongs to. Counts up for as long as there are lanes that know
/// of older ones: a lane never goes back. 0 is before the first.
pub(crate) type Epoch = u64;
