//! A link in virtual time: a queue, a rate, a delay, and a peer that says what has come in.

use std::{collections::VecDeque, time::Duration};

use super::{FRAME, Flow, TELL_AFTER};

/// A frame.
const LEN: u64 = 66_000;
const STEP: Duration = Duration::from_micros(100);
const HEARTBEAT: Duration = Duration::from_millis(250);
const BEAT_LEN: u64 = 20;

pub(super) struct Sim {
    pub(super) flow: Flow,
    pub(super) now: Duration,
    /// Bytes a second.
    pub(super) rate: u64,
    /// One way.
    pub(super) delay: Duration,
    /// The peer's tasks run only so often.
    pub(super) sluggish: Duration,
    /// Whether there is always more to send.
    pub(super) greedy: bool,
    queue: VecDeque<Item>,
    /// Of the first in the queue, in bytes a second times a microsecond.
    gone: u64,
    flying: VecDeque<(Duration, Item)>,
    back: VecDeque<(Duration, Back)>,
    sent: u64,
    received: u64,
    told: u64,
    /// Since the last look.
    delivered: u64,
    waited: Duration,
}

#[derive(Clone, Copy)]
enum Item {
    Data(u64),
    Beat(Duration),
}

enum Back {
    Received(u64),
    Echo(Duration),
}

/// What happened in a while.
#[derive(Debug)]
pub(super) struct Seen {
    /// Of what the path could have carried.
    pub(super) used: f64,
    /// How long the heartbeat waited that waited longest, beyond the delay.
    pub(super) waited: Duration,
}

impl Sim {
    pub(super) fn new(rate: u64, delay: Duration, ceiling: u64) -> Self {
        Self {
            flow: Flow::new(ceiling),
            now: Duration::ZERO,
            rate,
            delay,
            sluggish: STEP,
            greedy: true,
            queue: VecDeque::from([Item::Beat(Duration::ZERO)]),
            gone: 0,
            flying: VecDeque::new(),
            back: VecDeque::new(),
            sent: 0,
            received: 0,
            told: 0,
            delivered: 0,
            waited: Duration::ZERO,
        }
    }

    /// Lets time go by.
    pub(super) fn run(&mut self, time: Duration) -> Seen {
        (self.delivered, self.waited) = (0, Duration::ZERO);
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
        let could = self.rate as f64 * time.as_secs_f64();
        Seen { used: self.delivered as f64 / could, waited: self.waited }
    }

    pub(super) fn send(&mut self, len: u64) {
        self.queue.push_back(Item::Data(len));
        self.flow.on_sent(len, self.now);
        self.sent += len;
    }

    fn step(&mut self) {
        self.now += STEP;
        while self.back.front().is_some_and(|(at, _)| *at <= self.now) {
            match self.back.pop_front().unwrap().1 {
                Back::Received(total) => assert!(self.flow.on_received(total, self.now)),
                Back::Echo(sent) => self.flow.on_heartbeat(self.now - sent, self.now),
            }
        }
        while self.greedy && self.flow.room(0) >= FRAME {
            self.send(LEN);
        }
        if self.flow.room(0) >= FRAME {
            self.flow.on_idle();
        }
        if self.now.as_micros().is_multiple_of(HEARTBEAT.as_micros()) {
            self.queue.push_back(Item::Beat(self.now));
        }
        self.carry();
        if self.now.as_micros().is_multiple_of(self.sluggish.as_micros()) {
            self.arrive();
        }
    }

    fn carry(&mut self) {
        self.gone += self.rate * STEP.as_micros() as u64;
        while let Some(item) = self.queue.front().copied() {
            let len = match item {
                Item::Data(len) => len,
                Item::Beat(_) => BEAT_LEN,
            };
            let cost = len * 1_000_000;
            if self.gone < cost {
                return;
            }
            self.gone -= cost;
            self.queue.pop_front();
            self.flying.push_back((self.now + self.delay, item));
        }
        self.gone = 0;
    }

    fn arrive(&mut self) {
        while self.flying.front().is_some_and(|(at, _)| *at <= self.now) {
            match self.flying.pop_front().unwrap().1 {
                Item::Data(len) => {
                    self.delivered += len;
                    self.received += len;
                }
                Item::Beat(sent) => {
                    self.waited = self.waited.max(self.now - sent - self.delay);
                    self.back.push_back((self.now + self.delay, Back::Echo(sent)));
                }
            }
        }
        if self.received - self.told >= TELL_AFTER {
            self.told = self.received;
            self.back.push_back((self.now + self.delay, Back::Received(self.told)));
        }
    }
}
