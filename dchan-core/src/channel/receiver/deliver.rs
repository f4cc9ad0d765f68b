//! The way of messages out of an inbox to the application.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use serde::de::DeserializeOwned;

use super::{Open, Receiver};
use crate::{
    NodeId, RecvError,
    channel::decode::{Item, Present},
    inbox::{Batch, Haste, Next, State},
    lane::{Amount, Outcome, ReceiptCell},
    wire::Flags,
};

/// A receiver that finds fewer messages than that when it is through with those before has caught up.
const FEW: u64 = 32;

impl<T: Send + 'static> Receiver<T> {
    pub(super) fn give_back(&mut self) {
        self.settle_open();
        self.inbox.sync(Haste::None);
        let rest = self.present.take().map(Present::into_rest);
        self.inbox.with(|core| core.hand_back(rest, State::Closed));
        self.alive.forget_receiver(&self.inbox);
    }

    /// What was returned last is taken now, unless it is already.
    #[inline]
    pub(super) fn settle_open(&mut self) {
        if !self.open.is_empty() {
            self.settle_those();
        }
    }

    fn settle_those(&mut self) {
        let bytes = self.open.iter().map(|open| open.bytes).sum();
        let haste = self.open.iter().map(|open| open.flags.into()).max().unwrap_or_default();
        self.so_far += Amount::new(self.open.len() as u64, bytes);
        self.inbox.advance(self.so_far);
        for receipt in self.open.drain(..).filter_map(|open| open.receipt) {
            receipt.settle(Outcome::Taken);
        }
        self.tell(haste);
    }

    /// Sees to it that senders hear what is taken.
    #[inline]
    fn tell(&mut self, haste: Haste) {
        if self.broken.is_none() && self.present.as_ref().is_none_or(Present::is_empty) {
            self.end_batch(haste);
        } else if haste == Haste::Now {
            self.inbox.sync(haste);
        }
    }

    /// Out of line, as a batch comes here once, and each message past it.
    #[inline(never)]
    fn end_batch(&mut self, haste: Haste) {
        let ended = self.present.take();
        let local = ended.as_ref().is_some_and(Present::is_local);
        let spare = ended.and_then(Present::into_spare);
        let (had, next) = (self.returned, self.inbox.end_batch(haste, spare));
        let has = next.as_ref().map_or(0, |batch| batch.count);
        if let Some(batch) = next {
            self.begin(batch);
        }
        // A lone message is no sign of more, and whoever waits for the next one need not wait longer.
        self.caught_up = local && had + has > 1 && has < FEW;
    }

    fn begin(&mut self, batch: Batch) {
        self.present = Some(Present::new(batch));
        (self.so_far, self.returned) = (Amount::default(), 0);
    }

    /// A sender in this process that is about to send more gets the time for it: if both come to the lock of the
    /// inbox for each message, they are many times slower.
    pub(super) async fn stand_back(&mut self) {
        if std::mem::take(&mut self.caught_up) {
            tokio::task::yield_now().await;
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Receiver<T> {
    /// The next message of the batch that the receiver is in, without settling those before it. `None`
    /// too if it cannot be decoded: the next call tells so.
    pub(super) fn next_of_batch(&mut self) -> Option<T> {
        let present = self.present.as_mut().filter(|present| !present.is_alien())?;
        if present.is_empty() {
            return None;
        }
        // Before it is taken out: values of this process would be lost with it.
        if !self.inbox.claim(self.returned + 1) {
            self.lose_present();
            return None;
        }
        let item = present.next_record().or_else(|| present.next(&mut self.whole));
        let (item, from) = (item?, present.from);
        if item.value.is_none() {
            self.inbox.claim(self.returned);
            self.broken = Some(item);
            return None;
        }
        self.returned += 1;
        self.deliver(item, from, |value, _, _| value).ok()
    }

    /// As [`poll_with`](Self::poll_with), in a task that others have to get a turn beside.
    #[inline]
    pub(super) fn poll_in_turn<R>(
        &mut self,
        cx: &mut Context<'_>,
        make: impl Fn(T, Flags, NodeId) -> R,
    ) -> Poll<Result<Option<R>, RecvError>> {
        self.settle_open();
        if self.returned == 0 {
            // One unit of tokio's budget for a batch, not for each message: messages are too cheap.
            std::task::ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        }
        self.poll_with(cx, make)
    }

    /// The next message, as what `make` makes of it, of how it came, and of where it came from. Those that
    /// were returned before are settled: see [`settle_open`](Self::settle_open).
    ///
    /// One closure down to the decoder: a message that was handed up through results of several shapes
    /// would be copied for each.
    #[inline]
    pub(super) fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        make: impl Fn(T, Flags, NodeId) -> R,
    ) -> Poll<Result<Option<R>, RecvError>> {
        loop {
            let broken = self.broken.is_some();
            if let Some(present) =
                self.present.as_mut().filter(|present| broken || !present.is_empty())
            {
                self.returned += 1;
                if !self.inbox.claim(self.returned) {
                    self.lose_present();
                    continue;
                }
                let from = present.from;
                // By itself: in a place that both wrote to, a message would be copied before it is all there.
                if !broken && let Some(item) = present.next_record() {
                    return Poll::Ready(self.deliver(item, from, make).map(Some));
                }
                let item = if broken { self.broken.take() } else { present.next(&mut self.whole) };
                if let Some(item) = item {
                    return Poll::Ready(self.deliver(item, from, make).map(Some));
                }
            }
            match self.next_batch(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Everything was handed back.
    #[cold]
    fn lose_present(&mut self) {
        // Values of this process are nowhere else: their sender gives them to others.
        self.broken = None;
        let rest = self.present.take().map(Present::into_rest);
        self.inbox.with(|core| core.hand_back(rest, core.state()));
    }

    /// Gets the next batch. `false`: there will be none.
    fn next_batch(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, RecvError>> {
        (self.present, self.broken) = (None, None);
        (self.so_far, self.returned) = (Amount::default(), 0);
        self.inbox.register(cx.waker());
        Poll::Ready(match self.inbox.next() {
            Next::Empty => return Poll::Pending,
            Next::Batch(batch) => {
                self.begin(batch);
                Ok(true)
            }
            Next::Lost(from) => Err(RecvError::SenderLost { from }),
            Next::Closed => Ok(false),
            Next::Stopped => Err(RecvError::NodeStopped),
        })
    }

    #[inline(always)]
    fn deliver<R>(
        &mut self,
        item: Item<T>,
        from: NodeId,
        make: impl FnOnce(T, Flags, NodeId) -> R,
    ) -> Result<R, RecvError> {
        let Item { value, flags, bytes, receipt } = item;
        let Some(value) = value else {
            return Err(self.skip(bytes, receipt, from));
        };
        if self.settings.settle_on_next {
            self.open.push(Open { bytes, flags, receipt });
        } else {
            self.so_far += Amount::new(1, bytes);
            self.inbox.advance(self.so_far);
            if let Some(receipt) = receipt {
                receipt.settle(Outcome::Taken);
            }
            self.tell(flags.into());
        }
        Ok(make(value, flags, from))
    }

    /// The message cannot be decoded.
    #[cold]
    fn skip(&mut self, bytes: u64, receipt: Option<Arc<ReceiptCell>>, from: NodeId) -> RecvError {
        self.inbox.skip(bytes);
        self.so_far += Amount::new(1, bytes);
        if let Some(receipt) = receipt {
            receipt.settle(Outcome::Undecodable);
        }
        RecvError::Undecodable { from }
    }
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
