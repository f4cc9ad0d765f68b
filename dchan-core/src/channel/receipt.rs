use std::{future::poll_fn, sync::Arc, time::Duration};

use super::ReceiptError;
use crate::lane::{Outcome, ReceiptCell};

/// What becomes of one message. Dropping it forgets the outcome, not the message.
#[derive(Debug)]
#[must_use = "without waiting for it, a receipt says nothing: use `send` instead"]
pub struct Receipt {
    cell: Arc<ReceiptCell>,
}

impl Receipt {
    pub(crate) fn new(cell: Arc<ReceiptCell>) -> Self {
        Self { cell }
    }

    /// Waits until the receiver's application has taken the message.
    ///
    /// # Errors
    ///
    /// All but [`ReceiptError::TimedOut`].
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: call it again for the same outcome.
    pub async fn taken(&mut self) -> Result<(), ReceiptError> {
        poll_fn(|cx| self.cell.poll(cx.waker()).map(result)).await
    }

    /// The same, but not for longer than `time`.
    ///
    /// # Errors
    ///
    /// All of [`ReceiptError`]. After [`ReceiptError::TimedOut`] the message may still be taken.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: call it again for the same outcome.
    pub async fn taken_within(&mut self, time: Duration) -> Result<(), ReceiptError> {
        match tokio::time::timeout(time, self.taken()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ReceiptError::TimedOut(time)),
        }
    }

    /// The outcome, if there is one already.
    pub fn outcome(&self) -> Option<Result<(), ReceiptError>> {
        self.cell.outcome().map(result)
    }
}

fn result(outcome: Outcome) -> Result<(), ReceiptError> {
    match outcome {
        Outcome::Taken => Ok(()),
        Outcome::Unknown => Err(ReceiptError::Unknown),
        Outcome::Undecodable => Err(ReceiptError::Undecodable),
        Outcome::NoReceiver => Err(ReceiptError::NoReceiver),
    }
}
