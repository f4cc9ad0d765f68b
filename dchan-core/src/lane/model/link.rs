//! Connections between a sender and a receiver, one after the other.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{Epoch, Step, World};
use crate::wire::Control;

/// All connections that there have been between two nodes.
#[derive(Clone, Debug, Hash)]
pub(super) struct Link {
    /// Which connection each side is in. One that is behind has not noticed that it is broken.
    pub(super) sender_epoch: Epoch,
    pub(super) receiver_epoch: Epoch,
    pub(super) newest: Epoch,
    pub(super) sender_known_gone: bool,
    connections: BTreeMap<Epoch, Queues>,
}

/// What is under way in a connection.
#[derive(Clone, Debug, Default, Hash)]
struct Queues {
    lanes: BTreeMap<u64, VecDeque<Bytes>>,
    control: VecDeque<Bytes>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            sender_epoch: 1,
            receiver_epoch: 1,
            newest: 1,
            sender_known_gone: false,
            connections: BTreeMap::new(),
        }
    }

    pub(super) fn push_frame(&mut self, lane: u64, payload: Bytes) {
        let queues = self.connections.entry(self.sender_epoch).or_default();
        queues.lanes.entry(lane).or_default().push_back(payload);
    }

    pub(super) fn push_control(&mut self, control: &Control) {
        let queues = self.connections.entry(self.receiver_epoch).or_default();
        queues.control.push_back(control.encode(Vec::new()).into());
    }

    pub(super) fn pop_frame(&mut self, epoch: Epoch, lane: u64) -> Option<Bytes> {
        let queues = self.connections.get_mut(&epoch)?;
        let queue = queues.lanes.get_mut(&lane)?;
        let frame = queue.pop_front();
        if queue.is_empty() {
            queues.lanes.remove(&lane);
        }
        self.tidy();
        frame
    }

    pub(super) fn pop_control(&mut self, epoch: Epoch) -> Option<Control> {
        let mut payload = self.connections.get_mut(&epoch)?.control.pop_front()?;
        self.tidy();
        Control::decode_next(&mut payload).unwrap()
    }

    /// What is empty leaves no trace, so that equal worlds look equal.
    fn tidy(&mut self) {
        self.connections.retain(|_, queues| !queues.lanes.is_empty() || !queues.control.is_empty());
    }

    /// What a connection that is over still held is lost.
    pub(super) fn lose_stale(&mut self) {
        let (sender, receiver) = (self.sender_epoch, self.receiver_epoch);
        for (&epoch, queues) in &mut self.connections {
            if epoch < receiver {
                queues.lanes.clear();
            }
            if epoch < sender {
                queues.control.clear();
            }
        }
        self.tidy();
    }

    /// A process at one end is gone, and with it what had come to it.
    pub(super) fn lose_frames(&mut self) {
        self.connections.values_mut().for_each(|queues| queues.lanes.clear());
        self.tidy();
    }

    pub(super) fn lose_control(&mut self) {
        self.connections.values_mut().for_each(|queues| queues.control.clear());
        self.tidy();
    }

    pub(super) fn deliveries(&self, s: usize, r: usize, sender: bool, steps: &mut Vec<Step>) {
        for (&epoch, queues) in &self.connections {
            if epoch <= self.receiver_epoch {
                let lanes = queues.lanes.keys();
                steps.extend(lanes.map(|&lane| Step::Frame { s, r, epoch, lane }));
            }
            if sender && epoch <= self.sender_epoch && !queues.control.is_empty() {
                steps.push(Step::Control { s, r, epoch });
            }
        }
    }
}

impl World {
    pub(super) fn link(&mut self, s: usize, r: usize) -> &mut Link {
        self.links.get_mut(&(s, r)).unwrap()
    }

    pub(super) fn cut(&mut self, s: usize, r: usize) {
        self.faults.cuts = self.faults.cuts.saturating_sub(1);
        self.link(s, r).newest += 1;
    }

    pub(super) fn receiver_moves(&mut self, s: usize, r: usize) {
        let link = self.link(s, r);
        link.receiver_epoch = link.newest;
        let receiver = &mut self.receivers[r];
        for lane in receiver.lanes.iter_mut().filter(|(key, _)| key.0 == s).map(|(_, lane)| lane) {
            lane.inbound.cut();
            if let Some(slot) = lane.slot {
                receiver.window.detach(slot);
            }
        }
    }

    pub(super) fn sender_dies(&mut self, s: usize) {
        self.faults.sender_deaths -= 1;
        self.senders[s].alive = false;
        self.senders[s].lanes.clear();
        self.senders[s].homeless.clear();
        for r in 0..self.receivers.len() {
            self.link(s, r).lose_control();
        }
    }
}
