use std::{ops::RangeInclusive, time::Duration};

use dchan_core::Addr;

/// How a node takes part in its cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RaftConfig {
    /// The name of the cluster. From 1 to 255 bytes.
    pub cluster: String,
    /// The addresses of the nodes that found the cluster and vote. The same list on every node; a node
    /// that is not in it joins without a vote. From 1 to [`RaftConfig::MAX_FOUNDERS`].
    pub founders: Vec<Addr>,
    /// What chance is drawn from: back-off and jitter. Two nodes should not have the same.
    /// Random by default.
    pub seed: u64,
    /// How long things take.
    pub times: Times,
    /// How large things become.
    pub limits: Limits,
    /// Who writes to disk.
    pub writes: Writes,
}

/// How long things take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Times {
    /// How often a leader says that it is there. Default 100 ms. It must be longer than a round trip.
    pub heartbeat: Duration,
    /// How long without a leader before an election, at least. Default 300 ms. At least twice
    /// [`heartbeat`](Times::heartbeat).
    pub election_min: Duration,
    /// How long without a leader before an election, at most. Default 600 ms. It is also how long
    /// followers stay loyal to a silent leader: a dead one is replaced after about twice this.
    pub election_max: Duration,
    /// How long to wait for an answer before asking again. Default 2 s.
    pub request: Duration,
    /// How often a node renews its lease. Default 1 s; a quarter of
    /// [`removal_after`](Times::removal_after) at most.
    pub lease: Duration,
    /// How long a node may be silent before it is taken off the list. Default 10 s.
    pub removal_after: Duration,
    /// The longest pause between two attempts at anything. Default 1 s.
    pub backoff_max: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            request: Duration::from_secs(2),
            lease: Duration::from_secs(1),
            removal_after: Duration::from_secs(10),
            backoff_max: Duration::from_secs(1),
        }
    }
}

/// How large things become.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How many calls of `apply` wait in the queue before further ones wait for room in it.
    /// Default 1,024.
    pub waiting: usize,
    /// The largest log entry, in bytes. Default 256 KiB. One call of `apply` must fit into one.
    pub entry: usize,
    /// How many entries are logged before the log is compacted. Default 2,000.
    pub log_entries: u64,
    /// How many bytes are logged before the log is compacted, however few the entries. Default 16 MiB.
    /// The log is also kept in memory: worst case about twice this, plus what waits for a quorum.
    pub log_bytes: usize,
    /// How many entries are kept when the log is compacted, for followers that are a little behind.
    /// Default 500.
    pub kept_entries: u64,
    /// The largest snapshot to accept, in bytes. Default 256 MiB, which is also the worst case memory of
    /// a transfer.
    pub snapshot: usize,
    /// The size of a piece of a snapshot, in bytes. Default 512 KiB.
    pub snapshot_chunk: usize,
    /// How many questions of other nodes are worked on at a time. Default 256. Raft's own have half of
    /// that to themselves. Worst case memory = this many times
    /// [`Requests::MAX`](dchan_core::Requests::MAX).
    pub questions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: 1024,
            entry: 256 << 10,
            log_entries: 2000,
            log_bytes: 16 << 20,
            kept_entries: 500,
            snapshot: 256 << 20,
            snapshot_chunk: 512 << 10,
            questions: 256,
        }
    }
}

/// Who writes to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Writes {
    /// A thread of its own. Writes that come while it works are written together.
    #[default]
    Thread,
    /// The task that has something to write, which blocks meanwhile: for tests in paused time, as
    /// tokio's clock runs ahead of a thread that it knows nothing of.
    Inline,
}

impl RaftConfig {
    /// The longest list of founders.
    pub const MAX_FOUNDERS: usize = 15;

    /// The defaults, for the cluster of that name with those founders.
    pub fn new(cluster: impl Into<String>, founders: impl IntoIterator<Item = Addr>) -> Self {
        Self {
            cluster: cluster.into(),
            founders: founders.into_iter().collect(),
            seed: fastrand::u64(..),
            times: Times::default(),
            limits: Limits::default(),
            writes: Writes::default(),
        }
    }

