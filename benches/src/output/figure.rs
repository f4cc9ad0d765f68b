use std::collections::BTreeMap;

/// Something that is measured in a run. Those that come first here come first in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// Messages a second.
    Rate,
    /// Megabytes of messages a second.
    Megabytes,
    /// Half of the round trips are not longer, in microseconds.
    P50,
    /// 99 of 100.
    P99,
    /// 999 of 1,000.
    P999,
    /// How far the receiver that is furthest from it is from an equal share, in percent of that.
    Uneven,
    /// Receivers that came on the list, a second.
    Registrations,
    /// How often somebody else led.
    LeaderChanges,
    /// From the start of the first process to a leader that all know, in milliseconds.
    Elected,
    /// From the start of a sender's process to its first message at the receiver, in milliseconds.
    FirstMessage,
    /// From the death of the leader's process to a receiver that was opened after it, in milliseconds.
    Failover,
    /// What a link between two nodes takes, with a channel that uses it, at both ends, in KiB.
    PerLink,
    /// What another channel on a link takes, at both ends, in KiB.
    PerNamespace,
    /// What another receiver of a channel takes, at both ends, in KiB.
    PerLane,
    /// How often a thread wakes up for an idle link, at both ends, a second.
    WakeUps,
    /// How often a thread of two processes wakes up whose nodes are idle, and one of which leads, a second.
    RaftWakeUps,
    /// Seconds of processor time of all processes, for a million messages.
    Cpu,
    /// The most that was resident in a process that sends, in MiB.
    SenderPeak,
    /// The same of one that receives.
    ReceiverPeak,
}

impl Figure {
    /// Its name in JSON, with the unit.
    pub(crate) fn name(self) -> &'static str {
        self.texts().0
    }

    /// The head of its column.
    pub(crate) fn title(self) -> &'static str {
        self.texts().1
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Rate => ("messages_per_s", "messages/s"),
            Self::Megabytes => ("mb_per_s", "MB/s"),
            Self::P50 => ("p50_us", "p50 µs"),
            Self::P99 => ("p99_us", "p99 µs"),
            Self::P999 => ("p999_us", "p99.9 µs"),
            Self::Uneven => ("uneven_percent", "uneven by %"),
            Self::Registrations => ("registrations_per_s", "registrations/s"),
            Self::LeaderChanges => ("leader_changes", "leader changes"),
            Self::Elected => ("elected_ms", "leader after ms"),
            Self::FirstMessage => ("first_message_ms", "first message after ms"),
            Self::Failover => ("failover_ms", "failover ms"),
            Self::PerLink => ("kib_per_link", "KiB a link"),
            Self::PerNamespace => ("kib_per_namespace", "KiB a namespace"),
            Self::PerLane => ("kib_per_lane", "KiB a lane"),
            Self::WakeUps => ("wake_ups_per_s", "wake-ups/s"),
            Self::RaftWakeUps => ("wake_ups_with_raft_per_s", "wake-ups/s with Raft"),
            Self::Cpu => ("cpu_s_per_million", "CPU s per million"),
            Self::SenderPeak => ("sender_peak_mib", "sender MiB"),
            Self::ReceiverPeak => ("receiver_peak_mib", "receiver MiB"),
        }
    }

    /// Whether a table says how many times that of the first row it is.
    pub(crate) fn is_compared(self) -> bool {
        matches!(self, Self::Rate | Self::P50 | Self::P99 | Self::Registrations)
    }
}

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Run(BTreeMap<Figure, f64>);

impl Run {
    /// One more figure.
    #[must_use]
    pub(crate) fn with(mut self, figure: Figure, value: f64) -> Self {
        self.0.insert(figure, value);
        self
    }

    pub(crate) fn get(&self, figure: Figure) -> Option<f64> {
        self.0.get(&figure).copied()
    }

    pub(crate) fn figures(&self) -> impl Iterator<Item = Figure> {
        self.0.keys().copied()
    }
}
