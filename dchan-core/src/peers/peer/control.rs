//! What a peer says of the link and its lanes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tracing::debug;

use super::{Peer, lanes::stop_lane};
use crate::{
    Breach, Frame, LaneId,
    lane::Epoch,
    link::{Endpoint, ProtocolError, Verdict},
    wire::{Beat, Control},
};

impl Peer {
    pub(super) fn on_control(
        self: &Arc<Self>,
        epoch: Epoch,
        control: Control,
    ) -> Result<(), ProtocolError> {
        if let Some(lane) = control.about().filter(|lane| !self.shared.has_opened(*lane)) {
            let what = format!("word of lane {lane}, which was never opened");
            return Err(ProtocolError::new(Breach::UnknownLane, what));
        }
        match control {
            Control::Beat(beat) => self.on_beat(epoch, &beat),
            Control::Received(total) => {
                if let Some(outbox) = self.outbox_of(epoch)
                    && !outbox.on_received(total)
                {
                    let what = format!("{total} bytes received: more than were sent");
                    return Err(ProtocolError::new(Breach::Future, what));
                }
            }
            Control::Credit(credit) => {
                self.on_out(credit.lane, |lane| lane.on_credit(epoch, &credit))?;
            }
            Control::Resumed(resumed) => {
                self.on_out(resumed.credit.lane, |lane| lane.on_resumed(epoch, &resumed))?;
            }
            Control::Reclaim(id) => self.on_out(id, |lane| {
                lane.on_reclaim(epoch);
                Ok(())
            })?,
            Control::Stop(id) => self.stop(id),
            Control::Closed(closed) => self.on_closed(epoch, &closed)?,
            Control::NotFound(id) => {
                if let Some(lane) = self.out(id) {
                    self.lose(&lane);
                }
            }
            Control::Bye => self.on_bye(),
            Control::Refuse(refusal, _) => {
                let kind = refusal.breach().unwrap_or(Breach::Untimely);
                let what = format!("refused by the peer: {}", refusal.mirrored());
                return Err(ProtocolError::new(kind, what));
            }
            Control::Hello(_) | Control::Welcome(_) => {
                let what = "a handshake in the midst of a connection";
                return Err(ProtocolError::new(Breach::Untimely, what));
            }
        }
        Ok(())
    }

    pub(super) fn stop(&self, id: LaneId) {
        if let Some(lane) = self.out(id) {
            stop_lane(&lane);
        }
    }

    /// The process at the other end is done in good order: nothing is left that it could answer for.
    pub(super) fn on_bye(&self) {
        debug!(peer = %self.id, "the peer said goodbye");
        let lanes: Vec<_> = self.state.lock().outs.values().cloned().collect();
        for lane in lanes {
            self.kill(&lane);
        }
        self.bury_incoming();
    }

    pub(super) fn on_beat(&self, epoch: Epoch, beat: &Beat) {
        let now = self.shared.now_micros();
        let mut state = self.state.lock();
        state.heard.version = beat.version;
        state.heard.last = Some((beat.sent, now));
        if let Some((sent, held)) = beat.echo {
            let micros = now.saturating_sub(sent).saturating_sub(held);
            let round_trip = Duration::from_micros(micros);
            state.heard.round_trip = Some(round_trip);
            self.counters.round_trips.lock().record(round_trip);
        }
        let round_trip = beat.echo.and(state.heard.round_trip);
        drop(state);
        if let Some(round_trip) = round_trip
            && let Some(outbox) = self.outbox_of(epoch)
        {
            outbox.on_heartbeat(round_trip);
        }
        self.publish();
    }
}

impl Endpoint for Arc<Peer> {
    fn on_frame(&self, epoch: Epoch, frame: Frame) -> Result<u64, ProtocolError> {
        match frame.lane {
            LaneId::CONTROL => {
                let mut payload = frame.payload;
                while let Some(control) = Control::decode_next(&mut payload)? {
                    self.on_control(epoch, control)?;
                }
                Ok(0)
            }
            LaneId::REQUESTS => self.on_request_frame(frame.payload).map(|()| 0),
            lane if lane.is_data() => self.on_lane_frame(epoch, lane, frame.payload),
            lane => {
                let what = format!("a frame of lane {lane}, which is not in use");
                Err(ProtocolError::new(Breach::UnknownLane, what))
            }
        }
    }

    fn on_verdict(&self, epoch: Epoch, verdict: Verdict) -> Result<(), ProtocolError> {
        let suspect = verdict != Verdict::Alive;
        let mut state = self.state.lock();
        if state.epoch == epoch && state.suspect != suspect {
            state.suspect = suspect;
            debug!(peer = %self.id, suspect, "whether the peer is heard from");
            let lanes: Vec<_> = state.outs.values().cloned().collect();
            drop(state);
            for lane in lanes {
                lane.suspend(suspect);
                if let Some(owner) = lane.owner() {
                    owner.recount(&lane);
                }
            }
            self.publish();
        } else {
            drop(state);
        }
        self.look_after_inboxes();
        self.release_lanes();
        self.check_reclaims(epoch)
    }

    fn beat(&self) -> Beat {
        let state = self.state.lock();
        // Not before: a beat may come in meanwhile, and it came no later than now.
        let now = self.shared.now_micros();
        let echo = state.heard.last.map(|(sent, came)| (sent, now - came));
        drop(state);
        Beat { sent: now, echo, version: self.shared.view.borrow().version }
    }

    fn credit(&self, epoch: Epoch, lanes: &[LaneId], told: &mut VecDeque<Control>) {
        told.extend(self.credit_of(epoch, lanes));
    }
}
