//! The lanes that lead to a peer.

use std::sync::{Arc, Weak};

use super::Peer;
use crate::{
    Frame, LaneId, Namespace, ReceiverId,
    lane::{Epoch, Outbound},
    link::ProtocolError,
    peers::{LaneOwner, OutLane},
    wire::{Closed, LaneFrame},
};

impl Peer {
    /// Opens a lane to a receiver of that peer.
    pub(crate) fn open(
        self: &Arc<Self>,
        namespace: &Namespace,
        receiver: ReceiverId,
        owner: Weak<dyn LaneOwner>,
    ) -> Arc<OutLane> {
        let id = self.shared.next_lane();
        let lane = OutLane::new(Outbound::new(id, namespace.clone(), receiver), self, owner);
        let mut state = self.state.lock();
        state.outs.insert(id, lane.clone());
        let up = state.standing.is_some()
            && state.hello.as_ref().is_some_and(|hello| hello.boot == receiver.boot);
        if up && let Some(outbox) = self.outbox() {
            lane.on_up(&outbox);
        }
        lane
    }

    /// The lanes that lead there, and what to do with one that is over.
    pub(super) fn out(&self, id: LaneId) -> Option<Arc<OutLane>> {
        self.state.lock().outs.get(&id).cloned()
    }

    /// Changes the sending side of a lane, and tells its owner.
    pub(super) fn on_out(
        &self,
        id: LaneId,
        change: impl FnOnce(&mut Outbound) -> Result<(), crate::lane::LaneFault>,
    ) -> Result<(), ProtocolError> {
        let Some(lane) = self.out(id) else { return Ok(()) };
        let (changed, rests) = lane.with(|out| {
            let changed = change(&mut out.lane);
            out.on_less();
            let rests = out.lane.has_spare_room() && !std::mem::replace(&mut out.resting, true);
            (changed, rests)
        });
        if rests {
            self.resting.lock().push(Arc::downgrade(&lane));
        }
        if let Some(owner) = lane.owner() {
            owner.recount(&lane);
            owner.settled();
        }
        changed.map_err(|fault| {
            self.lose(&lane);
            ProtocolError::in_lane(id, &fault)
        })
    }

    /// With each heartbeat: lanes with nothing to do give their room back. Not as soon as that is so, or a
    /// lane that is faster than its sender would ask the system for all of its memory again and again.
    pub(super) fn release_lanes(&self) {
        let resting = std::mem::take(&mut *self.resting.lock());
        for lane in resting.iter().filter_map(Weak::upgrade) {
            lane.look(|out| {
                out.resting = false;
                out.lane.release();
            });
        }
    }

    fn forget_out(&self, id: LaneId) -> Option<Arc<OutLane>> {
        let lane = self.state.lock().outs.remove(&id);
        self.fewer_lanes.notify_waiters();
        lane
    }

    /// The receiver of a lane is gone, or does not know it: what was handed has an unknown fate.
    pub(super) fn kill(&self, lane: &Arc<OutLane>) {
        self.forget_out(lane.id);
        lane.take_back(&mut Outbound::die, true);
    }

    /// The same, though the receiver may be there still: it can have another lane.
    pub(super) fn lose(&self, lane: &Arc<OutLane>) {
        self.kill(lane);
        if let Some(owner) = lane.owner() {
            owner.lost(lane);
        }
    }

    pub(super) fn on_closed(&self, epoch: Epoch, closed: &Closed) -> Result<(), ProtocolError> {
        if let Some(lane) = self.forget_out(closed.lane) {
            let (mut fault, mut given_up) = (None, false);
            let mut take = |lane: &mut Outbound| {
                given_up = lane.may_be_given_up(epoch);
                match lane.on_closed(closed.taken, &closed.skipped) {
                    Ok(messages) => messages,
                    Err(found) => {
                        fault = Some(found);
                        lane.die()
                    }
                }
            };
            lane.take_back(&mut take, true);
            if given_up && let Some(owner) = lane.owner() {
                owner.lost(&lane);
            }
            if let Some(fault) = fault {
                return Err(ProtocolError::in_lane(closed.lane, &fault));
            }
        }
        // Also for a lane that is long forgotten: the other end repeats itself until it hears this.
        if let (Some(outbox), Some(payload)) = (self.outbox(), LaneFrame::ClosedAck.encode_plain())
        {
            outbox.frames([Frame { lane: closed.lane, payload, last: true }]);
        }
        Ok(())
    }
}

/// Assigns nothing more to a lane; it ends when what was handed is settled, or at once if the other end
/// has never heard of it: then no connection need come for it.
pub(crate) fn stop_lane(lane: &Arc<OutLane>) {
    lane.take_back(&mut Outbound::stop, false);
    if lane.look(|out| out.lane.has_ended()) {
        match lane.peer() {
            Some(peer) => peer.kill(lane),
            None => lane.take_back(&mut Outbound::die, true),
        }
    }
}
