//! What Raft runs on: tokio, with timers of the node, and with chance that comes from a seed.

use std::time::Duration;

use dchan_core::{Sleep, Timers};
use openraft_rt::{AsyncRuntime, Instant, OptionalSend, deterministic_rng::DeterministicRng};
use openraft_rt_tokio::{
    TokioInstant, TokioMpsc, TokioMutex, TokioOneshot, TokioRuntime, TokioWatch,
};

tokio::task_local! {
    static TIMERS: Timers;
}

/// Raft may only be called within [`scope`].
pub(crate) type Runtime = DeterministicRng<Tokio>;

/// Runs what calls Raft. The tasks that Raft spawns inherit the timers, and a seed of their own.
pub(crate) fn scope<F: Future>(
    seed: u64,
    timers: Timers,
    calls_raft: F,
) -> impl Future<Output = F::Output> {
    TIMERS.scope(timers, Runtime::scope(seed, calls_raft))
}

/// Tokio, but for what Raft waits for again and again: timeouts, which are given up as a rule, are tokio's.
#[derive(Debug)]
pub(crate) struct Tokio(TokioRuntime);

impl AsyncRuntime for Tokio {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = TokioInstant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = TokioMpsc;
    type Watch = TokioWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(TIMERS.scope(TIMERS.get(), future))
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TIMERS.with(|timers| timers.sleep(duration))
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Self::sleep(deadline.saturating_duration_since(TokioInstant::now()))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(TIMERS.scope(Timers::default(), future))
    }
}

#[cfg(test)]
mod tests {
    use openraft_rt::testing::Suite;

    use super::*;

    #[test]
    fn it_is_what_raft_expects_of_a_runtime() {
        Suite::<Tokio>::test_all();
    }
}
