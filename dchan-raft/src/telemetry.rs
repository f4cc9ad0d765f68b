//! What is counted, and logged alike wherever it happens.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use dchan_core::{LogLimit, Sample};
use parking_lot::Mutex;
use tokio::time::Instant;

/// What makes no sense if it cannot be decoded or does not fit.
const WHAT: [&str; 5] = ["answer", "changes", "command", "question", "snapshot"];

/// What one membership counts.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// For lines that other nodes can provoke.
    pub(crate) log: LogLimit,
    malformed: Mutex<BTreeMap<&'static str, u64>>,
    questions_refused: AtomicU64,
    proposals: AtomicU64,
    calls: AtomicU64,
    removed: AtomicU64,
    leader_changes: AtomicU64,
    /// When a leader with a majority last answered.
    led: Mutex<Option<Instant>>,
    /// What a human must look after.
    fault: Mutex<Option<String>>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log: LogLimit::default(),
            malformed: Mutex::new(WHAT.map(|what| (what, 0)).into()),
            questions_refused: AtomicU64::new(0),
            proposals: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            removed: AtomicU64::new(0),
            leader_changes: AtomicU64::new(0),
            led: Mutex::new(None),
            fault: Mutex::new(None),
        }
    }
}

impl Telemetry {
    /// Something a peer sent, or the log holds, that makes no sense.
    pub(crate) fn malformed(&self, what: &'static str, error: &dyn Display) {
        *self.malformed.lock().entry(what).or_default() += 1;
        if let Some(held) = self.log.pass("malformed") {
            tracing::warn!(what, %error, suppressed = held.lines(), "malformed: ignored");
        }
    }

    /// A question that was not taken, as too many are being worked on.
    pub(crate) fn busy(&self) {
        self.questions_refused.fetch_add(1, Relaxed);
        if let Some(held) = self.log.pass("busy") {
            let suppressed = held.lines();
            tracing::warn!(suppressed, "too many questions at a time: one is not answered");
        }
    }

    /// A command was sent on its way.
    pub(crate) fn proposal(&self, calls: usize) {
        self.proposals.fetch_add(1, Relaxed);
        self.calls.fetch_add(calls as u64, Relaxed);
    }

    /// A node was taken off the list because its lease ran out.
    pub(crate) fn removed(&self) {
        self.removed.fetch_add(1, Relaxed);
    }

    pub(crate) fn leader_changed(&self) {
        self.leader_changes.fetch_add(1, Relaxed);
    }

    pub(crate) fn leader_changes(&self) -> u64 {
        self.leader_changes.load(Relaxed)
    }

    /// A leader with a majority has answered.
    pub(crate) fn is_led(&self) {
        *self.led.lock() = Some(Instant::now());
    }

    /// Whether one has answered within that time.
    pub(crate) fn was_led_within(&self, time: Duration) -> bool {
        self.led.lock().is_some_and(|last| last.elapsed() <= time)
    }

    /// A human must look after this, or after nothing any more.
    pub(crate) fn set_fault(&self, fault: Option<String>) {
        *self.fault.lock() = fault;
    }

    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.lock().clone()
    }

    /// What is counted, by name.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let count = |name, help, count: &AtomicU64| sample(name, help, count.load(Relaxed) as f64);
        let mut samples = vec![
            count("dchan_raft_proposals_total", "Commands sent to a leader.", &self.proposals),
            count("dchan_raft_calls_total", "Calls that they were made of.", &self.calls),
            count(
                "dchan_raft_nodes_removed_total",
                "Nodes taken off the list here.",
                &self.removed,
            ),
            count(
                "dchan_raft_questions_refused_total",
                "Questions not answered, as there were too many.",
                &self.questions_refused,
            ),
        ];
        let (name, help) = ("dchan_raft_malformed_total", "What made no sense.");
        samples.extend(self.malformed.lock().iter().map(|(what, count)| Sample {
            label: Some(("what", what)),
            ..sample(name, help, *count as f64)
        }));
        samples
    }
}

pub(crate) fn sample(name: &'static str, help: &'static str, value: f64) -> Sample {
    Sample { name, help, label: None, value }
}
