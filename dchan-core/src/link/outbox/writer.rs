//! What the writer of a connection asks of its outbox.

use std::{
    future::poll_fn,
    sync::{Weak, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use tokio::task::yield_now;

use super::{Outbox, ReadyLane, Urgent};
use crate::FrameBatch;

/// The most bytes that one batch is filled with.
const BATCH: usize = 256 * 1024;
/// How often receivers have a turn before what they took is told, at most.
const GATHERS: usize = 8;

/// Whether the writer may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asleep {
    Yes,
    No,
    /// All is out, and nothing more will come.
    Finished,
}

impl Outbox {
    /// Waits until something may have been put in since the writer has fallen asleep, or began to listen.
    pub(crate) async fn wait(&self) {
        let awake = |cx: &mut Context<'_>| {
            self.waker.register(cx.waker());
            if self.queues.lock().asleep { Poll::Pending } else { Poll::Ready(()) }
        };
        poll_fn(awake).await;
    }

    /// If there is credit to tell and nothing else to do, lets receivers have a turn for as long as more of it
    /// comes: each of ten thousand that take a message would have a frame to itself. Not if one frame came in: its
    /// sender may be waiting for a receipt.
    pub(crate) async fn gather_credit(&self) {
        if !self.heard_several.load(Relaxed) {
            return;
        }
        let mut known = 0;
        for _ in 0..GATHERS {
            let owed = self.queues.lock().owes_alone();
            if owed <= known {
                return;
            }
            known = owed;
            yield_now().await;
        }
    }

    /// Whether the peer let too much pile up.
    pub(crate) fn has_overflown(&self) -> bool {
        self.queues.lock().overflow
    }

    /// Takes out what belongs before all data. Whether there is anything.
    pub(crate) fn take_urgent(&self, urgent: &mut Urgent) -> bool {
        let mut queues = self.queues.lock();
        if queues.control.is_empty() && queues.owed.is_empty() {
            return false;
        }
        std::mem::swap(&mut queues.control, &mut urgent.controls);
        std::mem::swap(&mut queues.owed, &mut urgent.owed);
        drop(queues);
        urgent.owed.sort_unstable();
        urgent.owed.dedup();
        true
    }

    /// Fills the batch: whole frames first, then lanes in turn. Returns how many messages end in it.
    pub(crate) fn fill(&self, batch: &mut FrameBatch) -> u64 {
        let mut messages = 0;
        let mut queues = self.queues.lock();
        while batch.bytes() < BATCH
            && let Some(frame) = queues.frames.pop()
        {
            if frame.lane.is_data() {
                queues.flow.on_sent(frame.payload.len() as u64, self.began.elapsed());
            }
            batch.push(frame);
        }
        let before = batch.bytes();
        while batch.bytes() < BATCH {
            let more = (batch.bytes() - before) as u64;
            let room = queues.flow.room(more);
            let Some(turn) = queues.ready.next(room) else {
                queues.note_idle(more);
                break;
            };
            drop(queues);
            let held = batch.bytes();
            let polled = turn.lane.poll(self.epoch, batch, held + turn.budget);
            messages += polled.messages;
            self.full.note(polled.waited, polled.waits);
            queues = self.queues.lock();
            queues.ready.done(turn, batch.bytes() - held, polled.more);
        }
        let sent = batch.bytes() - before;
        if sent > 0 {
            queues.flow.on_sent(sent as u64, self.began.elapsed());
        }
        self.full.set_lanes(queues.lanes());
        if !queues.outside.is_empty() && self.full.is_over() {
            let come = std::mem::take(&mut queues.outside);
            self.full.set_outside(0);
            drop(queues);
            come.iter().filter_map(Weak::upgrade).for_each(ReadyLane::on_room);
        }
        messages
    }

    /// Goes to sleep, if there is nothing to do: the next one who puts something in wakes the writer.
    pub(crate) fn fall_asleep(&self) -> Asleep {
        let mut queues = self.queues.lock();
        if queues.finishing && queues.is_idle() {
            return Asleep::Finished;
        }
        if queues.has_work(&self.full) {
            return Asleep::No;
        }
        queues.note_idle(0);
        queues.asleep = true;
        Asleep::Yes
    }

    /// While a send is under way: asks to be woken by the next thing that is put in.
    pub(crate) fn listen(&self) {
        let mut queues = self.queues.lock();
        queues.asleep = queues.control.is_empty() && queues.owed.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc, time::Duration};

    use tokio::task::LocalSet;

    use super::*;
    use crate::{Frame, LaneId};

    /// What a writer takes out at a time, while receivers owe credit one after another, as so many frames came in.
    async fn taken(frames: usize, owes: u64) -> Vec<usize> {
        let (outbox, taken) = (Rc::new(Outbox::new(1, 1 << 20)), Rc::new(RefCell::new(Vec::new())));
        let writing = async |outbox: Rc<Outbox>, taken: Rc<RefCell<Vec<usize>>>| {
            let mut urgent = Urgent::default();
            loop {
                if outbox.take_urgent(&mut urgent) {
                    taken.borrow_mut().push(urgent.owed.len());
                    urgent.clear();
                } else if outbox.fall_asleep() == Asleep::Yes {
                    outbox.wait().await;
                    outbox.gather_credit().await;
                }
            }
        };
        outbox.on_heard(frames);
        let tasks = LocalSet::new();
        tasks.spawn_local(writing(outbox.clone(), taken.clone()));
        tasks
            .run_until(async {
                for lane in 0..owes {
                    // The writer has its turn after each.
                    yield_now().await;
                    outbox.owe(LaneId(lane));
                }
                while taken.borrow().iter().sum::<usize>() < owes as usize {
                    yield_now().await;
                }
            })
            .await;
        taken.take()
    }

    #[tokio::test]
    async fn credit_of_receivers_that_take_in_turn_goes_together() {
        assert_eq!(taken(2, 1).await, [1]);
        assert_eq!(taken(GATHERS, GATHERS as u64).await, [GATHERS]);
        assert_eq!(taken(1, 3).await, [1; 3], "there may be no more to come");
        let many = taken(100, 100).await;
        assert!(many.len() <= 100 / GATHERS + 1, "{many:?}");
        assert!(many.iter().all(|at_a_time| *at_a_time <= GATHERS + 1), "not for ever: {many:?}");
    }

    #[tokio::test]
    async fn credit_does_not_wait_if_there_is_something_to_send() {
        let outbox = Outbox::new(1, 1 << 20);
        outbox.on_heard(2);
        outbox.owe(LaneId(1));
        outbox.control(crate::wire::Control::Bye);
        assert!(futures::poll!(std::pin::pin!(outbox.gather_credit())).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn as_much_may_wait_as_leaves_in_a_tenth_of_a_second() {
        const LINK: u64 = 1 << 20;
        for (bytes_a_ms, expected) in [(16, 4 * LINK), (80 << 10, 8 << 20), (1 << 20, 16 * LINK)] {
            let outbox = Outbox::new(1, LINK);
            let (mut batch, mut total) = (FrameBatch::new(), 0);
            assert_eq!(outbox.full.most(), 4 * LINK, "nothing is known");
            for _ in 0..100 {
                for part in [bytes_a_ms / 16; 16] {
                    outbox.frames([Frame::new(LaneId::FIRST, vec![0; part].into())]);
                }
                outbox.fill(&mut batch);
                while let Some(frame) = batch.pop() {
                    total += frame.payload.len() as u64;
                }
                tokio::time::advance(Duration::from_millis(1)).await;
                assert!(outbox.on_received(total));
            }
            let most = outbox.full.most();
            assert!(most.abs_diff(expected) <= expected / 20, "{most} of {expected}");
        }
    }
}
