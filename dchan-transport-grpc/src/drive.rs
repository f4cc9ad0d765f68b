//! Who works for a connection of HTTP/2: whoever waits for it.
//!
//! A task of its own would be one hop more in each direction, and each hop may end on another core. So
//! the task that sends carries its bytes to the socket itself, and the task that receives fetches them
//! from there. Only one of them can be at it; the other leaves what it has to do to that one.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker, ready},
    time::Duration,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use crate::{rope::Rope, secure::Socket};

/// How long a connection that both sides have closed may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// How soon somebody looks after a connection while neither of its halves is called.
const PATIENCE: Duration = Duration::from_millis(5);
/// How often a task looks again at once, if there was more to do, before it lets others have a turn.
const ROUNDS: usize = 4;

/// A connection of HTTP/2. Both halves hold it; with it the socket goes.
pub(crate) struct Http<C: Work = Connection> {
    shared: Arc<Shared<C>>,
    waker: Waker,
    sent_all: AtomicBool,
    seen_all: AtomicBool,
}

/// What has to be polled for anything to happen.
pub(crate) trait Work: Send + 'static {
    /// Reads and writes what it can, and is ready when it is over. What it is over with, the call hears.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Nothing more will be asked of it: it is over as soon as everything is out.
    fn finish(&mut self);
}

/// The side that dialled, or the one that was dialled.
pub(crate) enum Connection {
    Client(h2::client::Connection<Socket, Rope>),
    Server(h2::server::Connection<Socket, Rope>),
}

impl Work for Connection {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Client(connection) => pin!(connection).poll(cx).map(|_told| ()),
            Self::Server(connection) => loop {
                match ready!(connection.poll_accept(cx)) {
                    // One call a connection: dropping another one refuses it.
                    Some(Ok(_another)) => {}
                    Some(Err(_)) | None => return Poll::Ready(()),
                }
            },
        }
    }

    fn finish(&mut self) {
        if let Self::Server(connection) = self {
            connection.graceful_shutdown();
        }
    }
}

impl<C: Work> Http<C> {
    /// For the runtime that it is called in.
    pub(crate) fn new(connection: C) -> Self {
        let shared = Arc::new(Shared {
            connection: Mutex::new(Some(connection)),
            reader: Arc::default(),
            writer: Arc::default(),
            busy: AtomicBool::new(false),
            again: AtomicBool::new(true),
            substitute: AtomicBool::new(false),
            runtime: Handle::current(),
        });
        let waker = shared.clone().into();
        Self { shared, waker, sent_all: AtomicBool::new(false), seen_all: AtomicBool::new(false) }
    }

    /// Reads and writes what it can, if anything has happened since that was done last: whether it has. If another
    /// task is at it, that one looks again.
    pub(crate) fn drive(&self) -> bool {
        let has_happened = self.shared.again.load(SeqCst);
        if has_happened {
            self.drive_after(|| ());
        }
        has_happened
    }

    /// Does something that gives the connection work, and then the work.
    pub(crate) fn drive_after<T>(&self, act: impl FnOnce() -> T) -> T {
        self.shared.drive(&self.waker, act)
    }

    /// Waits for something that happens to the connection, in the place of the task that receives.
    pub(crate) async fn receive<T>(&self, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        self.wait(&self.shared.reader, poll).await
    }

    /// The same in the place of the task that sends.
    pub(crate) async fn send<T>(&self, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        self.wait(&self.shared.writer, poll).await
    }

    async fn wait<T>(
        &self,
        party: &Arc<Party>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> T {
        let _waits = Waits::new(&self.shared, party);
        poll_fn(|cx| party.poll(cx, &mut poll)).await
    }

    /// Waits for something that the connection brings about.
    pub(crate) async fn until<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        self.receive(|cx| {
            self.drive();
            future.as_mut().poll(cx)
        })
        .await
    }

    /// This side has closed its direction.
    pub(crate) fn sent_all(&self) {
        self.sent_all.store(true, SeqCst);
    }

    /// The peer's direction has ended.
    pub(crate) fn seen_all(&self) {
        self.seen_all.store(true, SeqCst);
    }
}

