use std::{pin::pin, time::Duration};

use futures::{FutureExt, future::join_all, poll};
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::*;

const MILLI: Duration = Duration::from_millis(1);
/// What never comes.
const NEVER: Duration = Duration::from_secs(3600);
/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_woken_early_or_left_asleep() {
    let timers = Timers::default();
    let mut tasks = JoinSet::new();
    for n in 0..2_000 {
        let timers = timers.clone();
        tasks.spawn(async move {
            let mut chance = fastrand::Rng::with_seed(n);
            for _ in 0..10 {
                let [time, limit] = [(); 2].map(|()| chance.u32(0..20) * MILLI);
                let began = Instant::now();
                tokio::select! {
                    () = timers.sleep(time) => assert!(began.elapsed() >= time),
                    // Both may be first: so sleepers that would be the next to wake up go.
                    () = timers.sleep(limit) => assert!(began.elapsed() >= limit),
                }
            }
        });
    }
    let all = async { while tasks.join_next().await.transpose().unwrap().is_some() {} };
    timeout(PATIENCE, all).await.expect("all of them wake up");
    assert!(timers.alarm.lock().upgrade().is_none(), "nobody sleeps");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn who_sleeps_less_comes_first_and_who_goes_is_not_waited_for() {
    let timers = Timers::default();
    // In a task that nothing else wakes: it would find that its time has come.
    let soon = || {
        let sleep = timers.sleep(MILLI);
        timeout(PATIENCE, tokio::spawn(sleep)).map(|woken| woken.is_ok_and(|slept| slept.is_ok()))
    };
    let (mut long, mut first) = (pin!(timers.sleep(NEVER)), Box::pin(timers.sleep(NEVER / 2)));
    assert!(poll!(&mut long).is_pending() && poll!(&mut first).is_pending());
    assert!(soon().await, "before those who sleep longer");
    let set_for = || timers.alarm.lock().upgrade().unwrap().set_for().unwrap();
    let half = Instant::now() + NEVER / 2;
    assert!(set_for() <= half + MILLI);
    drop(first);
    assert!(set_for() > half + MILLI, "nobody is woken for who is gone");
    assert!(soon().await, "with one of them gone");
    assert!(poll!(&mut long).is_pending());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn those_who_sleep_until_nearly_the_same_time_are_woken_at_one() {
    let timers = Timers::default();
    let _other = pin!(timers.sleep(NEVER)).now_or_never();
    let at = Instant::now() + 50 * MILLI;
    let sleeps = (0..100).map(|n| timers.sleep_until(at + Duration::from_micros(n)));
    let times = join_all(sleeps.map(|sleep| async {
        let Kind::Alarm(entry) = &sleep.0 else { panic!("{sleep:?}") };
        let deadline = entry.deadline();
        sleep.await;
        deadline
    }));
    let mut times = times.await;
    times.dedup();
    assert!(times.len() <= 2, "{times:?}");
    assert!(times.iter().all(|time| *time >= at && *time <= at + 2 * MILLI), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_done_stays_so_and_no_time_or_an_endless_one_is_one_too() {
    let timers = Timers::default();
    let mut sleep = pin!(timers.sleep(MILLI));
    (&mut sleep).await;
    sleep.await;
    timers.sleep(Duration::ZERO).await;
    timers.sleep_until(Instant::now()).await;
    assert!(timers.sleep(Duration::MAX).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn where_time_can_be_paused_it_is_tokios() {
    let began = Instant::now();
    Timers::default().sleep(NEVER).await;
    assert!(began.elapsed() >= NEVER);
}

#[test]
fn a_runtime_may_end_while_somebody_sleeps() {
    let timers = Timers::default();
    for _ in 0..10 {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let asleep = timers.clone();
        runtime.spawn(async move { asleep.sleep(NEVER).await });
        runtime.block_on(async { timers.sleep(MILLI).await });
    }
}
