//! The sending nodes of the world.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    super::{Homeless, HomelessBody, LaneFault, Ledger, Outbound, ReceiptCell},
    Epoch, Kind, Mutation, Rules, World,
};
use crate::{
    Boot, FrameBatch, LaneId, Namespace, ReceiverId,
    wire::{Attach, Control, Flags, LaneFrame},
};

/// The largest message that is allowed.
pub(super) const MAX: u64 = 16 << 20;

#[derive(Clone, Debug, Hash)]
pub(super) struct Sender {
    pub(super) alive: bool,
    /// How much of the script is accepted.
    pub(super) next: usize,
    pub(super) lanes: BTreeMap<u64, Lane>,
    /// Messages that lost their lane, oldest first.
    pub(super) homeless: VecDeque<Stray>,
    /// The account of the lanes that are forgotten.
    pub(super) done: Ledger,
    pub(super) receipts: BTreeMap<u32, Arc<ReceiptCell>>,
    /// The lanes that ended, for what was assigned to them: what they took is compared with it.
    pub(super) assigned: BTreeMap<u64, Vec<u32>>,
    next_lane: u64,
}

/// A lane with what the node and the checks know about it.
#[derive(Clone, Debug, Hash)]
pub(super) struct Lane {
    pub(super) out: Outbound,
    pub(super) r: usize,
    /// Messages below this number have been put into a connection once.
    pub(super) handed: u64,
    pub(super) permits: Vec<Epoch>,
    /// The lane was given up, and the receiver does not know yet.
    pub(super) stub: bool,
    stub_said: Epoch,
    /// It gave messages back: nothing that goes before them may follow.
    gave_back: bool,
}

/// A message without a lane.
#[derive(Clone, Debug, Hash)]
pub(super) struct Stray {
    pub(super) id: u32,
    flags: Flags,
    pieces: Vec<Bytes>,
    receipt: Option<Arc<ReceiptCell>>,
}

impl Lane {
    pub(super) fn has_business(&self, epoch: Epoch) -> bool {
        if self.stub { self.stub_said < epoch } else { self.out.has_business(epoch) }
    }
}

impl Sender {
    pub(super) fn new() -> Self {
        Self {
            alive: true,
            next: 0,
            lanes: BTreeMap::new(),
            homeless: VecDeque::new(),
            done: Ledger::default(),
            receipts: BTreeMap::new(),
            assigned: BTreeMap::new(),
            next_lane: LaneId::FIRST.0,
        }
    }

    /// Whether a message waits for a lane with credit.
    pub(super) fn waits(&self, rules: &Rules) -> bool {
        self.alive && (!self.homeless.is_empty() || self.next < rules.script.len())
    }

    pub(super) fn ledger(&self) -> Ledger {
        let mut sum = self.done;
        self.lanes.values().for_each(|lane| sum += lane.out.ledger());
        sum.in_flight += self.homeless.len() as u64;
        sum
    }
}

/// A message says which one it is, how long it is, and whether it can be decoded.
fn body(id: u32, kind: Kind) -> Vec<u8> {
    let mut body = id.to_le_bytes().to_vec();
    body.extend_from_slice(&(kind.size as u32).to_le_bytes());
    body.push(u8::from(kind.bad));
    body.resize(kind.size, id as u8);
    body
}

/// The number of a message, its length, and whether it can be decoded; from its pieces. `None` if it is
/// not as it was.
pub(super) fn read(pieces: &[Bytes]) -> Option<(u32, u64, bool)> {
    let number = |at: usize| Some(u32::from_le_bytes(pieces[0].get(at..at + 4)?.try_into().ok()?));
    let (id, len) = (number(0)?, number(4)?);
    let found: usize = pieces.iter().map(Bytes::len).sum();
    let mut filling = pieces.iter().flatten().skip(9);
    let whole = found == len as usize && (found > 4096 || filling.all(|byte| *byte == id as u8));
    whole.then_some((id, found as u64, pieces[0][8] == 0))
}

