use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::Stream;
use serde::de::DeserializeOwned;

use super::{
    RecvError, TryRecvError,
    decode::{Item, Present, Whole, block_on},
};
use crate::{
    Namespace, NodeId, ReceiverId,
    inbox::{Inbox, Next, State},
    lane::{Amount, Outcome, ReceiptCell},
    node::Alive,
    router::LocalItem,
    wire::Flags,
};

/// Receives messages of a namespace: each message goes to one of its receivers.
///
/// *Taken* is a message that `recv` has returned; with
/// [`settle_on_next`](crate::OpenReceiver::settle_on_next), one after which the application came back
/// for more. A receiver that is dropped hands what it has not taken back to the senders, who give it
/// to others.
///
/// It is a [`Stream`], too: of the same results as [`recv`](Self::recv), until it is closed.
pub struct Receiver<T: Send + 'static> {
    inbox: Arc<Inbox>,
    alive: Arc<Alive>,
    settings: Settings,
    present: Option<Present<T>>,
    /// How far it is in `present`.
    so_far: Amount,
    /// How many messages of `present` were returned: taken, or about to be.
    returned: u64,
    /// Messages of `present` that were returned and count as taken with the next call, oldest first.
    open: Vec<Open>,
    /// A message of `present` that cannot be decoded and comes after the open ones.
    broken: Option<Item<T>>,
    whole: Whole,
}

/// How a receiver behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) settle_on_next: bool,
}

/// What is needed to settle a message that was returned.
struct Open {
    bytes: u64,
    flags: Flags,
    receipt: Option<Arc<ReceiptCell>>,
}

/// A message, and how it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery<T> {
    /// The message.
    pub value: T,
    /// The node that sent it.
    pub from: NodeId,
    /// Another receiver had it before and did not take it: it may come later than messages that were
    /// sent after it.
    pub rerouted: bool,
    /// Another receiver had it before and may have taken it. Only on channels that are at least once.
    pub redelivered: bool,
}

impl<T: Send + 'static> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("id", &self.inbox.id)
            .field("namespace", &self.inbox.namespace)
            .finish()
    }
}

