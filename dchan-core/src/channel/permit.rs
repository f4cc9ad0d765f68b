use std::fmt;

use serde::Serialize;

use super::{Sender, TrySendError};
use crate::router::Reserved;

/// Room for one message at a receiver. Dropping it gives the room back.
pub struct Permit<'a, T: Serialize + Send + 'static> {
    sender: &'a Sender<T>,
    reserved: Option<Reserved>,
}

/// As [`Permit`], with a sender of its own.
pub struct OwnedPermit<T: Serialize + Send + 'static> {
    sender: Sender<T>,
    reserved: Option<Reserved>,
}

impl<'a, T: Serialize + Send + 'static> Permit<'a, T> {
    pub(super) fn new(sender: &'a Sender<T>, reserved: Reserved) -> Self {
        Self { sender, reserved: Some(reserved) }
    }

    /// Sends a message into the room that was kept.
    ///
    /// # Errors
    ///
    /// The message cannot be encoded or is too large; or its receiver has gone meanwhile and no other
    /// has room. The error holds the message.
    pub fn send(mut self, value: T) -> Result<(), TrySendError<T>> {
        send(self.sender, self.reserved.take(), value)
    }
}

impl<T: Serialize + Send + 'static> OwnedPermit<T> {
    pub(super) fn new(sender: Sender<T>, reserved: Reserved) -> Self {
        Self { sender, reserved: Some(reserved) }
    }

    /// Sends a message into the room that was kept, and gives the sender back.
    ///
    /// # Errors
    ///
    /// As [`Permit::send`].
    pub fn send(mut self, value: T) -> Result<Sender<T>, TrySendError<T>> {
        send(&self.sender, self.reserved.take(), value)?;
        Ok(self.sender.clone())
    }

    /// Gives the room back, and the sender.
    pub fn release(self) -> Sender<T> {
        self.sender.clone()
    }
}

fn send<T: Serialize + Send + 'static>(
    sender: &Sender<T>,
    reserved: Option<Reserved>,
    value: T,
) -> Result<(), TrySendError<T>> {
    match reserved {
        Some(reserved) => sender.send_reserved(&reserved, value),
        None => Err(TrySendError::Full(value)),
    }
}

impl<T: Serialize + Send + 'static> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.sender.unreserve(&reserved);
        }
    }
}

impl<T: Serialize + Send + 'static> Drop for OwnedPermit<T> {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.sender.unreserve(&reserved);
        }
    }
}

impl<T: Serialize + Send + 'static> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("sender", self.sender).finish_non_exhaustive()
    }
}

impl<T: Serialize + Send + 'static> fmt::Debug for OwnedPermit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermit").field("sender", &self.sender).finish_non_exhaustive()
    }
}
