use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// How often the line is written anew.
const EVERY: Duration = Duration::from_millis(250);

/// Counts messages, and says so on stderr if that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    counts: Arc<Counts>,
    _line: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let counts = Arc::new(Counts::default());
        let line = std::io::stderr().is_terminal().then(|| {
            let counts = counts.clone();
            AbortOnDropHandle::new(tokio::spawn(show(counts)))
        });
        Self { counts, _line: line }
    }

    pub(crate) fn add(&self, messages: u64, bytes: u64) {
        self.counts.messages.fetch_add(messages, Ordering::Relaxed);
        self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

async fn show(counts: Arc<Counts>) {
    let mut ticks = tokio::time::interval(EVERY);
    let (mut then, mut before) = (Instant::now(), (0, 0));
    loop {
        ticks.tick().await;
        let messages = counts.messages.load(Ordering::Relaxed);
        let bytes = counts.bytes.load(Ordering::Relaxed);
        let seconds = then.elapsed().as_secs_f64().max(1e-9);
        let rate = (messages - before.0) as f64 / seconds;
        let megabytes = (bytes - before.1) as f64 / seconds / 1e6;
        (then, before) = (Instant::now(), (messages, bytes));
        // The line is overwritten by the next one, or by whatever is logged.
        let line = format!("\r\x1b[K{messages} messages, {rate:.0}/s, {megabytes:.1} MB/s\r");
        let _gone = std::io::stderr().write_all(line.as_bytes());
    }
}
