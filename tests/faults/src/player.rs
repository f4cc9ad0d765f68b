//! What is known of an actor by what it told.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use dchan_conformance::cluster::{Log, Oracle};
use dchan_core::{Ledger, NodeId, ReceiverId};
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::AbortHandle, time::Instant};

use crate::{
    process::Process,
    words::{Order, Said, Seen},
};

/// One life of an actor.
pub(crate) struct Player {
    pub(crate) life: Life,
    pub(crate) notes: Arc<Notes>,
}

/// Where an actor lives.
pub(crate) enum Life {
    /// In this process.
    Task(AbortHandle, mpsc::Sender<Order>),
    /// In one of its own.
    Process(Process),
}

impl Player {
    pub(crate) fn order(&mut self, order: Order) {
        match &mut self.life {
            Life::Task(_, orders) => orders.try_send(order).expect("the actor takes orders"),
            Life::Process(process) => process.order(&order),
        }
    }

    pub(crate) fn id(&self) -> Option<NodeId> {
        self.notes.with(|told| told.id)
    }

    pub(crate) fn process(&self) -> &Process {
        match &self.life {
            Life::Process(process) => process,
            Life::Task(..) => panic!("it has no process of its own"),
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        if let Life::Task(task, _) = &self.life {
            task.abort();
        }
    }
}

/// What one life of an actor has told so far. It outlives the actor.
pub(crate) struct Notes {
    oracle: Arc<Oracle>,
    log: Log,
    told: Mutex<Told>,
}

/// What the lock of the notes holds.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) id: Option<NodeId>,
    pub(crate) seen: Seen,
    /// The peers that it is linked to.
    pub(crate) linked: BTreeSet<NodeId>,
    /// The receivers that are open, by namespace.
    pub(crate) receivers: BTreeSet<(String, ReceiverId)>,
    /// By namespace: how many times it was told, and what came last.
    pub(crate) ledgers: BTreeMap<String, (u64, Ledger)>,
    /// By namespace: how many messages had come in and were not received.
    pub(crate) queued: HashMap<String, u64>,
    /// When the last message of a handle came.
    pub(crate) last: HashMap<u32, Instant>,
    pub(crate) halted: HashSet<u32>,
    pub(crate) failed: Vec<String>,
    pause: Pause,
}

/// The longest time without a message.
#[derive(Default)]
struct Pause {
    last: Option<Instant>,
    longest: Duration,
}

impl Notes {
    pub(crate) fn new(oracle: &Arc<Oracle>) -> Arc<Self> {
        Arc::new(Self { oracle: oracle.clone(), log: oracle.log(), told: Mutex::default() })
    }

    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut Told) -> R) -> R {
        look(&mut self.told.lock())
    }

    pub(crate) fn has_opened(&self, namespace: &str) -> bool {
        self.with(|told| told.receivers.iter().any(|(name, _)| name == namespace))
    }

    pub(crate) fn is_halted(&self, handle: u32) -> bool {
        self.with(|told| told.halted.contains(&handle))
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.with(|told| told.failed.clone())
    }

    pub(crate) fn received(&self) -> usize {
        self.log.lock().len()
    }

    /// The numbers of what came from a handle, in order of arrival.
    pub(crate) fn numbers_of(&self, handle: u32) -> Vec<u64> {
        let log = self.log.lock();
        log.iter().filter(|entry| entry.handle == handle).map(|entry| entry.number).collect()
    }

    pub(crate) fn hear(&self, said: Said) {
        let mut told = self.told.lock();
        match said {
            Said::Started(id) => told.id = Some(id),
            Said::Opened(namespace, id) => {
                told.receivers.insert((namespace, id));
            }
            Said::Received(entry) => {
                let now = Instant::now();
                told.last.insert(entry.handle, now);
                told.pause.note(now);
                self.log.lock().push(entry);
            }
            Said::Accepted(handle, number) => self.oracle.note_accepted(handle, number),
            Said::Halted(handle) => {
                told.halted.insert(handle);
            }
            Said::Ledger(namespace, ledger) => {
                let before = told.ledgers.get(&namespace).map_or(0, |(times, _)| *times);
                told.ledgers.insert(namespace, (before + 1, ledger));
            }
            Said::Queued(namespace, count) => {
                told.queued.insert(namespace, count);
            }
            Said::View(seen) => told.seen = seen,
            Said::Linked(peers) => told.linked = peers,
            Said::Failed(reason) => told.failed.push(reason),
        }
    }

    /// Measures pauses from now on.
    pub(crate) fn measure_pause(&self) {
        let now = Instant::now();
        self.with(|told| told.pause = Pause { last: Some(now), longest: Duration::ZERO });
    }

    /// The longest time without a message since then, the present one included.
    pub(crate) fn longest_pause(&self) -> Duration {
        self.with(|told| {
            told.pause.note(Instant::now());
            told.pause.longest
        })
    }
}

impl Pause {
    fn note(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(now - last);
        }
    }
}
