//! The messages of a stage.

use std::{collections::BTreeSet, time::Duration};

use dchan_core::Ledger;
use tokio::time::{Instant, sleep};

use super::{LOOK_AGAIN, PATIENCE, Stage, eventually};
use crate::{Order, Score};

/// How long an endless flow waits after each message. Programs that are not optimized would be busy with
/// more alone.
const PAUSE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 4 } else { 1 });

/// A sender that sends.
#[derive(Clone)]
pub(super) struct Flow {
    pub(super) seat: usize,
    pub(super) namespace: String,
    /// Something of it must come whenever all is well.
    pub(super) endless: bool,
}

impl Stage {
    /// Opens a receiver, without waiting for it.
    pub fn open(&mut self, at: usize, namespace: &str, capacity: usize, pause: Duration) {
        let pause_micros = pause.as_micros() as u64;
        self.order(at, Order::Receive { namespace: namespace.into(), capacity, pause_micros });
    }

    /// Opens a receiver, and waits until it is open.
    pub async fn receive(&mut self, at: usize, namespace: &str) {
        self.open(at, namespace, 100, Duration::ZERO);
        self.opened(at, namespace).await;
    }

    /// Waits until a receiver is open.
    pub async fn opened(&self, at: usize, namespace: &str) {
        let notes = self.notes(at);
        eventually(|| match notes.has_opened(namespace) {
            true => Ok(()),
            false => Err(format!("{namespace} is not open on {at}: {:?}", notes.failures())),
        })
        .await;
    }

    /// Sends so many messages by a handle of its own, and returns the handle.
    pub fn send(&mut self, at: usize, namespace: &str, count: u64, pause: Duration) -> u32 {
        let handle = self.next_handle;
        self.next_handle += 1;
        let (namespace, pause_micros) = (namespace.to_owned(), pause.as_micros() as u64);
        let endless = count == u64::MAX;
        self.flows.insert(handle, Flow { seat: at, namespace: namespace.clone(), endless });
        self.order(at, Order::Send { namespace, handle, count, pause_micros });
        handle
    }

    /// Sends without an end.
    pub fn flow(&mut self, at: usize, namespace: &str) -> u32 {
        self.send(at, namespace, u64::MAX, PAUSE)
    }

    /// Waits until so many messages of a handle have come in at a node, taken or not. The one that the
    /// receiver has in hand may be counted twice.
    pub async fn arrived(&mut self, at: usize, namespace: &str, handle: u32, count: u64) {
        let notes = self.notes(at);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Counted first: what is received meanwhile is counted once.
            let taken = notes.numbers_of(handle).len() as u64;
            notes.with(|told| told.queued.remove(namespace));
            self.order(at, Order::Queued { namespace: namespace.into() });
            let queued = || notes.with(|told| told.queued.get(namespace).copied());
            eventually(|| queued().map(drop).ok_or_else(|| format!("{at} does not answer"))).await;
            let arrived = taken + queued().unwrap_or_default();
            if arrived >= count {
                return;
            }
            assert!(Instant::now() < deadline, "{arrived} of {count} have come to {at}");
        }
    }

    /// Waits until a node has received so many more messages.
    pub async fn more(&self, at: usize, count: usize) {
        let notes = self.notes(at);
        let before = notes.received();
        eventually(|| match notes.received() {
            now if now >= before + count => Ok(()),
            now => Err(format!("{at} has received {} of {count}", now - before)),
        })
        .await;
    }

    /// The account of a node for a namespace, as of now.
    pub async fn ledger(&mut self, at: usize, namespace: &str) -> Ledger {
        let notes = self.notes(at);
        let last = || notes.with(|told| told.ledgers.get(namespace).copied().unwrap_or_default());
        let before = last().0;
        self.order(at, Order::Ledger { namespace: namespace.into() });
        eventually(|| match last().0 {
            now if now > before => Ok(()),
            _ => Err(format!("{at} does not say what became of {namespace}")),
        })
        .await;
        last().1
    }

    /// Sends no more, and waits until nothing is in flight.
    pub async fn settle(&mut self) -> Vec<Ledger> {
        let flows: Vec<(u32, Flow)> =
            self.flows.iter().map(|(handle, flow)| (*handle, flow.clone())).collect();
        for (handle, flow) in &flows {
            self.order(flow.seat, Order::Halt { handle: *handle });
        }
        for (handle, flow) in &flows {
            let notes = self.notes(flow.seat);
            eventually(|| match notes.is_halted(*handle) {
                true => Ok(()),
                false => Err(format!("{handle} sends still")),
            })
            .await;
        }
        self.flows.values_mut().for_each(|flow| flow.endless = false);
        let senders: BTreeSet<_> =
            flows.into_iter().map(|(_, flow)| (flow.seat, flow.namespace)).collect();
        let mut ledgers = Vec::new();
        for (at, namespace) in senders {
            let deadline = Instant::now() + PATIENCE;
            let ledger = loop {
                let ledger = self.ledger(at, &namespace).await;
                if ledger.in_flight == 0 {
                    break ledger;
                }
                assert!(Instant::now() < deadline, "{at} does not settle {namespace}: {ledger}");
                sleep(Duration::from_millis(20)).await;
            };
            ledgers.push(ledger);
        }
        ledgers
    }

    /// Sends no more, and holds what was received against what was sent.
    pub async fn score(&mut self, fault: impl Into<String>, heal: Vec<Duration>) -> Score {
        let (fault, ledgers) = (fault.into(), self.settle().await);
        for ledger in &ledgers {
            assert!(ledger.balances() && ledger.dropped.total() == 0, "{fault}: {ledger}");
        }
        for (at, player) in self.live() {
            assert_eq!(player.notes.failures(), [] as [String; 0], "{at}");
        }
        // Receivers tell of a message before it counts as taken, each by a pipe of its own: what is there
        // already may be read after what the sender says.
        let deadline = Instant::now() + PATIENCE;
        while self.oracle.judge(&ledgers).lost() > 0 && Instant::now() < deadline {
            sleep(LOOK_AGAIN).await;
        }
        Score::new(fault, self.over, &self.oracle.judge(&ledgers), heal)
    }
}
