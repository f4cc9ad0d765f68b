//! Where the system has no timer that comes in like a socket: whoever would sleep by it sleeps by tokio's.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Alarm;

#[derive(Debug)]
pub(super) struct Entry {
    deadline: Instant,
}

impl Alarm {
    pub(super) fn start() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self))
    }
}

impl Entry {
    pub(super) fn new(_alarm: Arc<Alarm>, deadline: Instant) -> Self {
        Self { deadline }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn poll(&mut self, _cx: &Context<'_>) -> io::Result<Poll<()>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
