mod deliver;

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
    inbox::Inbox,
    lane::{Amount, ReceiptCell},
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
    /// It has caught up with a sender in this process, which may be about to send more.
    caught_up: bool,
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
            caught_up: false,
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
}

impl<T: DeserializeOwned + Send + 'static> Receiver<T> {
    /// Waits for the next message. `None`: the receiver was closed, and all messages are taken.
    ///
    /// Others may have a turn first, so that a single poll can be pending though a message is here:
    /// [`try_recv`](Self::try_recv) looks without waiting.
    ///
    /// # Errors
    ///
    /// See [`RecvError`]. After all but [`RecvError::NodeStopped`], more messages may come.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a message is only taken out when it is returned.
    pub async fn recv(&mut self) -> Result<Option<T>, RecvError> {
        self.stand_back().await;
        poll_fn(|cx| self.poll_in_turn(cx, |value, _, _| value)).await
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
        self.stand_back().await;
        poll_fn(|cx| self.poll_in_turn(cx, Delivery::new)).await
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
        // Until the next batch begins, or there might be no end to it.
        while count < limit
            && self.returned > 0
            && let Some(value) = self.next_of_batch()
        {
            buffer.push(value);
            count += 1;
        }
        Ok(count)
    }

    /// The next message, if it is here.
    ///
    /// # Errors
    ///
    /// See [`TryRecvError`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.settle_open();
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
        self.get_mut().poll_in_turn(cx, |value, _, _| value).map(Result::transpose)
    }
}

impl<T: Send + 'static> Drop for Receiver<T> {
    fn drop(&mut self) {
        // What was returned last counts as taken: the application had it, and another receiver must
        // not get it too.
        self.give_back();
    }
}
