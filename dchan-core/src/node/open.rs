//! Opening channels.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use serde::{Serialize, de::DeserializeOwned};
use tracing::debug;

use super::{Alive, Inner, Node};
use crate::{
    Change, Namespace, NamespaceError, ReceiverId, View,
    channel::{OpenError, Receiver, Sender, Settings},
    inbox::{Inbox, State},
    lane::Amount,
    router::Router,
};

/// The room that a receiver has unless it is told otherwise: bytes bound what it costs, and messages are so
/// many that small ones do not wait for the tasks between them and their sender to run.
const CAPACITY: Amount = Amount { messages: 64 * 1024, bytes: 4 << 20 };

type Opening<T> = Pin<Box<dyn Future<Output = Result<T, OpenError>> + Send>>;

/// A receiver to be opened: set it up, then `await` it.
#[must_use = "a receiver is opened when this is awaited"]
pub struct OpenReceiver<T> {
    alive: Arc<Alive>,
    name: Result<Namespace, NamespaceError>,
    capacity: Amount,
    settle_on_next: bool,
    report_lost: bool,
    message: PhantomData<fn() -> T>,
}

/// A sender to be opened: set it up, then `await` it.
#[must_use = "a sender is opened when this is awaited"]
pub struct OpenSender<T> {
    alive: Arc<Alive>,
    name: Result<Namespace, NamespaceError>,
    at_least_once: bool,
    message: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for OpenReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenReceiver").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for OpenSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSender").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Node {
    /// Opens a receiver. It is ready once it is on the list: senders find it from then on.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing: what may be on the list already is taken off.
    pub fn receiver<T: DeserializeOwned + Send + 'static>(&self, name: &str) -> OpenReceiver<T> {
        OpenReceiver {
            alive: self.alive.clone(),
            name: Namespace::new(name),
            capacity: CAPACITY,
            settle_on_next: false,
            report_lost: false,
            message: PhantomData,
        }
    }

    /// Opens a sender. It is ready at once; sending waits for receivers.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing.
    pub fn sender<T: Serialize + Send + 'static>(&self, name: &str) -> OpenSender<T> {
        OpenSender {
            alive: self.alive.clone(),
            name: Namespace::new(name),
            at_least_once: false,
            message: PhantomData,
        }
    }
}

impl<T> OpenReceiver<T> {
    /// How many messages may be here or on their way, over all senders: at least 1. Default 65,536.
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity.messages = messages.max(1) as u64;
        self
    }

    /// How many bytes, encoded, may be here or on their way: at least 1. Default 4 MiB: of
    /// less, messages of 64 KiB and more fill so little that the two sides wait for each other.
    ///
    /// Worst case memory: this, and 64 KiB for each sending node, and one message that is larger.
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.capacity.bytes = bytes.max(1) as u64;
        self
    }

    /// A message counts as taken when the application comes back for the next one, not when it is
    /// returned: if the process dies in between, then its fate is unknown rather than taken.
    pub fn settle_on_next(mut self) -> Self {
        self.settle_on_next = true;
        self
    }

    /// `recv` says when a process that has sent messages here is gone without closing.
    pub fn report_lost_senders(mut self) -> Self {
        self.report_lost = true;
        self
    }
}

impl<T> OpenSender<T> {
    /// Messages of this sender whose receiver's process dies before it is known whether they were
    /// taken are given to another receiver, marked
    /// [`redelivered`](crate::Delivery::redelivered), instead of counting as unknown.
    pub fn at_least_once(mut self) -> Self {
        self.at_least_once = true;
        self
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for OpenReceiver<T> {
    type Output = Result<Receiver<T>, OpenError>;
    type IntoFuture = Opening<Receiver<T>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let settings = Settings { settle_on_next: self.settle_on_next };
            let inner = self.alive.inner.clone();
            let inbox = inner.add_inbox(self.name?, self.capacity, self.report_lost)?;
            let receiver = Receiver::new(inbox.clone(), self.alive, settings);
            // Dropped before it is through, the receiver leaves the list again.
            inner.register(&inbox).await?;
            Ok(receiver)
        })
    }
}

