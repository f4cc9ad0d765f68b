use std::time::Duration;

use tokio::{sync::Notify, time::Instant};

use super::Side;
use crate::Timers;

/// When to say to a peer that this node is there.
///
/// An idle link wakes a node up to say so, and to hear it from the other end. So the end that was dialled answers: it
/// speaks when it hears the other in the second half of its own period, and then lets the other be the first the next
/// time, too. So it wakes up once for both.
pub(super) struct Beats {
    period: Duration,
    side: Side,
    timers: Timers,
    last: Instant,
    /// The last one was an answer.
    answered: bool,
}

impl Beats {
    /// The last one is now.
    pub(super) fn new(period: Duration, side: Side, timers: Timers) -> Self {
        Self { period, side, timers, last: Instant::now(), answered: false }
    }

    /// Waits until it is time. `heard` is told when the peer is heard from for the first time since the last one.
    pub(super) async fn next(&mut self, heard: &Notify) {
        self.answered = match self.side {
            Side::Dialler => {
                self.timers.sleep_until(self.last + self.period).await;
                false
            }
            Side::Listener => self.next_or_answer(heard).await,
        };
        self.last = Instant::now();
    }

    /// Whether it is an answer.
    async fn next_or_answer(&self, heard: &Notify) -> bool {
        // So far away that the timer is put off before it comes near: tokio's wake up some 64 ms before they end.
        let wait = if self.answered { self.period * 5 / 4 } else { self.period };
        let mut until = self.last + wait;
        loop {
            tokio::select! {
                () = self.timers.sleep_until(until) => return false,
                () = heard.notified() => {}
            }
            if self.last.elapsed() >= self.period / 2 {
                return true;
            }
            // Either there is more than heartbeats to hear, and silence is to be noticed in time; or the other's
            // heartbeats come soon after this node's, and do so later each time.
            until = self.last + self.period * 17 / 16;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

    use tokio::{
        task::{LocalSet, spawn_local},
        time::sleep,
    };

    use super::*;

    const PERIOD: Duration = Duration::from_millis(240);
    const PERIODS: u32 = 100;

    /// One end of an idle link.
    #[derive(Default)]
    struct End {
        heard: Notify,
        beats: RefCell<Vec<Instant>>,
        wakes: RefCell<BTreeSet<Instant>>,
    }

    impl End {
        /// Beats for ever. What it says arrives after so long, if at all.
        async fn run(self: Rc<Self>, side: Side, other: Rc<Self>, delay: Option<Duration>) {
            let mut beats = Beats::new(PERIOD, side, Timers::default());
            loop {
                if let Some(delay) = delay {
                    let other = other.clone();
                    spawn_local(async move {
                        sleep(delay).await;
                        other.wakes.borrow_mut().insert(Instant::now());
                        other.heard.notify_one();
                    });
                }
                beats.next(&self.heard).await;
                self.wakes.borrow_mut().insert(Instant::now());
                self.beats.borrow_mut().push(Instant::now());
            }
        }

        fn gaps(&self) -> Vec<Duration> {
            self.beats.borrow().windows(2).map(|pair| pair[1] - pair[0]).collect()
        }
    }

    /// What became of a link whose dialled end began so much later. What is said needs so long for each way.
    async fn link(
        later: Duration,
        there: Option<Duration>,
        back: Option<Duration>,
    ) -> [Rc<End>; 2] {
        let ends: [Rc<End>; 2] = Default::default();
        let [dialler, listener] = ends.clone();
        let tasks = LocalSet::new();
        tasks.spawn_local(dialler.clone().run(Side::Dialler, listener.clone(), there));
        tasks.spawn_local(async move {
            sleep(later).await;
            listener.run(Side::Listener, dialler, back).await;
        });
        tasks.run_until(sleep(PERIOD * PERIODS)).await;
        for end in &ends {
            let gaps = end.gaps();
            assert!(
                gaps.iter().all(|gap| *gap <= PERIOD * 5 / 4),
                "{later:?}, {there:?}: {gaps:?}"
            );
            assert!(gaps.iter().all(|gap| *gap >= PERIOD / 2), "{later:?}, {there:?}: {gaps:?}");
        }
        ends
    }

    #[tokio::test(start_paused = true)]
    async fn the_dialled_end_of_an_idle_link_wakes_up_once_a_period() {
        for later in (0..=240).step_by(8).map(Duration::from_millis) {
            for delay in [0, 1, 50, 200, 500].map(Duration::from_millis) {
                let [dialler, listener] = link(later, Some(delay), Some(delay)).await;
                let least = PERIODS as usize;
                let wakes = listener.wakes.borrow().len();
                assert!(wakes <= least + 16, "{later:?}, {delay:?}: {wakes}");
                assert!(dialler.wakes.borrow().len() <= 2 * least + 1, "{later:?}, {delay:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_hears_nothing_speaks_all_the_same() {
        for (there, back) in
            [(None, None), (None, Some(Duration::ZERO)), (Some(Duration::ZERO), None)]
        {
            for end in link(Duration::from_millis(100), there, back).await {
                assert!(end.beats.borrow().len() as u32 >= PERIODS - 2);
            }
        }
    }
}
