use std::{
    mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinSet, time::timeout};

/// How long the last answers may take to go out.
const GOODBYE: Duration = Duration::from_secs(5);

/// The tasks of one connection: HTTP/2, and the calls that it works on. Both halves hold them; with the
/// second half they end.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    ended: AtomicUsize,
}

impl Tasks {
    /// Runs hyper's tasks. It does not keep the connection alive.
    pub(super) fn spawner(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.set))
    }

    /// One more direction has ended as it should. If both have on the side that answers, then the peer
    /// hangs up as soon as it has the last answers.
    pub(super) fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let mut set = mem::take(&mut *self.set.lock());
        if *self.ended.get_mut() == 2
            && let Ok(runtime) = Handle::try_current()
        {
            let all = async move { while set.join_next().await.is_some() {} };
            runtime.spawn(timeout(GOODBYE, all));
        }
        // Otherwise the set goes here, and takes its tasks and their socket with it.
    }
}

/// Spawns into the [`Tasks`] of a connection, for as long as there is one.
#[derive(Clone, Debug)]
pub(super) struct Spawner(Weak<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
{
    fn execute(&self, future: F) {
        if let Some(set) = self.0.upgrade() {
            let mut set = set.lock();
            // What has ended is of no use to anybody.
            while set.try_join_next().is_some() {}
            set.spawn(async move {
                future.await;
            });
        }
    }
}
