//! What a subscriber sees.

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, Once},
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry,
};

/// Lines of dchan that an operator sees by default, oldest first.
#[derive(Clone, Default)]
pub(crate) struct Capture(Arc<Mutex<Vec<Line>>>);

/// One line of a log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) target: &'static str,
    pub(crate) message: String,
    pub(crate) fields: Vec<(&'static str, String)>,
}

thread_local! {
    static OF_THREAD: RefCell<Option<Capture>> = const { RefCell::new(None) };
}

/// Hands each line to the capture of its thread. There is one subscriber for all tests: whether a line
/// is wanted is cached for the whole process, also by threads that have no subscriber.
struct ToThread;

/// Ends the capture of a thread.
pub(crate) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        OF_THREAD.set(None);
    }
}

impl Capture {
    /// Captures what this thread logs, for as long as the guard lives.
    pub(crate) fn start() -> (Self, Guard) {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            tracing::subscriber::set_global_default(registry().with(ToThread)).unwrap();
        });
        let capture = Self::default();
        OF_THREAD.set(Some(capture.clone()));
        (capture, Guard)
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0.lock().clone()
    }

    /// The lines that name a peer.
    pub(crate) fn of_peer(&self, id: impl fmt::Display) -> Vec<Line> {
        let id = id.to_string();
        self.lines().into_iter().filter(|line| line.field("peer") == Some(&id)).collect()
    }

    /// The lines with a message.
    pub(crate) fn saying(&self, message: &str) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.message == message).collect()
    }
}

impl Line {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }

    /// The number in a field; 0 if it is left out.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.field(name).map_or(0, |value| value.parse().unwrap())
    }
}

/// What happened, in order: messages, each with its reason if it has one.
pub(crate) fn story(lines: &[Line]) -> Vec<String> {
    let told = |line: &Line| match line.field("reason") {
        Some(reason) => format!("{}: {reason}", line.message),
        None => line.message.clone(),
    };
    lines.iter().map(told).collect()
}

impl<S: Subscriber> Layer<S> for ToThread {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let Some(capture) = OF_THREAD.with_borrow(Clone::clone) else { return };
        let meta = event.metadata();
        if *meta.level() > Level::INFO || !meta.target().starts_with("dchan") {
            return;
        }
        let mut line = Line {
            level: *meta.level(),
            target: meta.target(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        capture.0.lock().push(line);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push((name, format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.into()));
    }
}
