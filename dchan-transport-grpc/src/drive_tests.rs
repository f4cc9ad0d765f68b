//! Nothing that happens to a connection is missed, whoever is at it.

use std::sync::atomic::AtomicU64;

use tokio::sync::{Notify, watch};

use super::*;

/// A connection that counts what happens.
#[derive(Default)]
struct Events {
    happened: AtomicU64,
    connection: AtomicWaker,
    /// What the connection has noticed, and whoever waits for that.
    noticed: AtomicU64,
    stream: AtomicWaker,
}

impl Work for Arc<Events> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.register(cx.waker());
        let happened = self.happened.load(SeqCst);
        if self.noticed.swap(happened, SeqCst) < happened {
            self.stream.wake();
        }
        Poll::Pending
    }

    fn finish(&mut self) {}
}

impl Events {
    /// As a stream reads.
    async fn read(&self, http: &Http<Arc<Events>>, known: u64) -> u64 {
        let news = |cx: &mut Context<'_>| {
            self.stream.register(cx.waker());
            let noticed = self.noticed.load(SeqCst);
            if noticed > known { Poll::Ready(noticed) } else { Poll::Pending }
        };
        let look = |cx: &mut Context<'_>| match news(cx) {
            Poll::Ready(noticed) => Poll::Ready(noticed),
            Poll::Pending => {
                http.drive();
                news(cx)
            }
        };
        http.receive(look).await
    }
}

/// One task makes things happen, one reads, and one writes, waits, and gives up. What happens next has to
/// wait until the reader has noticed: one that is missed stops them all.
async fn all_is_noticed(count: u64, rng: &mut fastrand::Rng) {
    let (events, poke) = (Arc::new(Events::default()), Arc::new(Notify::new()));
    let http = Arc::new(Http::new(events.clone()));
    let (read, mut seen) = watch::channel(0);
    let reader = tokio::spawn({
        let (events, http) = (events.clone(), http.clone());
        async move {
            let mut known = 0;
            while known < count {
                known = events.read(&http, known).await;
                read.send_replace(known);
            }
        }
    });
    let writer = tokio::spawn({
        let (events, http, poke, mut rng) =
            (events.clone(), http.clone(), poke.clone(), rng.fork());
        async move {
            loop {
                poke.notified().await;
                http.drive_after(|| events.connection.wake());
                // It is given up after some looks: not by a clock, which would make up for what is missed.
                let (mut looks, drives) = (rng.u32(1..4), rng.bool());
                let wait = http.send(|_| {
                    if drives {
                        http.drive();
                    }
                    Poll::<()>::Pending
                });
                let mut wait = pin!(wait);
                poll_fn(|cx| {
                    looks -= 1;
                    let _pending = wait.as_mut().poll(cx);
                    cx.waker().wake_by_ref();
                    if looks == 0 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
        }
    });
    for happened in 1..=count {
        poke.notify_one();
        (0..rng.u32(..3000)).for_each(|_| std::hint::spin_loop());
        events.happened.store(happened, SeqCst);
        events.connection.wake();
        let noticed = timeout(Duration::from_secs(20), seen.wait_for(|seen| *seen >= happened));
        noticed.await.expect("it was missed").expect("the reader reads");
    }
    reader.await.expect("the reader does not panic");
    writer.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_that_happens_is_missed() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    all_is_noticed(50_000, &mut fastrand::Rng::with_seed(seed)).await;
}

/// While neither half is called, what is to be written goes out all the same.
#[tokio::test(start_paused = true)]
async fn somebody_looks_while_nobody_waits() {
    let events = Arc::new(Events::default());
    let http = Http::new(events.clone());
    http.drive();
    for happened in 1..=3 {
        events.happened.store(happened, SeqCst);
        events.connection.wake();
        sleep(2 * PATIENCE).await;
        assert_eq!(events.noticed.load(SeqCst), happened);
    }
    // With the last half it is gone, and whatever it holds.
    drop(http);
    sleep(2 * PATIENCE).await;
    assert_eq!(Arc::strong_count(&events), 1);
}
