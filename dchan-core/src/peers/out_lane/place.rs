use std::sync::{Arc, Weak};

use crate::{
    lane::Epoch,
    link::{Full, Outbox, ReadyLane},
};

/// The place of a lane at the connection that may poll it. The lock of the lane guards it.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Place {
    /// 0 if there is no connection.
    pub(super) epoch: Epoch,
    /// It has something to send, and the outbox knows.
    pub(super) queued: bool,
    full: Option<Arc<Full>>,
    outbox: Weak<Outbox>,
    /// So many bytes wait in the lane, as the outbox heard last.
    noted: u64,
    /// The outbox says when there is room.
    pub(super) outside: bool,
}

impl Place {
    pub(super) fn at(outbox: &Arc<Outbox>) -> Self {
        let (full, outbox, epoch) = (Some(outbox.full()), Arc::downgrade(outbox), outbox.epoch);
        Self { epoch, outbox, full, ..Self::default() }
    }

    /// Whether so much waits for the connection that the lane should take no message.
    pub(super) fn is_full(&self) -> bool {
        self.full.as_ref().is_some_and(|full| full.is_for(self.queued))
    }

    /// So many bytes wait in the lane. Returns what is counted of them.
    pub(super) fn note(&mut self, waits: u64) -> u64 {
        if self.queued
            && let Some(full) = &self.full
        {
            full.note(std::mem::replace(&mut self.noted, waits), waits);
        }
        self.noted
    }

    /// It has something to send, of so many bytes. The caller tells the outbox.
    pub(super) fn queue(&mut self, waits: u64) -> Option<Arc<Outbox>> {
        let outbox = self.outbox.upgrade()?;
        self.queued = true;
        self.note(waits);
        Some(outbox)
    }

    /// It was polled, and keeps its place if it has more, of so many bytes. Returns what the outbox knew.
    pub(super) fn on_polled(&mut self, more: bool, waits: u64) -> u64 {
        self.queued = more;
        std::mem::replace(&mut self.noted, waits)
    }

    /// The lane is to be told when there is room.
    pub(super) fn wait(&mut self, lane: Weak<dyn ReadyLane>) {
        if !std::mem::replace(&mut self.outside, true)
            && let Some(outbox) = self.outbox.upgrade()
        {
            outbox.wait_outside(lane);
        }
    }

    /// It is told.
    pub(super) fn on_room(&mut self) {
        self.outside = false;
    }
}