impl World {
    /// Opens the lanes that are missing, and asks for credit if a message waits for it.
    pub(super) fn sender_looks_round(&mut self, rules: &Rules, s: usize) {
        let sender = &mut self.senders[s];
        if !sender.waits(rules) {
            // Everything is accepted: the application flushes.
            sender.lanes.values_mut().for_each(|lane| lane.out.hurry());
            return;
        }
        for (r, receiver) in self.receivers.iter().enumerate() {
            let id = ReceiverId { boot: Boot(receiver.boot), counter: r as u64 };
            let has = |lane: &Lane| lane.out.receiver == id && lane.out.is_open();
            if receiver.is_open() && !sender.lanes.values().any(has) {
                sender.open(id, r);
            }
        }
        let lanes = sender.lanes.values_mut().filter(|lane| lane.out.credit() == 0);
        lanes.for_each(|lane| {
            lane.out.ask();
        });
    }

    pub(super) fn send(&mut self, rules: &Rules, s: usize, lane: u64) {
        let sender = &mut self.senders[s];
        let state = sender.lanes.get_mut(&lane).unwrap();
        let assigned = sender.assigned.get_mut(&lane).unwrap();
        if let Some(stray) = sender.homeless.pop_front() {
            assigned.push(stray.id);
            let Stray { flags, pieces, receipt, .. } = stray;
            let homeless = Homeless { flags, body: HomelessBody::Encoded(pieces), receipt };
            state.out.adopt(homeless, MAX).unwrap();
            return;
        }
        let (id, kind) = (sender.next as u32, rules.script[sender.next]);
        let flags = if kind.at_least_once { Flags::AT_LEAST_ONCE } else { Flags::default() };
        let receipt = kind.tracked.then(Arc::<ReceiptCell>::default);
        sender.receipts.extend(receipt.clone().map(|cell| (id, cell)));
        let bytes = body(id, kind);
        let encode = |writer: &mut super::super::RecordWriter<'_>| {
            writer.write(&bytes);
            Ok(())
        };
        state.out.accept(flags, receipt, MAX, encode).unwrap();
        assigned.push(id);
        sender.next += 1;
    }

    pub(super) fn reserve(&mut self, s: usize, lane: u64) {
        let lane = self.senders[s].lanes.get_mut(&lane).unwrap();
        lane.permits.push(lane.out.reserve());
    }

    /// A permit whose lane has ended would go another way: here it is only given back.
    pub(super) fn spend(&mut self, rules: &Rules, s: usize, lane: u64) {
        let epoch = self.senders[s].lanes.get_mut(&lane).unwrap().permits.pop().unwrap();
        let waits = self.senders[s].waits(rules);
        let state = self.senders[s].lanes.get_mut(&lane).unwrap();
        state.out.unreserve(epoch);
        if waits && state.out.is_open() {
            self.send(rules, s, lane);
        }
    }

    pub(super) fn drop_permit(&mut self, s: usize, lane: u64) {
        let state = self.senders[s].lanes.get_mut(&lane).unwrap();
        let epoch = state.permits.remove(0);
        state.out.unreserve(epoch);
    }

    pub(super) fn poll(&mut self, s: usize, lane: u64, budget: usize) {
        let state = self.senders[s].lanes.get_mut(&lane).unwrap();
        let link = self.links.get_mut(&(s, state.r)).unwrap();
        if state.stub {
            return state.poll_stub(lane, link);
        }
        let mut batch = FrameBatch::new();
        state.out.poll(link.sender_epoch, &mut batch, budget);
        while let Some(frame) = batch.pop() {
            let decoded = LaneFrame::decode(frame.payload.clone()).unwrap();
            if let LaneFrame::Data(header, _) | LaneFrame::Chunk(header, _) = decoded {
                let end = header.first_seq + u64::from(header.count);
                state.handed = state.handed.max(end);
            }
            assert!(frame.payload.len() <= crate::Frame::MAX);
            link.push_frame(lane, frame.payload);
        }
    }

    pub(super) fn sender_moves(&mut self, rules: &Rules, s: usize, r: usize) {
        let link = self.link(s, r);
        link.sender_epoch = link.newest;
        let boot = self.receivers[r].boot;
        let lanes: Vec<u64> = self.senders[s].lanes.keys().copied().collect();
        for lane in lanes {
            let state = self.senders[s].lanes.get_mut(&lane).unwrap();
            if state.r != r {
                continue;
            }
            state.out.cut();
            if rules.hello_names_boot && state.out.receiver.boot != Boot(boot) {
                self.lane_dies(rules, s, lane);
                self.forget(s, lane);
            }
        }
    }

    pub(super) fn stop(&mut self, s: usize, lane: u64) {
        self.faults.stops -= 1;
        self.stop_lane(s, lane);
    }

    fn stop_lane(&mut self, s: usize, lane: u64) {
        let Some(state) = self.senders[s].lanes.get_mut(&lane) else { return };
        let homeless = state.out.stop();
        self.rehome(s, lane, homeless, None);
    }

    pub(super) fn time_out(&mut self, rules: &Rules, s: usize, lane: u64) {
        self.faults.timeouts -= 1;
        self.senders[s].lanes.get_mut(&lane).unwrap().out.cut();
        self.lane_dies(rules, s, lane);
        let epoch = self.links[&(s, self.senders[s].lanes[&lane].r)].sender_epoch;
        let state = self.senders[s].lanes.get_mut(&lane).unwrap();
        (state.stub, state.stub_said) = (true, epoch);
    }

    pub(super) fn control_arrives(&mut self, rules: &Rules, s: usize, r: usize, epoch: Epoch) {
        let link = self.link(s, r);
        let control = link.pop_control(epoch).unwrap();
        let fenced = rules.mutation != Mutation::NoEpochFence;
        let epoch = if fenced { epoch } else { link.sender_epoch };
        let lanes = &mut self.senders[s].lanes;
        let done = match &control {
            Control::Resumed(resumed) => lanes
                .get_mut(&resumed.credit.lane.0)
                .map_or(Ok(()), |lane| lane.out.on_resumed(epoch, resumed)),
            Control::Credit(credit) => lanes
                .get_mut(&credit.lane.0)
                .map_or(Ok(()), |lane| lane.out.on_credit(epoch, credit)),
            Control::Reclaim(id) => {
                lanes.get_mut(&id.0).map(|lane| lane.out.on_reclaim(epoch));
                Ok(())
            }
            Control::Stop(id) => {
                self.stop_lane(s, id.0);
                Ok(())
            }
            Control::Closed(closed) => {
                self.lane_closed(s, r, closed.lane.0, closed.taken, &closed.skipped)
            }
            Control::NotFound(id) => {
                self.lane_not_found(rules, s, id.0);
                Ok(())
            }
            other => panic!("{other:?} is nothing that a receiver says"),
        };
        if let Err(fault) = done {
            self.fail(format!("the sender found a fault in {control:?}: {fault}"));
        }
    }

    fn lane_closed(
        &mut self,
        s: usize,
        r: usize,
        lane: u64,
        taken: u64,
        skipped: &[u64],
    ) -> Result<(), LaneFault> {
        if let Some(state) = self.senders[s].lanes.get_mut(&lane) {
            if !state.stub {
                let homeless = state.out.on_closed(taken, skipped)?;
                self.rehome(s, lane, homeless, None);
            }
            self.forget(s, lane);
        }
        let ack = LaneFrame::ClosedAck.encode_plain().unwrap();
        self.link(s, r).push_frame(lane, ack);
        Ok(())
    }

    fn lane_not_found(&mut self, rules: &Rules, s: usize, lane: u64) {
        let Some(state) = self.senders[s].lanes.get_mut(&lane) else { return };
        if rules.mutation == Mutation::NotFoundReroutes {
            let homeless = state.out.on_closed(0, &[]).unwrap();
            self.rehome(s, lane, homeless, None);
        } else if !state.stub {
            self.lane_dies(rules, s, lane);
        }
        self.forget(s, lane);
    }

    /// The fate of what was handed is unknown from here on.
    fn lane_dies(&mut self, rules: &Rules, s: usize, lane: u64) {
        let state = self.senders[s].lanes.get_mut(&lane).unwrap();
        let before = state.out.ledger();
        if state.stub {
            return;
        }
        let open = state.handed.saturating_sub(before.taken + before.dropped.decode);
        let mut homeless = state.out.die();
        let mut more = 0;
        if rules.mutation == Mutation::SequenceAtAccept {
            more = homeless.len() as u64;
            self.senders[s].done.unknown += more;
            homeless.clear();
        }
        let state = &self.senders[s].lanes[&lane];
        let unknown = state.out.ledger().unknown + more;
        if unknown > open {
            self.fail(format!("{unknown} messages unknown, but only {open} had been handed"));
        }
        self.rehome(s, lane, homeless, Some(unknown));
    }

    /// Messages that lost their lane wait for another, in their order. `unknown` is `None` unless the
    /// lane died.
    fn rehome(&mut self, s: usize, lane: u64, homeless: Vec<Homeless>, unknown: Option<u64>) {
        let mut ids = Vec::new();
        let died = unknown.is_some();
        let unknown = unknown.unwrap_or(0);
        for message in homeless {
            let Homeless { flags, body: HomelessBody::Encoded(pieces), receipt } = message else {
                panic!("a lane holds no values");
            };
            if !flags.has(Flags::REROUTED) && !flags.has(Flags::REDELIVERED) {
                self.fail("a message came back without a flag that says so");
            }
            let Some((id, ..)) = read(&pieces) else {
                return self.fail("a message came back that is not as it was");
            };
            ids.push(id);
            self.senders[s].homeless.push_back(Stray { id, flags, pieces, receipt });
        }
        let state = self.senders[s].lanes.get_mut(&lane).unwrap();
        if !ids.is_empty() && std::mem::replace(&mut state.gave_back, true) {
            self.fail("messages came back after those behind them");
        }
        // What is redelivered may still be taken from the old lane, so that it stays assigned there.
        let assigned = self.senders[s].assigned.get_mut(&lane).unwrap();
        let tail = &assigned[assigned.len() - ids.len().min(assigned.len())..];
        if unknown == 0 && tail != ids {
            let what = format!("{ids:?} came back where {tail:?} were the last assigned");
            self.fail(what);
        } else if !died {
            assigned.truncate(assigned.len() - ids.len());
        }
    }

    fn forget(&mut self, s: usize, lane: u64) {
        if let Some(state) = self.senders[s].lanes.remove(&lane) {
            let ledger = state.out.ledger();
            if ledger.in_flight > 0 {
                self.fail("a lane was forgotten with messages in it");
            }
            self.senders[s].done += ledger;
        }
    }
}

impl Sender {
    fn open(&mut self, receiver: ReceiverId, r: usize) {
        let id = self.next_lane;
        self.next_lane += 1;
        let out = Outbound::new(LaneId(id), Namespace::new("orders").unwrap(), receiver);
        self.assigned.insert(id, Vec::new());
        let permits = Vec::new();
        let lane = Lane { out, r, handed: 0, permits, stub: false, stub_said: 0, gave_back: false };
        self.lanes.insert(id, lane);
    }
}

impl Lane {
    fn poll_stub(&mut self, lane: u64, link: &mut super::link::Link) {
        self.stub_said = link.sender_epoch;
        let attach = Attach {
            namespace: self.out.namespace.clone(),
            receiver: self.out.receiver,
            fresh: false,
            taken: 0,
            wanting: false,
        };
        for frame in [LaneFrame::Attach(attach), LaneFrame::Fin] {
            link.push_frame(lane, frame.encode_plain().unwrap());
        }
    }
}
