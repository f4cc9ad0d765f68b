use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    fault::Faults,
    pipe::{Found, Pipe},
};
use crate::{Addr, ErrorKind, Frame, FrameBatch, Received};

/// A connection: two ends and a pipe from each of them. End 0 dialled.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ends: [Addr; 2],
    /// How many bytes fit into each pipe.
    limit: usize,
    state: Mutex<State>,
    /// What the reader, and the writer, of each end wait for.
    readers: [Notify; 2],
    writers: [Notify; 2],
}

#[derive(Debug)]
struct State {
    faults: Faults,
    rng: fastrand::Rng,
    /// The pipe from each end.
    pipes: [Pipe; 2],
    /// Which ends have been told that the connection is broken.
    severed: [bool; 2],
    /// Which ends have dropped both their halves.
    gone: [bool; 2],
    /// Which ends have seen the end of their stream.
    ended: [bool; 2],
    /// The network has forgotten the connection: it will be broken at both ends once it is healed.
    forgotten: bool,
}

/// One end of a link. Both halves of a connection share it; the end is gone when it is dropped.
#[derive(Debug)]
pub(super) struct End {
    pub(super) link: Arc<Link>,
    side: usize,
}

impl Link {
    pub(super) fn new(ends: [Addr; 2], limit: usize, faults: Faults, seed: u64) -> Arc<Self> {
        let state = State {
            faults,
            rng: fastrand::Rng::with_seed(seed),
            pipes: Default::default(),
            severed: [false; 2],
            gone: [false; 2],
            ended: [false; 2],
            forgotten: false,
        };
        Arc::new(Self {
            ends,
            limit,
            state: Mutex::new(state),
            readers: Default::default(),
            writers: Default::default(),
        })
    }

    /// The two ends, the dialling one first.
    pub(super) fn split(self: &Arc<Self>) -> [Arc<End>; 2] {
        [0, 1].map(|side| Arc::new(End { link: self.clone(), side }))
    }

    /// Whether both ends hold the connection and neither has been told that it is broken.
    pub(super) fn is_up(&self) -> bool {
        let state = self.state.lock();
        state.severed == [false; 2] && state.gone == [false; 2]
    }

    pub(super) fn set_faults(&self, faults: &Faults) {
        self.state.lock().faults = faults.clone();
    }

    /// Breaks the connection for both ends. What is in flight is lost.
    pub(super) fn cut(&self) {
        self.state.lock().sever();
        self.wake();
    }

    /// Lets whatever `from` sends vanish.
    pub(super) fn darken(&self, from: &Addr) {
        let mut state = self.state.lock();
        for side in 0..2 {
            state.pipes[side].dark |= self.ends[side] == *from;
        }
    }

    /// Breaks the connection for the end at `seen_by` only.
    pub(super) fn half_open(&self, seen_by: &Addr) {
        let mut state = self.state.lock();
        for side in 0..2 {
            state.severed[side] |= self.ends[side] == *seen_by;
            state.pipes[side].dark = true;
        }
        state.forgotten = true;
        drop(state);
        self.wake();
    }

    /// Lets frames through again. If any have vanished, then the connection breaks now.
    pub(super) fn heal(&self) {
        let mut state = self.state.lock();
        let lost = state.forgotten || state.pipes.iter().any(|pipe| pipe.dark && pipe.owes());
        for pipe in &mut state.pipes {
            pipe.dark = false;
        }
        if lost {
            state.sever();
        }
        drop(state);
        self.wake();
    }

    fn wake(&self) {
        for notify in self.readers.iter().chain(&self.writers) {
            notify.notify_one();
        }
    }
}

impl State {
    fn sever(&mut self) {
        self.severed = [true; 2];
        self.pipes.iter_mut().for_each(Pipe::lose);
    }

    /// Whether the peer of this end has gone, as far as this end can know.
    fn peer_gone(&self, side: usize) -> bool {
        self.gone[1 - side] && !self.pipes[1 - side].dark
    }

