//! The receiving nodes of the world, with one receiver each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::{
    super::{Amount, Delivery, Inbound, LaneFault, Message, SlotId, Window},
    Epoch, Faults, Mutation, Rules, Step, World,
    sender::{MAX, read},
};
use crate::{
    LaneId,
    wire::{Attach, Closed, Control, Credit, Flags, LaneFrame, Resumed},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Open,
    /// Its application takes what is there, and nothing new.
    Draining,
    Closed,
}

type Key = (usize, u64);

#[derive(Clone, Debug, Hash)]
pub(super) struct Receiver {
    pub(super) boot: u64,
    state: State,
    pub(super) window: Window,
    pub(super) lanes: BTreeMap<Key, Lane>,
    /// How lanes ended whose senders may not know it.
    pub(super) tombstones: BTreeMap<Key, (u64, Vec<u64>)>,
    pub(super) inbox: VecDeque<Entry>,
    /// A message was taken that somebody waits for.
    hurry: BTreeSet<Key>,
    /// How many lanes there have ever been at once: the window may hold a message for each.
    pub(super) most_lanes: u64,
}

#[derive(Clone, Debug, Hash)]
pub(super) struct Lane {
    pub(super) inbound: Inbound,
    /// `None` only with the mutation that forgets old inboxes.
    pub(super) slot: Option<SlotId>,
    abandoned: bool,
    /// How many messages of it were taken or skipped.
    settled: usize,
}

#[derive(Clone, Debug, Hash)]
pub(super) struct Entry {
    key: Key,
    id: u32,
    pub(super) len: u64,
    good: bool,
    flags: Flags,
}