impl<T: Serialize + Send + 'static> IntoFuture for OpenSender<T> {
    type Output = Result<Sender<T>, OpenError>;
    type IntoFuture = Opening<Sender<T>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let router = self.alive.inner.hold_router(self.name?)?;
            Ok(Sender::new(router, self.alive, self.at_least_once))
        })
    }
}

impl Inner {
    /// Takes lanes in from here on: before anybody can know of the receiver.
    fn add_inbox(
        &self,
        namespace: Namespace,
        capacity: Amount,
        report_lost: bool,
    ) -> Result<Arc<Inbox>, OpenError> {
        let mut inboxes = self.shared.inboxes.lock();
        if self.is_closing() {
            return Err(OpenError::NodeStopped);
        }
        let counter = self.next_receiver.fetch_add(1, Ordering::Relaxed);
        let id = ReceiverId { boot: self.shared.me.boot, counter };
        let max_message = self.shared.config.limits.message;
        let inbox = Inbox::new(id, namespace, capacity, max_message, report_lost);
        inboxes.insert(id, inbox.clone());
        Ok(inbox)
    }

    async fn register(&self, inbox: &Inbox) -> Result<(), OpenError> {
        let change = Change::Receiver {
            namespace: inbox.namespace.clone(),
            id: inbox.id,
            node: self.shared.me.id,
        };
        let applied = tokio::select! {
            applied = self.membership.apply(vec![change]) => applied,
            () = self.shared.stopping.cancelled() => return Err(OpenError::NodeStopped),
        };
        applied?;
        self.registered.lock().insert(inbox.id);
        if !self.shared.view.borrow().receivers.contains_key(&inbox.key()) {
            // It may have been taken off the list before anybody knew that it should be there.
            self.mend_list();
        }
        debug!(namespace = %inbox.namespace, receiver = %inbox.id, "receiver opened");
        Ok(())
    }

    /// The router of a namespace, with one more sender.
    fn hold_router(&self, namespace: Namespace) -> Result<Arc<Router>, OpenError> {
        // With the view locked, no change can slip in between looking and being told of changes.
        let seen = self.seen.lock();
        let mut routers = self.routers.lock();
        if self.is_closing() {
            return Err(OpenError::NodeStopped);
        }
        if let Some(router) = routers.get(&namespace) {
            router.hold();
            return Ok(router.clone());
        }
        let router = Router::new(namespace.clone(), self.peers.clone());
        router.hold();
        routers.insert(namespace.clone(), router.clone());
        drop(routers);
        let receivers: Vec<_> = seen.receivers_of(&namespace).collect();
        router.update(&seen, &receivers, &[]);
        Ok(router)
    }

    /// The last sender is gone: what was accepted is delivered, then the lanes end.
    pub(super) async fn retire(&self, router: Arc<Router>) {
        loop {
            tokio::select! {
                () = router.drain() => {}
                () = self.shared.stopping.cancelled() => return,
            }
            let mut routers = self.routers.lock();
            // A node that stops accounts for all of its routers in the end.
            if !router.retires() || self.is_closing() {
                return;
            }
            let ledger = router.ledger();
            if ledger.in_flight == 0 {
                *self.retired.lock() += ledger;
                router.close();
                routers.remove(&router.namespace);
                drop(routers);
                router.end_lanes();
                return;
            }
        }
    }
}

impl Alive {
    /// A receiver takes nothing more: it leaves the list, in the background.
    pub(crate) fn forget_receiver(&self, inbox: &Arc<Inbox>) {
        let inner = self.inner.clone();
        let known = inner.shared.inboxes.lock().contains_key(&inbox.id);
        if !known || inner.is_closing() {
            return;
        }
        inner.registered.lock().remove(&inbox.id);
        if inbox.with(|core| core.state()) != State::Closing {
            inner.shared.inboxes.lock().remove(&inbox.id);
        }
        inner.mend_list();
    }

    /// Waits until a receiver is off the list.
    pub(crate) async fn receiver_gone(&self, inbox: &Inbox) {
        let mut view = self.inner.shared.view.clone();
        let key = inbox.key();
        let gone = |view: &Arc<View>| !view.receivers.contains_key(&key);
        tokio::select! {
            _ = view.wait_for(gone) => {}
            () = self.stopped() => {}
        }
    }
}
