use std::{fmt, ops::AddAssign};

/// What has become of the messages that a node accepted for a namespace.
///
/// At any time `accepted = taken + unknown + dropped + in_flight`; see [`Ledger::balances`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub struct Ledger {
    /// Messages for which a send returned `Ok`.
    pub accepted: u64,
    /// Messages that a receiver's application took.
    pub taken: u64,
    /// Messages that had been handed to a receiver whose process is gone: it may have taken them or not.
    pub unknown: u64,
    /// Messages that nobody took and nobody will.
    pub dropped: Dropped,
    /// Messages whose fate is open: waiting here, on their way, or waiting there.
    pub in_flight: u64,
    /// How many of the messages came back and were given to another receiver. Not part of the balance.
    pub rerouted: u64,
}

/// Messages that nobody took, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub struct Dropped {
    /// Their receiver could not decode them.
    pub decode: u64,
    /// The node shut down while there was no receiver for them.
    pub no_receiver: u64,
}

impl Dropped {
    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        self.decode + self.no_receiver
    }
}

impl Ledger {
    /// Whether every accepted message is accounted for.
    pub fn balances(&self) -> bool {
        self.accepted == self.taken + self.unknown + self.dropped.total() + self.in_flight
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.taken += other.taken;
        self.unknown += other.unknown;
        self.dropped.decode += other.dropped.decode;
        self.dropped.no_receiver += other.dropped.no_receiver;
        self.in_flight += other.in_flight;
        self.rerouted += other.rerouted;
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "accepted={} taken={} unknown={} dropped={} in-flight={}",
            self.accepted,
            self.taken,
            self.unknown,
            self.dropped.total(),
            self.in_flight
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_add_up() {
        let dropped = Dropped { decode: 3, no_receiver: 4 };
        let one = Ledger { accepted: 15, taken: 1, unknown: 2, dropped, in_flight: 5, rerouted: 6 };
        assert!(one.balances());
        assert_eq!(one.to_string(), "accepted=15 taken=1 unknown=2 dropped=7 in-flight=5");
        let mut sum = one;
        sum += one;
        assert!(sum.balances());
        assert_eq!((sum.accepted, sum.taken, sum.unknown), (30, 2, 4));
        assert_eq!((sum.dropped.decode, sum.dropped.no_receiver), (6, 8));
        assert_eq!((sum.in_flight, sum.rerouted), (10, 12));
        let wrong = [
            Ledger { accepted: 16, ..one },
            Ledger { taken: 0, ..one },
            Ledger { unknown: 3, ..one },
            Ledger { in_flight: 4, ..one },
            Ledger { dropped: Dropped { decode: 2, ..dropped }, ..one },
        ];
        assert!(wrong.iter().all(|ledger| !ledger.balances()));
    }
}