impl<C: Work> Drop for Http<C> {
    fn drop(&mut self) {
        // Also because it has the waker, and the waker has it.
        let connection = self.shared.connection.lock().take();
        let graceful = *self.sent_all.get_mut() && *self.seen_all.get_mut();
        if let Some(mut connection) = connection.filter(|_| graceful) {
            // The last bytes may be on their way to the socket still.
            connection.finish();
            let goodbye = timeout(GOODBYE, poll_fn(move |cx| connection.poll(cx)));
            self.shared.runtime.spawn(goodbye);
        }
    }
}

/// The connection, and its waker: nothing that happens to it is missed.
struct Shared<C> {
    /// `None` once it is over.
    connection: Mutex<Option<C>>,
    reader: Arc<Party>,
    writer: Arc<Party>,
    /// Somebody is at it.
    busy: AtomicBool,
    /// Something has happened since somebody began.
    again: AtomicBool,
    /// Somebody will look soon, as no party does.
    substitute: AtomicBool,
    runtime: Handle,
}

impl<C: Work> Shared<C> {
    fn drive<T>(self: &Arc<Self>, waker: &Waker, act: impl FnOnce() -> T) -> T {
        let Some(mut connection) = self.connection.try_lock() else { return act() };
        // Nobody has to be called for what is done here.
        self.busy.store(true, SeqCst);
        let result = act();
        self.again.store(false, SeqCst);
        let mut cx = Context::from_waker(waker);
        if connection.as_mut().is_some_and(|connection| connection.poll(&mut cx).is_ready()) {
            *connection = None;
        }
        self.busy.store(false, SeqCst);
        drop(connection);
        // After the lock: whoever is called finds it free, or somebody else at it.
        if self.again.load(SeqCst) {
            self.call();
        }
        result
    }

    /// Somebody has to look: one that waits, or else a task that is there for nothing but this.
    fn call(self: &Arc<Self>) {
        let waits = [&self.writer, &self.reader].into_iter().find(|party| party.waits.load(SeqCst));
        if let Some(party) = waits {
            party.wake_by_ref();
        } else if !self.substitute.swap(true, SeqCst) {
            // Both are elsewhere, and will be back before it gets its turn, as a rule.
            let shared = self.clone();
            self.runtime.spawn(async move {
                sleep(PATIENCE).await;
                shared.substitute.store(false, SeqCst);
                if shared.again.load(SeqCst) {
                    shared.drive(&shared.clone().into(), || ());
                }
            });
        }
    }
}

impl<C: Work> Wake for Shared<C> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, SeqCst);
        if !self.busy.load(SeqCst) {
            self.call();
        }
    }
}

/// A party waits, for as long as this is held.
struct Waits<'a, C: Work> {
    shared: &'a Arc<Shared<C>>,
    party: &'a Party,
}

impl<'a, C: Work> Waits<'a, C> {
    fn new(shared: &'a Arc<Shared<C>>, party: &'a Party) -> Self {
        party.waits.store(true, SeqCst);
        Self { shared, party }
    }
}

impl<C: Work> Drop for Waits<'_, C> {
    fn drop(&mut self) {
        self.party.waits.store(false, SeqCst);
        // It may have been called, and not have come to look.
        if self.shared.again.load(SeqCst) {
            self.shared.call();
        }
    }
}

/// A task that waits. What wakes it while it is at work makes it look again, and does not have it
/// scheduled once more: that would wake another core.
#[derive(Default)]
struct Party {
    task: AtomicWaker,
    /// It is in the midst of waiting.
    waits: AtomicBool,
    at_work: AtomicBool,
    woken: AtomicBool,
}

impl Party {
    /// Polls until nothing has happened meanwhile.
    fn poll<T>(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.task.register(cx.waker());
        let waker = Waker::from(self.clone());
        self.at_work.store(true, SeqCst);
        let mut rounds = 0;
        let result = loop {
            self.woken.store(false, SeqCst);
            let result = poll(&mut Context::from_waker(&waker));
            rounds += 1;
            if result.is_ready() || rounds == ROUNDS || !self.woken.load(SeqCst) {
                break result;
            }
        };
        self.at_work.store(false, SeqCst);
        if result.is_pending() && self.woken.load(SeqCst) {
            self.task.wake();
        }
        result
    }
}

impl Wake for Party {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        if !self.at_work.load(SeqCst) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;
