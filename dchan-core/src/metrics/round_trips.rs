use std::time::Duration;

use serde::Serialize;

/// How long heartbeats to a peer and back took, since this node first had a link with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RoundTrips {
    /// The last one.
    pub last: Option<Duration>,
    /// A moving average: each new one counts for an eighth.
    pub smoothed: Option<Duration>,
    /// The shortest.
    pub min: Option<Duration>,
    /// All of them.
    pub histogram: Histogram,
}

impl RoundTrips {
    pub(crate) fn record(&mut self, time: Duration) {
        self.last = Some(time);
        self.smoothed = Some(self.smoothed.map_or(time, |average| (average * 7 + time) / 8));
        self.min = Some(self.min.map_or(time, |least| least.min(time)));
        self.histogram.record(time);
    }
}

/// How many times were how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Histogram {
    /// How many were above the bound before and up to that of [`BOUNDS`](Self::BOUNDS); the last one
    /// counts those above all bounds.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// The sum of all times.
    pub sum: Duration,
}

impl Histogram {
    /// The upper bounds of the buckets.
    pub const BOUNDS: [Duration; 14] = [
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2500),
    ];

    fn record(&mut self, time: Duration) {
        let at = Self::BOUNDS.partition_point(|bound| *bound < time);
        self.counts[at] += 1;
        self.sum = self.sum.saturating_add(time);
    }

    /// How many there are in all.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Default::default(), sum: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_bucket_that_ends_with_them() {
        let mut histogram = Histogram::default();
        for micros in [0, 100, 101, 2_500_000, 2_500_001] {
            histogram.record(Duration::from_micros(micros));
        }
        assert_eq!((histogram.counts[0], histogram.counts[1]), (2, 1));
        assert_eq!((histogram.counts[13], histogram.counts[14]), (1, 1));
        assert_eq!((histogram.count(), histogram.sum), (5, Duration::from_micros(5_000_202)));
    }

    #[test]
    fn an_outlier_moves_the_average_by_an_eighth() {
        let mut times = RoundTrips::default();
        for millis in [8, 8, 16] {
            times.record(Duration::from_millis(millis));
        }
        assert_eq!(times.last, Some(Duration::from_millis(16)));
        assert_eq!(times.smoothed, Some(Duration::from_millis(9)));
        assert_eq!(times.min, Some(Duration::from_millis(8)));
    }
}
