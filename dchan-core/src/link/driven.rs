//! Who drives the writer of a connection: whoever has something for it to send.
//!
//! A task that is called runs when its turn comes, perhaps on another core. So a sender that is alone with its
//! message carries it out itself, in the place of the writer's task. That one is there for all that nobody
//! waits for: what a transport could not take at once, heartbeats, credit.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    task::{Context, Poll, Waker},
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;

/// A future that a task of its own runs, and others may drive on.
pub(crate) struct Driven<T> {
    state: Mutex<State<T>>,
    /// Somebody came while another one was at it.
    missed: AtomicBool,
    /// Where its timers and sockets are: who drives it may be elsewhere, or in no runtime at all.
    runtime: Handle,
}

struct State<T> {
    /// `None` once it is over.
    future: Option<BoxFuture<'static, T>>,
    result: Option<T>,
    /// Calls the task. What happens to the future is that one's business, whoever drove it last.
    waker: Option<Waker>,
}

/// What can be driven on.
pub(crate) trait Drive: Send + Sync {
    /// Does what can be done now. If somebody else is at it, then that is left to that one, or to the task.
    fn drive(&self);
}

impl<T: Send + 'static> Driven<T> {
    /// For the runtime that it is called in.
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let state = State { future: Some(Box::pin(future)), result: None, waker: None };
        let (missed, runtime) = (AtomicBool::new(false), Handle::current());
        Self { state: Mutex::new(state), missed, runtime }
    }

    /// Runs it to its end: for its task, which calls this once.
    pub(crate) async fn run(&self) -> T {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<T> {
        let polled = self.attempt(|state| {
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            state.poll(cx);
            state.result.take()
        });
        polled.flatten().map_or(Poll::Pending, Poll::Ready)
    }

    /// Does it, if nobody else is at it. Otherwise that one calls the task afterwards.
    fn attempt<R>(&self, act: impl FnOnce(&mut State<T>) -> R) -> Option<R> {
        // Before it is tried: either nobody is at it any more, or whoever is sees this afterwards.
        self.missed.store(true, SeqCst);
        let mut state = self.state.try_lock()?;
        self.missed.store(false, SeqCst);
        let result = act(&mut state);
        let waker = state.waker.clone();
        drop(state);
        if self.missed.swap(false, SeqCst) {
            waker.inspect(Waker::wake_by_ref);
        }
        Some(result)
    }
}

impl<T> State<T> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(Poll::Ready(result)) =
            self.future.as_mut().map(|future| future.as_mut().poll(cx))
        {
            (self.future, self.result) = (None, Some(result));
        }
    }
}

impl<T: Send + 'static> Drive for Driven<T> {
    fn drive(&self) {
        self.attempt(|state| {
            // Without one, the task has not had its first turn, and will look.
            let Some(waker) = state.waker.clone() else { return };
            let _entered = self.runtime.enter();
            state.poll(&mut Context::from_waker(&waker));
            if state.result.is_some() {
                waker.wake();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
        thread,
        time::Duration,
    };

    use futures::task::AtomicWaker;
    use tokio::time::timeout;

    use super::*;

    /// Work that is put in, done, and done for good. Whoever puts some in calls the task, or drives.
    #[derive(Default)]
    struct Work {
        put: AtomicU64,
        done: AtomicU64,
        asleep: AtomicBool,
        waker: AtomicWaker,
    }

    impl Work {
        /// Does what there is, until it is so much.
        async fn work(self: Arc<Self>, all: u64) {
            poll_fn(|cx| {
                loop {
                    self.waker.register(cx.waker());
                    let put = self.put.load(SeqCst);
                    if self.done.swap(put, Relaxed) < put {
                        continue;
                    }
                    if put == all {
                        return Poll::Ready(());
                    }
                    self.asleep.store(true, SeqCst);
                    if self.put.load(SeqCst) == put {
                        return Poll::Pending;
                    }
                }
            })
            .await;
        }

        fn put(&self, driven: &Driven<()>, drives: bool) {
            self.put.fetch_add(1, SeqCst);
            if self.asleep.swap(false, SeqCst) {
                if drives { driven.drive() } else { self.waker.wake() }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_left_undone_whoever_is_at_it() {
        const EACH: u64 = 200;
        for seed in 0..500 {
            let work = Arc::new(Work::default());
            let driven = Arc::new(Driven::new(work.clone().work(3 * EACH)));
            let running = tokio::spawn({
                let driven = driven.clone();
                async move { driven.run().await }
            });
            let threads = (0..3).map(|thread| {
                let (work, driven) = (work.clone(), driven.clone());
                thread::spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(seed * 3 + thread);
                    for _ in 0..EACH {
                        work.put(&driven, rng.bool());
                        (0..rng.u32(..100)).for_each(|_| std::hint::spin_loop());
                    }
                })
            });
            let threads: Vec<_> = threads.collect();
            let ended = timeout(Duration::from_secs(30), running).await;
            ended.unwrap_or_else(|_| panic!("seed {seed}: something is left undone")).unwrap();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(work.done.load(SeqCst), 3 * EACH);
        }
    }

    #[tokio::test]
    async fn who_drives_it_to_its_end_calls_the_task() {
        let (end, ended) = tokio::sync::oneshot::channel::<u32>();
        let driven = Arc::new(Driven::new(async { ended.await.unwrap() }));
        // Before the task has had a turn, nobody can be called for what happens.
        driven.drive();
        let running = tokio::spawn({
            let driven = driven.clone();
            async move { driven.run().await }
        });
        tokio::task::yield_now().await;
        end.send(7).unwrap();
        driven.drive();
        assert_eq!(running.await.unwrap(), 7);
        driven.drive();
    }
}
