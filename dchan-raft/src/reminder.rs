//! What to say while something waits.

use std::time::Duration;

use tokio::time::Instant;

/// The longest time between two reminders.
const SELDOM: Duration = Duration::from_secs(60);

/// Says when to log what something waits for: often enough that nobody wonders, more and more seldom as
/// it takes longer.
#[derive(Debug)]
pub(crate) struct Reminder {
    begun: Instant,
    next: Duration,
}

impl Reminder {
    /// The first one after that time.
    pub(crate) fn new(first: Duration) -> Self {
        Self { begun: Instant::now(), next: first }
    }

    /// How long it has waited, if that is to be said now.
    pub(crate) fn due(&mut self) -> Option<Duration> {
        let waited = self.begun.elapsed();
        if waited < self.next {
            return None;
        }
        self.next = waited + waited.clamp(Duration::from_secs(5), SELDOM);
        Some(waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reminders_come_more_and_more_seldom() {
        let mut reminder = Reminder::new(Duration::from_secs(1));
        let mut said = Vec::new();
        for second in 0..200 {
            if reminder.due().is_some() {
                said.push(second);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(said, [1, 6, 12, 24, 48, 96, 156]);
    }
}
