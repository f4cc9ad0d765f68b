//! Where the system has no timer that comes in like a socket.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;

#[derive(Debug)]
pub(super) enum Alarm {}

#[derive(Debug)]
pub(super) enum Entry {}

impl Alarm {
    pub(super) fn start() -> io::Result<Arc<Self>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Entry {
    pub(super) fn new(alarm: Arc<Alarm>, _deadline: Instant) -> Self {
        match *alarm {}
    }

    pub(super) fn deadline(&self) -> Instant {
        match *self {}
    }

    pub(super) fn poll(&mut self, _cx: &Context<'_>) -> io::Result<Poll<()>> {
        match *self {}
    }
}
