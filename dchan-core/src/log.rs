//! Log lines that others can provoke.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::{self, Write},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Bounds the lines of the log that peers, strangers and flapping links can provoke: so many of a kind
/// in an interval. Those that are held back are counted, and the next line of that kind says how many
/// they were.
///
/// ```
/// # let (peer, error) = ("10.0.0.1:9", "noise");
/// let limit = dchan_core::LogLimit::default();
/// if let Some(held) = limit.pass("handshake") {
///     tracing::warn!(peer, error, suppressed = held.lines(), "no handshake");
/// }
/// ```
///
/// Kinds are words of the code, never of a peer: so there are few.
#[derive(Debug)]
pub struct LogLimit {
    lines: u32,
    interval: Duration,
    kinds: Mutex<BTreeMap<&'static str, Kind>>,
}

/// What was held back before a line that may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    lines: u64,
}

#[derive(Debug)]
struct Kind {
    since: Instant,
    written: u32,
    held: u64,
}

impl Default for LogLimit {
    /// 5 lines of a kind in a minute.
    fn default() -> Self {
        Self::new(5, Duration::from_secs(60))
    }
}

impl LogLimit {
    /// At most so many lines of a kind in each interval, which begins with the first of them.
    pub const fn new(lines: u32, interval: Duration) -> Self {
        Self { lines, interval, kinds: Mutex::new(BTreeMap::new()) }
    }

    /// Whether one more line of that kind may be written now. If not, it is counted.
    pub fn pass(&self, kind: &'static str) -> Option<Held> {
        let now = Instant::now();
        let mut kinds = self.kinds.lock();
        let kind = kinds.entry(kind).or_insert(Kind { since: now, written: 0, held: 0 });
        if now.duration_since(kind.since) >= self.interval {
            (kind.since, kind.written) = (now, 0);
        }
        if kind.written >= self.lines {
            kind.held += 1;
            return None;
        }
        kind.written += 1;
        Some(Held { lines: std::mem::take(&mut kind.held) })
    }

    /// The kinds of which lines were held back in an interval that is over, and how many: so that the
    /// end of a flood is told even if no other line follows. They count as told then.
    pub fn overdue(&self) -> Vec<(&'static str, u64)> {
        let now = Instant::now();
        let mut kinds = self.kinds.lock();
        let over = |kind: &Kind| now.duration_since(kind.since) >= self.interval;
        let held = |(name, kind): (&&'static str, &mut Kind)| {
            let due = kind.held > 0 && over(kind);
            due.then(|| (*name, std::mem::take(&mut kind.held)))
        };
        kinds.iter_mut().filter_map(held).collect()
    }
}

impl Held {
    /// How many lines of this kind were held back since the last one; none if there was none: such a
    /// field is left out of the line.
    pub fn lines(self) -> Option<u64> {
        (self.lines > 0).then_some(self.lines)
    }
}

/// An error with all that lies below it, in one line of bounded length: a peer may have a word in it.
pub(crate) struct Whole<'a>(pub(crate) &'a (dyn Error + 'a));

impl Whole<'_> {
    const MAX: usize = 500;
}

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut below = self.0.source();
        while let Some(error) = below {
            write!(text, ": {error}")?;
            below = error.source();
        }
        text.chars().take(Self::MAX).try_for_each(|char| match char.is_control() {
            true => write!(f, "{}", char.escape_default()),
            false => f.write_char(char),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, TransportError};

    #[test]
    fn an_error_is_told_as_a_whole_and_in_one_line() {
        let at = "a:1".parse().unwrap();
        let error = TransportError::new(ErrorKind::Refused, "dial", &at);
        let error = error.because(std::io::Error::other("no\n2026 ERROR \u{1b}[2J"));
        let said = Whole(&error).to_string();
        assert_eq!(said, "dial a:1: refused: no\\n2026 ERROR \\u{1b}[2J");
        let long = TransportError::new(ErrorKind::Broken, "dial", &at).because("x".repeat(10_000));
        assert_eq!(Whole(&long).to_string().len(), Whole::MAX);
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_flood_leaves_few_lines_and_a_number() {
        let limit = LogLimit::new(3, MINUTE);
        let written = (0..1000).filter_map(|_| limit.pass("a")).collect::<Vec<_>>();
        assert_eq!(written, [Held { lines: 0 }; 3]);
        assert_eq!(written[0].lines(), None);
        assert!(limit.pass("b").is_some(), "kinds do not share");
        assert_eq!(limit.overdue(), [], "the interval is not over");
        tokio::time::advance(MINUTE).await;
        assert_eq!(limit.pass("a").and_then(Held::lines), Some(997));
        assert_eq!(limit.pass("a"), Some(Held { lines: 0 }), "told once");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_flood_is_told_once() {
        let limit = LogLimit::new(1, MINUTE);
        assert_eq!((0..8).filter_map(|_| limit.pass("a")).count(), 1);
        tokio::time::advance(MINUTE).await;
        assert_eq!(limit.overdue(), [("a", 7)]);
        assert_eq!(limit.overdue(), []);
        assert_eq!(limit.pass("a"), Some(Held { lines: 0 }));
    }
}
