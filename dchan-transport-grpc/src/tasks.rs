use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::rt::Executor;
use tokio::{task::JoinSet, time::timeout};

/// How long a connection that both sides have closed may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// All tasks of one connection. Both halves hold it; with it they end.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    sent_all: AtomicBool,
    seen_all: AtomicBool,
}

impl Tasks {
    /// Runs hyper's tasks. It does not keep the connection alive.
    pub(crate) fn executor(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.set))
    }

    /// This side has closed its direction, and HTTP/2 has taken everything.
    pub(crate) fn sent_all(&self) {
        self.sent_all.store(true, Ordering::Relaxed);
    }

    /// The peer's direction has ended.
    pub(crate) fn seen_all(&self) {
        self.seen_all.store(true, Ordering::Relaxed);
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let mut set = {
            let mut shared = self.set.lock().unwrap_or_else(PoisonError::into_inner);
            mem::take(&mut *shared)
        };
        let graceful = *self.sent_all.get_mut() && *self.seen_all.get_mut();
        if graceful && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // The last frames may be on their way to the socket still.
            runtime
                .spawn(timeout(GOODBYE, async move { while set.join_next().await.is_some() {} }));
        }
        // Otherwise the set goes here, and takes its tasks and their socket with it.
    }
}

/// Spawns into the [`Tasks`] of a connection, for as long as there is one.
#[derive(Clone, Debug)]
pub(crate) struct Spawner(Weak<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
{
    fn execute(&self, future: F) {
        if let Some(set) = self.0.upgrade() {
            let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
            // What has ended is of no use to anybody.
            while set.try_join_next().is_some() {}
            set.spawn(async move {
                future.await;
            });
        }
    }
}
