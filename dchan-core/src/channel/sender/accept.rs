//! The way of a message from a sender's caller to the router, and back if there is none.

use std::sync::{Arc, atomic::Ordering};

use serde::Serialize;

use super::Sender;
use crate::{
    PermitError, SendError, TrySendError,
    lane::{EncodeFault, ReceiptCell},
    router::{Outgoing, Reserved, Unassigned},
};

/// A sender goes on for so many blocks, of at least 70 KiB each or a large message, before it lets others have a
/// turn. With one, turns cost a fifth of the throughput at 1 KiB; with three, receivers have to wait at 16 bytes.
const TURN: u32 = 2;

impl<T: Serialize + Send + 'static> Sender<T> {
    pub(super) async fn reserve_one(&self) -> Result<Reserved, PermitError> {
        self.stand_back().await;
        let mut reserved = self.router().reserve();
        while let Err(Unassigned::Full) = reserved {
            let turn = self.router().wait_for_credit().await.ok_or(PermitError::Closed)?;
            reserved = self.router().reserve_in_turn(turn);
        }
        reserved.map_err(|_| PermitError::Closed)
    }

    pub(in crate::channel) fn send_reserved(
        &self,
        reserved: &Reserved,
        value: T,
    ) -> Result<(), TrySendError<T>> {
        let mut message = Outgoing::new(value, self.flags, None);
        match self.router().send_reserved(reserved, &mut message) {
            Ok(()) => {
                self.note_filled(&message);
                Ok(())
            }
            Err(why) => self.refused(message, why),
        }
    }

    pub(in crate::channel) fn unreserve(&self, reserved: &Reserved) {
        self.router().unreserve(reserved);
    }

    /// Accepting is the poll that returns `Ready`: choosing a lane and encoding happen in one step.
    ///
    /// Not an `async fn`, which would move the message once more.
    pub(super) fn accept(
        &self,
        value: T,
        receipt: Option<Arc<ReceiptCell>>,
    ) -> impl Future<Output = Result<(), SendError<T>>> + Send {
        let mut message = Outgoing::new(value, self.flags, receipt);
        async move {
            let mut assigned = match self.is_to_stand_back() {
                false => self.router().assign(&mut message),
                true => Err(Unassigned::Full),
            };
            while assigned == Err(Unassigned::Full) {
                if self.stand_back().await {
                    assigned = self.router().assign(&mut message);
                    continue;
                }
                assigned = match self.router().wait_for_credit().await {
                    Some(turn) => self.router().assign_in_turn(turn, &mut message),
                    None => Err(Unassigned::Closed),
                };
            }
            self.note_filled(&message);
            if assigned.is_ok() { Ok(()) } else { self.failed(message) }
        }
    }

    #[inline]
    fn note_filled(&self, message: &Outgoing<T>) {
        if message.filled {
            self.filled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Once some blocks are full, those who send them have their turn before the next message: they may be
    /// waiting for this very thread, and the receiver for them.
    #[inline]
    fn is_to_stand_back(&self) -> bool {
        self.filled.load(Ordering::Relaxed) >= TURN
    }

    /// Lets others have a turn, if that is due. Whether it was.
    async fn stand_back(&self) -> bool {
        let due = self.is_to_stand_back();
        if due {
            self.filled.store(0, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
        due
    }

    #[cold]
    fn failed(&self, message: Outgoing<T>) -> Result<(), SendError<T>> {
        match (message.value, message.fault) {
            (None, _) => Ok(()),
            (Some(value), Some(fault)) => Err(self.fault_of(value, fault)),
            (Some(value), None) => Err(SendError::Closed(value)),
        }
    }

    fn fault_of(&self, value: T, fault: EncodeFault) -> SendError<T> {
        match fault {
            EncodeFault::Encode(error) => {
                SendError::Encode { value, reason: crate::codec::reason(&error) }
            }
            EncodeFault::TooLarge { len } => {
                let limit = self.router().max_message;
                SendError::TooLarge { value, size: len, limit }
            }
        }
    }

    #[cold]
    pub(super) fn refused(
        &self,
        message: Outgoing<T>,
        why: Unassigned,
    ) -> Result<(), TrySendError<T>> {
        if why != Unassigned::Full || self.is_closed() {
            return self.failed(message).map_err(TrySendError::Never);
        }
        match message.value {
            None => Ok(()),
            Some(value) if self.router().has_receivers() => Err(TrySendError::Full(value)),
            Some(value) => Err(TrySendError::NoReceiver(value)),
        }
    }
}