impl Receiver {
    pub(super) fn new(rules: &Rules, boot: u64) -> Self {
        Self {
            boot,
            state: State::Open,
            window: Window::new(rules.capacity).largest(MAX),
            lanes: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            inbox: VecDeque::new(),
            hurry: BTreeSet::new(),
            most_lanes: 0,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(super) fn fault_steps(&self, r: usize, faults: &Faults, rules: &Rules, to: &mut Vec<Step>) {
        if faults.closes > 0 && self.state == State::Open {
            to.push(Step::Close { r });
        }
        if faults.hand_backs > 0 && self.state != State::Closed {
            to.push(Step::HandBack { r });
        }
        if faults.receiver_deaths > 0 {
            to.push(Step::ReceiverDies { r });
        }
        if rules.mutation == Mutation::TombstoneByTimer && !self.tombstones.is_empty() {
            to.push(Step::Prune { r });
        }
    }
}

impl World {
    pub(super) fn frame_arrives(
        &mut self,
        rules: &Rules,
        s: usize,
        r: usize,
        epoch: Epoch,
        lane: u64,
    ) {
        let link = self.link(s, r);
        let payload = link.pop_frame(epoch, lane).unwrap();
        let fenced = rules.mutation != Mutation::NoEpochFence;
        let epoch = if fenced { epoch } else { link.receiver_epoch };
        let current = epoch == link.receiver_epoch;
        let frame = LaneFrame::decode(payload).unwrap();
        let copy = frame.clone();
        let key = (s, lane);
        let done = match frame {
            LaneFrame::Attach(attach) if current => {
                self.attach(r, key, epoch, &attach);
                Ok(())
            }
            LaneFrame::Attach(_) => Ok(()),
            LaneFrame::ClosedAck => {
                self.receivers[r].tombstones.remove(&key);
                Ok(())
            }
            frame => self.receivers[r].frame(key, epoch, frame),
        };
        if let Err(fault) = done {
            let told: String = format!("{copy:?}").chars().take(200).collect();
            self.fail(format!("the receiver found a fault in {told}: {fault}"));
        }
        self.close_if_done(r, key);
    }

    fn attach(&mut self, r: usize, key: Key, epoch: Epoch, attach: &Attach) {
        let (id, receiver) = (LaneId(key.1), &mut self.receivers[r]);
        let mine = attach.receiver.boot.0 == receiver.boot;
        if let Some((taken, skipped)) = receiver.tombstones.get(&key) {
            let (taken, skipped) = (*taken, skipped.clone());
            return self.say(r, key.0, &Control::Closed(Closed { lane: id, taken, skipped }));
        }
        if !receiver.lanes.contains_key(&key) {
            if !attach.fresh {
                return self.say(r, key.0, &Control::NotFound(id));
            }
            if !mine || receiver.state != State::Open {
                let closed = Closed { lane: id, taken: 0, skipped: Vec::new() };
                return self.say(r, key.0, &Control::Closed(closed));
            }
            let slot = Some(receiver.window.add());
            let inbound = Inbound::default();
            let lane = Lane { inbound, slot, abandoned: false, settled: 0 };
            receiver.lanes.insert(key, lane);
            receiver.most_lanes = receiver.most_lanes.max(receiver.lanes.len() as u64);
        }
        let lane = receiver.lanes.get_mut(&key).unwrap();
        if lane.abandoned || !lane.inbound.attach(epoch, attach.taken) {
            return;
        }
        let Some(slot) = lane.slot else { return };
        let next_frame = lane.inbound.next_frame();
        receiver.window.attach(slot, attach.wanting);
        let grants = receiver.window.balance();
        let Some(credit) = receiver.credit(key) else { return };
        let draining = receiver.state == State::Draining;
        self.say(r, key.0, &Control::Resumed(Resumed { next_frame, credit }));
        self.tell_grants(r, &grants, Some(slot));
        if draining {
            self.say(r, key.0, &Control::Stop(id));
        }
    }

    fn say(&mut self, r: usize, s: usize, control: &Control) {
        if self.senders[s].alive {
            self.link(s, r).push_control(control);
        }
    }

    /// Ends a lane of which everything has come and is taken.
    fn close_if_done(&mut self, r: usize, key: Key) {
        let receiver = &mut self.receivers[r];
        let Some(lane) = receiver.lanes.get(&key) else { return };
        if !lane.inbound.is_finished() || !lane.inbound.is_drained() {
            return;
        }
        let abandoned = lane.abandoned;
        let closed = receiver.bury(key);
        if !abandoned {
            self.say(r, key.0, &Control::Closed(closed));
        }
    }

    pub(super) fn take(&mut self, rules: &Rules, r: usize) {
        let receiver = &mut self.receivers[r];
        let Entry { key, id, len, good, flags } = receiver.inbox.pop_front().unwrap();
        let lane = receiver.lanes.get_mut(&key).unwrap();
        if good {
            lane.inbound.take(1);
        } else {
            lane.inbound.skip();
        }
        lane.settled += 1;
        let at = lane.settled - 1;
        if let Some(slot) = lane.slot {
            receiver.window.taken(slot, Amount::new(1, len));
        }
        if flags.has(Flags::TRACKED) {
            receiver.hurry.insert(key);
        }
        let assigned = self.senders[key.0].assigned.get(&key.1).map(|ids| ids.get(at).copied());
        if assigned != Some(Some(id)) && self.senders[key.0].alive {
            self.fail(format!("message {id} was taken from {key:?} where {assigned:?} was due"));
        }
        let log = if good { &mut self.took } else { &mut self.skipped };
        let times = log.entry((key.0, id)).or_default();
        *times += 1;
        let again = rules.script[id as usize].at_least_once && flags.has(Flags::REDELIVERED);
        let times = *times;
        if times > 1 && !again {
            self.fail(format!("message {id} of sender {} was taken {times} times", key.0));
        }
        self.close_if_done(r, key);
    }

    /// Says what there is to say of credit.
    pub(super) fn pump(&mut self, r: usize) {
        let grants = self.receivers[r].window.balance();
        self.tell_grants(r, &grants, None);
        let receiver = &self.receivers[r];
        let idle = receiver.inbox.is_empty();
        let owes = |(key, lane): &(&Key, &Lane)| {
            let Some(slot) = lane.slot else { return false };
            let window = &receiver.window;
            window.is_awaited(slot)
                || window.owes_much(slot) && idle
                || window.owes(slot) && receiver.hurry.contains(key)
        };
        let keys: Vec<Key> = receiver.lanes.iter().filter(owes).map(|(key, _)| *key).collect();
        self.receivers[r].hurry.clear();
        keys.into_iter().for_each(|key| self.tell_credit(r, key));
    }

    fn tell_grants(&mut self, r: usize, grants: &super::super::Grants, told: Option<SlotId>) {
        let receiver = &self.receivers[r];
        let key_of = |slot: &SlotId| {
            receiver.lanes.iter().find(|(_, lane)| lane.slot == Some(*slot)).map(|(key, _)| *key)
        };
        let reclaim: Vec<Key> = grants.reclaim.iter().filter_map(key_of).collect();
        let granted = grants.granted.iter().filter(|slot| Some(**slot) != told);
        let granted: Vec<Key> = granted.filter_map(key_of).collect();
        granted.into_iter().for_each(|key| self.tell_credit(r, key));
        for key in reclaim {
            self.say(r, key.0, &Control::Reclaim(LaneId(key.1)));
        }
    }

    fn tell_credit(&mut self, r: usize, key: Key) {
        if let Some(credit) = self.receivers[r].credit(key) {
            self.say(r, key.0, &Control::Credit(credit));
        }
    }

    pub(super) fn close(&mut self, r: usize) {
        self.faults.closes = self.faults.closes.saturating_sub(1);
        let receiver = &mut self.receivers[r];
        receiver.state = State::Draining;
        let keys: Vec<Key> = receiver.lanes.keys().copied().collect();
        for key in keys {
            self.say(r, key.0, &Control::Stop(LaneId(key.1)));
        }
    }

    pub(super) fn hand_back(&mut self, r: usize) {
        self.faults.hand_backs -= 1;
        let receiver = &mut self.receivers[r];
        receiver.state = State::Closed;
        receiver.inbox.clear();
        let keys: Vec<Key> = receiver.lanes.keys().copied().collect();
        for key in keys {
            let abandoned = self.receivers[r].lanes[&key].abandoned;
            let closed = self.receivers[r].bury(key);
            if !abandoned {
                self.say(r, key.0, &Control::Closed(closed));
            }
        }
    }

    pub(super) fn sender_is_gone(&mut self, rules: &Rules, s: usize, r: usize) {
        let link = self.link(s, r);
        link.sender_known_gone = true;
        link.lose_frames();
        let receiver = &mut self.receivers[r];
        receiver.tombstones.retain(|key, _| key.0 != s);
        let keys: Vec<Key> = receiver.lanes.keys().copied().filter(|key| key.0 == s).collect();
        for key in keys {
            let receiver = &mut self.receivers[r];
            let lane = receiver.lanes.get_mut(&key).unwrap();
            lane.abandoned = true;
            lane.inbound.abandon();
            if let Some(slot) = lane.slot {
                receiver.window.detach(slot);
                if rules.mutation == Mutation::OldInboxNotCounted {
                    receiver.window.remove(slot);
                    lane.slot = None;
                }
            }
            self.close_if_done(r, key);
        }
    }

    pub(super) fn receiver_dies(&mut self, rules: &Rules, r: usize) {
        self.faults.receiver_deaths -= 1;
        self.receivers[r] = Receiver::new(rules, self.receivers[r].boot + 1);
        for s in 0..rules.senders {
            let link = self.link(s, r);
            link.lose_frames();
            link.newest += 1;
            link.receiver_epoch = link.newest;
        }
    }
}

impl Receiver {
    fn frame(&mut self, key: Key, epoch: Epoch, frame: LaneFrame) -> Result<(), LaneFault> {
        let Some(lane) = self.lanes.get_mut(&key) else { return Ok(()) };
        match frame {
            LaneFrame::Data(header, records) => {
                let Some((delivery, bytes)) = lane.inbound.data(epoch, &header, records)? else {
                    return Ok(());
                };
                self.arrived(key, Amount::new(u64::from(header.count), bytes))?;
                self.deliver(key, delivery);
            }
            LaneFrame::Chunk(header, chunk) => {
                let bytes = chunk.body.len() as u64;
                let Some(complete) = lane.inbound.chunk(epoch, &header, chunk, MAX)? else {
                    return Ok(());
                };
                self.arrived(key, Amount::new(u64::from(header.count), bytes))?;
                complete.into_iter().for_each(|delivery| self.deliver(key, delivery));
            }
            LaneFrame::Want(want) if lane.inbound.is_attached(epoch) => {
                if let Some(slot) = lane.slot {
                    self.window.want(slot, &want)?;
                }
            }
            LaneFrame::Fin => lane.inbound.finish(epoch),
            _ => {}
        }
        Ok(())
    }

    fn arrived(&mut self, key: Key, amount: Amount) -> Result<(), LaneFault> {
        match self.lanes[&key].slot {
            Some(slot) => self.window.received(slot, amount),
            None => Ok(()),
        }
    }

    fn deliver(&mut self, key: Key, delivery: Delivery) {
        let mut put = |flags: Flags, pieces: &[Bytes]| {
            let (id, len, good) = read(pieces).expect("a message as it was sent");
            self.inbox.push_back(Entry { key, id, len, good, flags });
        };
        match delivery.message {
            Message::Records(records) => {
                records.for_each(|record| put(record.flags, &[record.body]));
            }
            Message::Large { flags, pieces } => put(flags, &pieces),
        }
    }

    /// What the sender of a lane is told. `None` if there is no way to tell it.
    fn credit(&mut self, key: Key) -> Option<Credit> {
        let lane = self.lanes.get(&key)?;
        let limit = self.window.limit(lane.slot?);
        Some(Credit {
            lane: LaneId(key.1),
            taken: lane.inbound.taken(),
            limit_messages: limit.messages,
            limit_bytes: limit.bytes,
            skipped: lane.inbound.skipped(),
        })
    }

    /// Ends a lane, and keeps how, unless its sender is gone.
    fn bury(&mut self, key: Key) -> Closed {
        let lane = self.lanes.remove(&key).unwrap();
        if let Some(slot) = lane.slot {
            self.window.remove(slot);
        }
        let (taken, skipped) = (lane.inbound.taken(), lane.inbound.skipped());
        if !lane.abandoned {
            self.tombstones.insert(key, (taken, skipped.clone()));
        }
        Closed { lane: LaneId(key.1), taken, skipped }
    }
}
