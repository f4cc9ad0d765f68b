//! Messages come.

use super::{Core, InLane};
use crate::{
    inbox::{Batch, Body, InPlace},
    lane::{Amount, AnyQueue, Delivery, Epoch, LaneFault, Message, SlotId},
    wire::{Chunk, DataHeader, Records, Want},
};

impl Core {
    /// Some messages have come in.
    pub(crate) fn data(
        &mut self,
        slot: SlotId,
        epoch: Epoch,
        header: &DataHeader,
        records: Records,
        in_place: &InPlace,
    ) -> Result<(), LaneFault> {
        let Some(lane) = self.lanes.get_mut(&slot) else { return Ok(()) };
        let records = in_place.put(records, self.queue.is_empty());
        let Some((delivery, bytes)) = lane.inbound.data(epoch, header, records)? else {
            return Ok(());
        };
        let (expected, found) = (self.window.most_unconfirmed(), lane.inbound.unconfirmed());
        if found > expected {
            return Err(LaneFault::Unconfirmed { expected, found });
        }
        self.window.received(slot, Amount::new(u64::from(header.count), bytes))?;
        self.deliver(slot, delivery, bytes);
        Ok(())
    }

    /// A part of a large message has come in.
    pub(crate) fn chunk(
        &mut self,
        slot: SlotId,
        epoch: Epoch,
        header: &DataHeader,
        chunk: Chunk,
    ) -> Result<(), LaneFault> {
        let Some(lane) = self.lanes.get_mut(&slot) else { return Ok(()) };
        let (part, total) = (chunk.body.len() as u64, chunk.total);
        let Some(done) = lane.inbound.chunk(epoch, header, chunk, self.max_message)? else {
            return Ok(());
        };
        self.window.received(slot, Amount::new(u64::from(header.count), part))?;
        if let Some(delivery) = done {
            self.deliver(slot, delivery, total);
        }
        Ok(())
    }

    pub(super) fn deliver(&mut self, slot: SlotId, delivery: Delivery, bytes: u64) {
        let Some(lane) = self.lanes.get(&slot) else { return };
        let from = lane.source.node();
        let body = match delivery.message {
            Message::Records(records) => Body::Records(records),
            Message::Large { flags, pieces } => Body::Single { flags, pieces, receipt: None },
        };
        self.queue.push_back(Batch { slot, from, count: u64::from(delivery.count), bytes, body });
        self.wake |= std::mem::take(&mut self.idle);
    }

    /// Whether a sender in this process may put messages in.
    pub(crate) fn takes_local(&self, slot: SlotId) -> bool {
        self.lanes.get(&slot).is_some_and(|lane| !lane.ended)
    }

    /// A sender in this process puts a message in. `put` appends it to the last batch, or makes one, for which it
    /// may use the spare queue.
    pub(crate) fn put_local(
        &mut self,
        slot: SlotId,
        bytes: u64,
        put: impl FnOnce(Option<&mut Body>, &mut Option<Box<dyn AnyQueue>>) -> Option<Body>,
    ) {
        let Some(lane) = self.lanes.get_mut(&slot) else { return };
        lane.inbound.receive_local(1);
        let from = lane.source.node();
        self.window.put_in(slot, Amount::new(1, bytes));
        let mut last = self.queue.back_mut().filter(|batch| batch.slot == slot);
        let body = put(last.as_mut().map(|batch| &mut batch.body), &mut self.spare);
        if let Some(body) = body {
            self.queue.push_back(Batch { slot, from, count: 1, bytes, body });
        } else if let Some(batch) = last {
            batch.count += 1;
            batch.bytes += bytes;
        }
        self.wake |= std::mem::take(&mut self.idle);
    }

    /// What the sender of a lane needs and gives back.
    pub(crate) fn want(
        &mut self,
        slot: SlotId,
        epoch: Epoch,
        want: &Want,
    ) -> Result<(), LaneFault> {
        // One that has ended has no credit any more that it could give back.
        let speaks = |lane: &InLane| lane.inbound.is_attached(epoch) && !lane.ended;
        if !self.lanes.get(&slot).is_some_and(speaks) {
            return Ok(());
        }
        self.window.want(slot, want)?;
        self.balance(None);
        if self.window.is_awaited(slot) {
            self.owe(slot);
        }
        Ok(())
    }

    /// How many messages a sender in this process may put in.
    pub(crate) fn local_credit(&self, slot: SlotId) -> u64 {
        self.window.unused(slot)
    }
}