    /// Checks every setting, and puts the founders in order.
    pub(crate) fn validated(mut self) -> Result<Self, ConfigError> {
        self.founders.sort();
        self.founders.dedup();
        within("cluster", self.cluster.len(), 1..=255)?;
        within("founders", self.founders.len(), 1..=Self::MAX_FOUNDERS)?;
        self.times.check()?;
        self.limits.check()?;
        Ok(self)
    }

    pub(crate) fn for_openraft(&self) -> Result<openraft::Config, openraft::ConfigError> {
        let times = &self.times;
        openraft::Config {
            cluster_name: self.cluster.clone(),
            heartbeat_interval: millis(times.heartbeat),
            election_timeout_min: millis(times.election_min),
            election_timeout_max: millis(times.election_max),
            install_snapshot_timeout: millis(times.request).saturating_mul(30),
            max_payload_entries: 256,
            replication_lag_threshold: self.limits.log_entries.saturating_mul(2),
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.limits.log_entries),
            max_in_snapshot_log_to_keep: self.limits.kept_entries,
            purge_batch_size: 1,
            api_channel_size: Some(4096),
            notification_channel_size: Some(4096),
            enable_pre_vote: Some(true),
            // The list is rebuilt from a snapshot and the log, and how far it was committed may be
            // lost with the last write: only an election tells for certain.
            enable_leader_restore: Some(false),
            // A follower whose disk went back in time, or whose directory was copied, would otherwise
            // make every leader panic in turn. It gets what it lacks again instead.
            allow_log_reversion: Some(true),
            backoff: "50ms 100ms 200ms ...1s".into(),
            ..openraft::Config::default()
        }
        .validate()
    }
}

impl Times {
    fn check(&self) -> Result<(), ConfigError> {
        let day = 86_400_000;
        within("times.heartbeat (ms)", millis(self.heartbeat), 5..=60_000)?;
        let twice = millis(self.heartbeat) * 2;
        within("times.election_min (ms)", millis(self.election_min), twice..=day)?;
        let above = millis(self.election_min) + 1;
        within("times.election_max (ms)", millis(self.election_max), above..=day)?;
        within("times.request (ms)", millis(self.request), 10..=600_000)?;
        within("times.removal_after (ms)", millis(self.removal_after), 40..=day)?;
        within("times.lease (ms)", millis(self.lease), 10..=millis(self.removal_after) / 4)?;
        within("times.backoff_max (ms)", millis(self.backoff_max), 20..=60_000)
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        within("limits.waiting", self.waiting, 1..=1 << 20)?;
        within("limits.entry", self.entry, 4 << 10..=1 << 20)?;
        within("limits.log_entries", self.log_entries, 10..=1_000_000)?;
        within("limits.log_bytes", self.log_bytes, self.entry * 4..=1 << 30)?;
        within("limits.kept_entries", self.kept_entries, 0..=self.log_entries)?;
        within("limits.snapshot", self.snapshot, 1 << 20..=1 << 30)?;
        within("limits.snapshot_chunk", self.snapshot_chunk, 1 << 10..=1 << 20)?;
        within("limits.questions", self.questions, 16..=65_536)
    }
}

/// Why a setting was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: expected {low} to {high}")]
pub struct ConfigError {
    field: &'static str,
    value: u64,
    low: u64,
    high: u64,
}

fn within<T: Count>(
    field: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    let (value, low, high) = (value.count(), range.start().count(), range.end().count());
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ConfigError { field, value, low, high })
}

trait Count: Copy {
    fn count(self) -> u64;
}

impl Count for u64 {
    fn count(self) -> u64 {
        self
    }
}

impl Count for usize {
    fn count(self) -> u64 {
        self as u64
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RaftConfig {
        RaftConfig::new("shop", ["127.0.0.1:7001".parse().unwrap()])
    }

    #[test]
    fn the_defaults_are_valid() {
        config().validated().unwrap().for_openraft().unwrap();
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let mut wrong = config();
        wrong.times.lease = Duration::from_secs(60);
        let error = wrong.validated().unwrap_err().to_string();
        assert_eq!(error, "times.lease (ms) is 60000: expected 10 to 2500");
        let none = RaftConfig::new("shop", []).validated().unwrap_err().to_string();
        assert_eq!(none, "founders is 0: expected 1 to 15");
    }
}
