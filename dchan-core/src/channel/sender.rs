mod accept;

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;

use super::{
    FlushError, OwnedPermit, Permit, PermitError, Receipt, SendError, SendTimeoutError,
    TrySendError,
};
use crate::{
    Namespace,
    lane::{Ledger, ReceiptCell},
    node::Alive,
    router::{Outgoing, Router},
    wire::Flags,
};

/// Sends messages of a namespace. Cheap to clone; clones and other senders of the same namespace on
/// this node share what receivers have room for.
///
/// Messages that one sender accepts for one receiver arrive there in that order. Each message goes to
/// one receiver, in turn from a random first, among those that have room. Dropping a sender loses
/// nothing: the node goes on delivering what was accepted.
///
/// ```
/// # use dchan_core::Sender;
/// # async fn example(orders: Sender<String>) -> Result<(), dchan_core::SendError<String>> {
/// orders.send("widget".into()).await?;
/// # Ok(()) }
/// ```
pub struct Sender<T> {
    /// That of `held`: the way of each message begins here.
    router: Arc<Router>,
    held: Arc<Held>,
    flags: Flags,
    /// Messages that had gone astray when this handle last looked.
    astray: AtomicU64,
    /// Blocks that were filled since others had a turn.
    filled: AtomicU32,
    message: PhantomData<fn(T)>,
}

/// Holds a router, and the node, for as long as there are senders.
struct Held {
    router: Arc<Router>,
    alive: Arc<Alive>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.alive.release(&self.router);
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            held: self.held.clone(),
            flags: self.flags,
            astray: AtomicU64::new(self.astray.load(Ordering::Relaxed)),
            filled: AtomicU32::new(0),
            message: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("namespace", &self.router.namespace).finish()
    }
}

impl<T> Sender<T> {
    /// `router` has been held for this sender already.
    pub(crate) fn new(router: Arc<Router>, alive: Arc<Alive>, at_least_once: bool) -> Self {
        let flags = if at_least_once { Flags::AT_LEAST_ONCE } else { Flags::default() };
        let astray = AtomicU64::new(astray(&router.ledger()));
        let (held, filled) = (Arc::new(Held { router: router.clone(), alive }), AtomicU32::new(0));
        Self { router, held, flags, astray, filled, message: PhantomData }
    }

    fn router(&self) -> &Router {
        &self.router
    }

    /// The name of the channel.
    pub fn namespace(&self) -> &Namespace {
        &self.router().namespace
    }

    /// Whether no message will be accepted any more: the node has stopped.
    pub fn is_closed(&self) -> bool {
        self.router().is_closed()
    }

    /// Waits until no message will be accepted any more: until the node stops. Receivers come and go
    /// meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn closed(&self) {
        self.held.alive.stopped().await;
    }

    /// Waits until the list has at least `count` receivers of this channel.
    ///
    /// # Errors
    ///
    /// [`PermitError::Closed`]: the node has stopped.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn wait_for_receivers(&self, count: usize) -> Result<(), PermitError> {
        let mut receivers = self.router().receivers();
        tokio::select! {
            () = self.closed() => Err(PermitError::Closed),
            found = receivers.wait_for(|found| *found >= count) => {
                found.map(|_| ()).map_err(|_| PermitError::Closed)
            }
        }
    }

    /// What has become of the messages that this node accepted for this channel.
    ///
    /// Up to 64 messages or 16 KiB of a lane count as in flight for up to a heartbeat (250 ms) after they were taken:
    /// so little is told then, unless somebody waits for it. With [`at_least_once`](crate::OpenSender::at_least_once)
    /// it is told as soon as the application comes for more.
    pub fn ledger(&self) -> Ledger {
        self.router().ledger()
    }

    /// Waits until everything that this node has accepted for this channel so far is settled.
    ///
    /// Receivers are asked to tell what they take as soon as they do: that is a round trip once the last message is
    /// taken. A [receipt](Self::send_tracked) spares the question.
    ///
    /// # Errors
    ///
    /// Some messages of this node and channel went astray since this handle was opened, or last
    /// flushed: `Ok` means that all were taken.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn flush(&self) -> Result<(), FlushError> {
        let before = self.ledger();
        self.router().flush().await;
        let ledger = self.ledger();
        let now = astray(&ledger);
        let seen = self.astray.swap(now, Ordering::Relaxed);
        if now == seen {
            return Ok(());
        }
        // Which of the two they are is told as well as the sums allow.
        let unknown = (now - seen).min(ledger.unknown.max(before.unknown));
        Err(FlushError { unknown, dropped: now - seen - unknown })
    }

    /// Waits until everything is settled, then lets go of the channel. Clones go on.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the sender: the node goes on delivering.
    pub async fn close(self) -> Result<(), FlushError> {
        self.flush().await
    }
}