    /// Moves frames of the batch into the pipe: whether there was room for any.
    fn push(&mut self, side: usize, limit: usize, batch: &mut FrameBatch) -> bool {
        // Some lanes are blocked now and then, so that nobody relies on whole batches being taken.
        let unlucky = self.rng.u64(..16);
        let blocked = |frame: &Frame| frame.lane.0 % 16 == unlucky;
        let only_blocked = batch.iter().all(blocked);
        let mut kept = Vec::new();
        let mut taken = false;
        while !self.severed[side] {
            let Some(frame) = batch.pop() else { break };
            if !only_blocked && blocked(&frame) {
                kept.push(frame);
            } else if self.pipes[side].fits(&frame, limit) {
                self.launch(side, frame);
                taken = true;
            } else {
                batch.push_front(frame);
                break;
            }
        }
        while let Some(frame) = kept.pop() {
            batch.push_front(frame);
        }
        taken
    }

    fn launch(&mut self, side: usize, frame: Frame) {
        let at = Instant::now() + self.faults.draw_delay(&mut self.rng);
        self.pipes[side].push(frame, at, &mut self.rng);
        if self.faults.draw_cut(&mut self.rng) {
            self.sever();
        }
    }
}

impl End {
    /// The address at this end.
    pub(super) fn here(&self) -> &Addr {
        &self.link.ends[self.side]
    }

    /// The address at the other end.
    pub(super) fn peer(&self) -> &Addr {
        &self.link.ends[1 - self.side]
    }

    /// Sends frames, waiting for room for the first.
    pub(super) async fn send(&self, batch: &mut FrameBatch) -> Result<(), ErrorKind> {
        loop {
            {
                let mut state = self.link.state.lock();
                if state.severed[self.side] || state.peer_gone(self.side) {
                    return Err(ErrorKind::Broken);
                }
                if state.push(self.side, self.link.limit, batch) {
                    let cut = state.severed[self.side];
                    drop(state);
                    if cut {
                        self.link.wake();
                    }
                    self.link.readers[1 - self.side].notify_one();
                    return Ok(());
                }
            }
            self.link.writers[self.side].notified().await;
        }
    }

    /// Receives frames, waiting for the first to arrive.
    pub(super) async fn recv(&self, batch: &mut FrameBatch) -> Result<Received, ErrorKind> {
        loop {
            match self.try_recv(batch)? {
                Found::Frames => {
                    self.link.writers[1 - self.side].notify_one();
                    return Ok(Received::Frames);
                }
                Found::End => return Ok(Received::End),
                Found::Nothing => self.link.readers[self.side].notified().await,
                Found::NothingBefore(at) => {
                    // A frame that is sent later may arrive earlier.
                    let earlier = self.link.readers[self.side].notified();
                    let _ = tokio::time::timeout_at(at, earlier).await;
                }
            }
        }
    }

    fn try_recv(&self, batch: &mut FrameBatch) -> Result<Found, ErrorKind> {
        let state = &mut *self.link.state.lock();
        if state.severed[self.side] {
            return Err(ErrorKind::Broken);
        }
        let pipe = &mut state.pipes[1 - self.side];
        let most = state.rng.usize(1..=32);
        let found = pipe.pull(Instant::now(), most, batch);
        match found {
            Found::Nothing if state.peer_gone(self.side) => return Err(ErrorKind::Broken),
            Found::End => state.ended[self.side] = true,
            _ => {}
        }
        Ok(found)
    }

    /// Ends this direction behind what has been sent.
    pub(super) fn close(&self) -> Result<(), ErrorKind> {
        let mut state = self.link.state.lock();
        if state.severed[self.side] || state.peer_gone(self.side) {
            return Err(ErrorKind::Broken);
        }
        state.pipes[self.side].closed = true;
        drop(state);
        self.link.readers[1 - self.side].notify_one();
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.link.state.lock();
        state.gone[self.side] = true;
        let ended = state.ended[self.side];
        let pipe = &mut state.pipes[self.side];
        // A socket that is dropped before it has read everything resets its connection, and a reset
        // overtakes what is in flight: so `close` alone saves nothing.
        if !(pipe.dark || pipe.closed && ended) {
            pipe.lose();
            pipe.closed = false;
        }
        drop(state);
        self.link.wake();
    }
}
