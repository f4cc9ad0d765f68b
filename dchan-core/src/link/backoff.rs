use std::time::Duration;

/// How long to wait before dialling again: doubling, with full jitter in the upper half, so that nodes
/// that lost each other at the same time do not meet again at the same time.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration, random: fastrand::Rng) -> Self {
        Self { next: first, most, random }
    }

    /// The next wait.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        wait / 2 + wait.mul_f64(self.random.f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_differ() {
        let (first, most) = (Duration::from_millis(50), Duration::from_secs(2));
        let mut backoff = Backoff::new(first, most, fastrand::Rng::with_seed(1));
        let waits: Vec<_> = (0..20).map(|_| backoff.next_wait()).collect();
        assert!(waits[0] >= first / 2 && waits[0] <= first);
        assert!(waits[10..].iter().all(|wait| *wait >= most / 2 && *wait <= most));
        assert!(waits[10..].windows(2).any(|pair| pair[0] != pair[1]));
    }
}