impl<T: Send + 'static> Receiver<T> {
    pub(crate) fn new(inbox: Arc<Inbox>, alive: Arc<Alive>, settings: Settings) -> Self {
        Self {
            inbox,
            alive,
            settings,
            present: None,
            so_far: Amount::default(),
            returned: 0,
            open: Vec::new(),
            broken: None,
            whole: Whole::default(),
        }
    }

    /// The name of the channel.
    pub fn namespace(&self) -> &Namespace {
        &self.inbox.namespace
    }

    /// Its id on the list.
    pub fn id(&self) -> ReceiverId {
        self.inbox.id
    }

    /// Takes no new messages. What is on its way still comes: go on calling [`recv`](Self::recv) until
    /// it returns `None`. It leaves the list in the background.
    pub fn close(&mut self) {
        self.inbox.with(|core| core.close());
        self.alive.forget_receiver(&self.inbox);
    }

    /// Gives everything that was not taken back to its senders, who give it to other receivers, and
    /// waits until this one is off the list.
    ///
    /// # Cancel safety
    ///
    /// The messages are given back at the first poll, or when the future is dropped. Leaving the list
    /// goes on in the background.
    pub async fn hand_back(mut self) {
        self.give_back();
        self.alive.receiver_gone(&self.inbox).await;
    }

    /// As [`hand_back`](Self::hand_back), with the last of the messages that the last call returned: the
    /// application could not deal with them. The others of that call are taken.
    ///
    /// Only for receivers that [settle on next](crate::OpenReceiver::settle_on_next): otherwise what was
    /// returned is taken already, and the `untaken` are dropped.
    ///
    /// # Cancel safety
    ///
    /// As [`hand_back`](Self::hand_back).
    pub async fn hand_back_with(mut self, untaken: Vec<T>) {
        let taken = self.open.len().saturating_sub(untaken.len());
        let opened = self.open.split_off(taken);
        let messages = untaken
            .into_iter()
            .zip(opened)
            .map(|(value, Open { flags, receipt, .. })| LocalItem { value, flags, receipt })
            .collect::<Vec<_>>();
        if let Some(present) = &mut self.present {
            present.put_back(messages.into_iter());
        }
        self.hand_back().await;
    }

    fn give_back(&mut self) {
        self.settle_open();
        self.inbox.sync(false);
        let rest = self.present.take().map(Present::into_rest);
        self.inbox.with(|core| core.hand_back(rest, State::Closed));
        self.alive.forget_receiver(&self.inbox);
    }

    /// What was returned last is taken now, unless it is already.
    #[inline]
    fn settle_open(&mut self) {
        if !self.open.is_empty() {
            self.settle_those();
        }
    }

    fn settle_those(&mut self) {
        let bytes = self.open.iter().map(|open| open.bytes).sum();
        let tracked = self.open.iter().any(|open| open.flags.has(Flags::TRACKED));
        self.so_far += Amount::new(self.open.len() as u64, bytes);
        self.inbox.advance(self.so_far);
        for receipt in self.open.drain(..).filter_map(|open| open.receipt) {
            receipt.settle(Outcome::Taken);
        }
        self.tell(tracked);
    }

    /// Sees to it that senders hear what is taken. `tracked`: somebody waits for it.
    #[inline]
    fn tell(&self, tracked: bool) {
        if self.present.as_ref().is_none_or(Present::is_empty) {
            self.inbox.sync_end();
        } else if tracked {
            self.inbox.sync(true);
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Receiver<T> {
    /// Waits for the next message. `None`: the receiver was closed, and all messages are taken.
    ///
    /// # Errors
    ///
    /// See [`RecvError`]. After all but [`RecvError::NodeStopped`], more messages may come.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a message is only taken out when it is returned.
    pub async fn recv(&mut self) -> Result<Option<T>, RecvError> {
        poll_fn(|cx| self.poll_with(cx, |value, _, _| value)).await
    }

    /// As [`recv`](Self::recv), with how the message came.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_delivery(&mut self) -> Result<Option<Delivery<T>>, RecvError> {
        poll_fn(|cx| self.poll_with(cx, Delivery::new)).await
    }

    /// Waits for a message, then takes as many of its batch as are here, up to `limit`. Returns how many
    /// it added to `buffer`: 0 if the receiver was closed and all messages are taken.
    ///
    /// With [`settle_on_next`](crate::OpenReceiver::settle_on_next) all of them count as taken with the
    /// next call.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), if the error comes before any message. A later one comes with the next
    /// call.
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_many(
        &mut self,
        buffer: &mut Vec<T>,
        limit: usize,
    ) -> Result<usize, RecvError> {
        if limit == 0 {
            return Ok(0);
        }
        let Some(first) = self.recv().await? else { return Ok(0) };
        buffer.push(first);
        let mut count = 1;
        while count < limit
            && let Some(value) = self.next_of_batch()
        {
            buffer.push(value);
            count += 1;
        }
        Ok(count)
    }

    /// The next message of the batch that the receiver is in, without settling those before it.
    fn next_of_batch(&mut self) -> Option<T> {
        let present = self.present.as_mut()?;
        let (item, from) = (present.next(&mut self.whole)?, present.from);
        if item.value.is_none() {
            self.broken = Some(item);
            return None;
        }
        self.returned += 1;
        if !self.inbox.claim(self.returned) {
            self.present = None;
            return None;
        }
        self.deliver(item, from, |value, _, _| value).ok()
    }

    /// The next message, if it is here.
    ///
    /// # Errors
    ///
    /// See [`TryRecvError`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let waker = Waker::noop();
        match self.poll_with(&mut Context::from_waker(waker), |value, _, _| value) {
            Poll::Pending => Err(TryRecvError::Empty),
            Poll::Ready(Ok(Some(value))) => Ok(value),
            Poll::Ready(Ok(None)) => Err(TryRecvError::Closed),
            Poll::Ready(Err(error)) => Err(error.into()),
        }
    }

    /// As [`recv`](Self::recv), for code that is not async.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// In async code, where it would block everything else.
    pub fn blocking_recv(&mut self) -> Result<Option<T>, RecvError> {
        block_on(self.recv())
    }

    /// The next message, as what `make` makes of it, of how it came, and of where it came from.
    ///
    /// One closure down to the decoder: a message that was handed up through results of several shapes
    /// would be copied for each.
    #[inline]
    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        make: impl Fn(T, Flags, NodeId) -> R,
    ) -> Poll<Result<Option<R>, RecvError>> {
        self.settle_open();
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
                if let Some(item) = self.broken.take().or_else(|| present.next(&mut self.whole)) {
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
        // One unit of tokio's budget for a batch, not for each message: messages are too cheap.
        let coop = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        let mut next = self.inbox.next();
        if matches!(next, Next::Empty) {
            self.inbox.register(cx.waker());
            next = self.inbox.next();
        }
        let outcome = match next {
            Next::Empty => return Poll::Pending,
            Next::Batch(batch) => {
                self.present = Some(Present::new(batch));
                Ok(true)
            }
            Next::Lost(from) => Err(RecvError::SenderLost { from }),
            Next::Closed => Ok(false),
            Next::Stopped => Err(RecvError::NodeStopped),
        };
        coop.made_progress();
        Poll::Ready(outcome)
    }

    #[inline]
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
            self.tell(flags.has(Flags::TRACKED));
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

impl<T> Delivery<T> {
    #[inline]
    fn new(value: T, flags: Flags, from: NodeId) -> Self {
        let (rerouted, redelivered) = (flags.has(Flags::REROUTED), flags.has(Flags::REDELIVERED));
        Self { value, from, rerouted, redelivered }
    }
}

impl<T: Send + 'static> Unpin for Receiver<T> {}

impl<T: DeserializeOwned + Send + 'static> Stream for Receiver<T> {
    type Item = Result<T, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_with(cx, |value, _, _| value).map(Result::transpose)
    }
}

impl<T: Send + 'static> Drop for Receiver<T> {
    fn drop(&mut self) {
        // What was returned last counts as taken: the application had it, and another receiver must
        // not get it too.
        self.give_back();
    }
}