fn astray(ledger: &Ledger) -> u64 {
    ledger.unknown + ledger.dropped.total()
}

impl<T: Serialize + Send + 'static> Sender<T> {
    /// Sends a message, waiting until a receiver has room for it. While there is no receiver, it waits.
    ///
    /// `Ok` means that a receiver had granted room and that this process now owns the delivery: it
    /// survives broken connections and receivers that hand it back, but not the end of this process
    /// before [`flush`](Self::flush), [`close`](Self::close) or a graceful shutdown. Room is counted in
    /// messages exactly; a message above 64 KiB may exceed the room in bytes, and waits in this process
    /// until there is enough.
    ///
    /// A message that is alone on its way has been given to the transport when this returns; others leave
    /// together, when the calling task waits for something. In a loop, the task lets others have a turn after
    /// some 140 KiB.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. The error holds the message.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is done accepts nothing; the message is dropped with it.
    pub fn send(&self, value: T) -> impl Future<Output = Result<(), SendError<T>>> + Send {
        self.accept(value, None)
    }

    /// Sends a message and gives a receipt, which tells what becomes of it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_tracked(&self, value: T) -> Result<Receipt, SendError<T>> {
        let cell = Arc::new(ReceiptCell::default());
        self.accept(value, Some(cell.clone())).await?;
        Ok(Receipt::new(cell))
    }

    /// Sends a message if that is possible now.
    ///
    /// # Errors
    ///
    /// See [`TrySendError`]. The error holds the message.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut message = Outgoing::new(value, self.flags, None);
        match self.router().assign_now(&mut message) {
            Ok(()) => Ok(()),
            Err(why) => self.refused(message, why),
        }
    }

    /// Sends a message, waiting no longer than `time` until a receiver has room for it.
    ///
    /// # Errors
    ///
    /// See [`SendTimeoutError`]. The error holds the message.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_timeout(&self, value: T, time: Duration) -> Result<(), SendTimeoutError<T>> {
        let permit = match tokio::time::timeout(time, self.reserve()).await {
            Err(_) => return Err(SendTimeoutError::Timeout(value)),
            Ok(Err(PermitError::Closed)) => {
                return Err(SendTimeoutError::Never(SendError::Closed(value)));
            }
            Ok(Ok(permit)) => permit,
        };
        permit.send(value).map_err(|error| match error {
            TrySendError::Full(value) | TrySendError::NoReceiver(value) => {
                SendTimeoutError::Timeout(value)
            }
            TrySendError::Never(error) => SendTimeoutError::Never(error),
        })
    }

    /// As [`send`](Self::send), for code that is not async.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// In async code, where it would block everything else.
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        super::decode::block_on(self.send(value))
    }

    /// Waits until a receiver has room for a message, and keeps that room.
    ///
    /// # Errors
    ///
    /// [`PermitError::Closed`]: the node has stopped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future keeps nothing. It loses its place in the queue.
    pub async fn reserve(&self) -> Result<Permit<'_, T>, PermitError> {
        Ok(Permit::new(self, self.reserve_one().await?))
    }

    /// As [`reserve`](Self::reserve), with a permit that holds a sender of its own.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    ///
    /// # Cancel safety
    ///
    /// As [`reserve`](Self::reserve).
    pub async fn reserve_owned(self) -> Result<OwnedPermit<T>, PermitError> {
        let reserved = self.reserve_one().await?;
        Ok(OwnedPermit::new(self, reserved))
    }
}
