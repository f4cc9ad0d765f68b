//! Both ends of a lane, with a peer at the other that says what it likes.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::{Input, check_error};
use crate::{
    Boot, FrameBatch, LaneId, Namespace, NodeId, ReceiverId,
    inbox::{Batch, Body, Core, Haste, InPlace, Inbox, Next, Source, Upstream},
    lane::{Amount, Epoch, LaneFault, Outbound, SlotId},
    wire::{
        CHUNK, Chunk, Closed, Credit, DataHeader, Flags, HEADER, LaneFrame, RECORD_HEADER, Resumed,
        Want, put_record_header,
    },
};

/// The most lanes to one receiver.
const LANES: usize = 6;

/// What a peer says in its lanes to a receiver here, or of a lane from here to it.
pub fn lane_events(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() { Receiving::new(&mut input).run(&mut input) } else { sending(&mut input) }
}

pub(super) fn namespace() -> Namespace {
    Namespace::new("fuzz").expect("a name")
}

pub(super) fn receiver() -> ReceiverId {
    ReceiverId { boot: Boot(1), counter: 1 }
}

// ---- a receiver here ----

struct Receiving {
    inbox: Arc<Inbox>,
    in_place: InPlace,
    capacity: Amount,
    largest: u64,
    /// What an honest sender would say next.
    lanes: Vec<Lane>,
    epoch: Epoch,
    present: Option<(Amount, Amount)>,
}

struct Lane {
    slot: SlotId,
    frame_no: u64,
    seq: u64,
}

fn haste(input: &mut Input<'_>) -> Haste {
    [Haste::None, Haste::Soon, Haste::Now][usize::from(input.byte() % 3)]
}

/// Nobody is told.
pub(super) struct Nobody;

impl Upstream for Nobody {
    fn resumed(&self, _: Epoch, _: Resumed) {}
    fn owe(&self, _: Epoch, _: LaneId) {}
    fn owe_with_more(&self, _: Epoch, _: LaneId) {}
    fn reclaim(&self, _: Epoch, _: LaneId) {}
    fn stop(&self, _: LaneId) {}
    fn closed(&self, _: Closed) {}
    fn watch(&self, _: &Weak<Inbox>) -> bool {
        false
    }
}

impl Receiving {
    fn new(input: &mut Input<'_>) -> Self {
        let capacity = Amount::new(1 << (input.byte() % 12), 1 << (10 + input.byte() % 10));
        let largest = 1 << (10 + input.byte() % 12);
        let inbox = Inbox::new(receiver(), namespace(), capacity, largest, input.flag());
        let in_place = InPlace::default();
        Self { inbox, in_place, capacity, largest, lanes: Vec::new(), epoch: 1, present: None }
    }

    fn run(mut self, input: &mut Input<'_>) {
        while !input.is_empty() {
            self.step(input);
            self.check();
        }
        self.inbox.hand_back_all();
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte() % 16;
        match what {
            0 if self.lanes.len() < LANES => self.open(input),
            0..=3 => self.take(input),
            4 => self.inbox.sync(haste(input)),
            5 if input.byte() == 9 => self.inbox.with(|core| core.close()),
            _ if self.lanes.is_empty() => self.open(input),
            _ => {
                let at = usize::from(input.byte()) % self.lanes.len();
                self.say(at, what, input);
            }
        }
    }

    fn open(&mut self, input: &mut Input<'_>) {
        let id = LaneId(LaneId::FIRST.0 + self.lanes.len() as u64);
        let source = Source::Remote { node: NodeId(2), lane: id, upstream: Arc::new(Nobody) };
        let attach = self.attach(input);
        let slot = self.inbox.with(|core| core.open(source, self.epoch, &attach));
        self.lanes.extend(slot.map(|slot| Lane { slot, frame_no: 0, seq: 0 }));
    }

    fn attach(&self, input: &mut Input<'_>) -> crate::wire::Attach {
        let (taken, wanting) = (input.number(), input.flag());
        crate::wire::Attach {
            namespace: namespace(),
            receiver: receiver(),
            fresh: true,
            taken,
            wanting,
        }
    }

    /// The application takes some of what is here.
    fn take(&mut self, input: &mut Input<'_>) {
        let Some((so_far, all)) = self.present else {
            if let Next::Batch(batch) = self.inbox.next() {
                self.begin(&batch);
            }
            return;
        };
        if so_far.messages == all.messages {
            self.present = None;
            if let Some(batch) = self.inbox.end_batch(haste(input), None) {
                self.begin(&batch);
            }
            return;
        }
        let last = so_far.messages + 1 == all.messages;
        let bytes = if last { all.bytes - so_far.bytes } else { 0 };
        let next = so_far + Amount::new(1, bytes);
        if input.byte() < 64 {
            self.inbox.skip(bytes)
        } else {
            self.inbox.advance(next)
        }
        self.present = Some((next, all));
    }

    fn begin(&mut self, batch: &Batch) {
        if let Body::Records(records) = &batch.body {
            assert_eq!(records.clone().count() as u64, batch.count);
        }
        self.present = Some((Amount::default(), Amount::new(batch.count, batch.bytes)));
    }

    fn say(&mut self, at: usize, what: u8, input: &mut Input<'_>) {
        let Lane { slot, frame_no, seq } = self.lanes[at];
        let epoch = input.near(self.epoch);
        let said = match what {
            6..=10 => {
                let (header, records) = self.records(frame_no, seq, input);
                let put =
                    |core: &mut Core| core.data(slot, epoch, &header, records, &self.in_place);
                let said = self.inbox.with(put);
                self.lanes[at].frame_no += 1;
                self.lanes[at].seq += u64::from(header.count);
                said
            }
            11 | 12 => {
                let total = input.number() % (2 * self.largest);
                let len = input.near(total.min(CHUNK as u64)).min(2 * CHUNK as u64);
                let (first, last) = (input.byte() < 200, input.byte() < 128);
                let header = DataHeader {
                    frame_no: input.near(frame_no),
                    first_seq: input.near(seq),
                    count: last.into(),
                    settled: 0,
                };
                let body = Bytes::from(vec![0; len as usize]);
                let chunk = Chunk { first, last, flags: Flags(0), total, body };
                self.lanes[at].frame_no += 1;
                self.lanes[at].seq += u64::from(last);
                self.inbox.with(|core| core.chunk(slot, epoch, &header, chunk))
            }
            13 => {
                let want = Want {
                    returned_messages: input.number(),
                    returned_bytes: input.number(),
                    wanting: input.flag(),
                    need_bytes: input.number(),
                    hurry: input.number(),
                };
                self.inbox.with(|core| core.want(slot, epoch, &want))
            }
            14 => {
                self.epoch += u64::from(input.flag());
                let attach = self.attach(input);
                self.inbox.with(|core| core.attach(slot, self.epoch, &attach));
                Ok(())
            }
            _ => {
                match input.byte() % 3 {
                    0 => self.inbox.with(|core| core.cut(slot)),
                    1 => self.inbox.with(|core| core.finish(slot, epoch)),
                    _ => self.inbox.with(|core| core.sender_lost(slot, epoch.is_multiple_of(2))),
                }
                Ok(())
            }
        };
        if let Err(fault) = said {
            check_error(&fault);
            self.inbox.with(|core| core.sender_lost(slot, false));
        }
    }

    fn records(
        &self,
        frame_no: u64,
        seq: u64,
        input: &mut Input<'_>,
    ) -> (DataHeader, crate::wire::Records) {
        let (count, len) = (1 + input.byte() % 32, usize::from(input.byte()) * 8);
        let mut bytes = Vec::new();
        for _ in 0..count {
            let mut header = [0; RECORD_HEADER];
            put_record_header(&mut header, len, Flags(0));
            bytes.extend_from_slice(&header);
            bytes.resize(bytes.len() + len, 0);
        }
        let header = DataHeader {
            frame_no: input.near(frame_no),
            first_seq: input.near(seq),
            count: input.near(count.into()) as u32,
            settled: input.near(0),
        };
        (header, crate::wire::Records(bytes.into()))
    }

    /// What is here is bounded by what was granted.
    fn check(&self) {
        let (queued, lanes) = (self.inbox.queued(), self.lanes.len() as u64);
        let messages = self.capacity.messages.max(lanes);
        let bytes = self.capacity.bytes.max(lanes) + lanes * CHUNK as u64 + self.largest;
        assert!(queued.messages <= messages, "{queued:?} of {:?}", self.capacity);
        assert!(queued.bytes <= bytes, "{queued:?} of {:?} and {}", self.capacity, self.largest);
    }
}

// ---- a sender here ----

fn sending(input: &mut Input<'_>) {
    let mut lane = Outbound::new(LaneId::FIRST, namespace(), receiver());
    let (mut epoch, mut frames, mut handed) = (1, 0, 0);
    while !input.is_empty() && lane.is_open() {
        let faulty = match input.byte() % 12 {
            0..=2 => {
                if lane.credit() > 0 {
                    let len = usize::from(input.byte()) * if input.byte() < 16 { 512 } else { 4 };
                    let flags = Flags(input.byte() & 8);
                    let accepted = lane.accept(flags, None, 1 << 20, |writer| {
                        writer.write(&vec![0; len]);
                        Ok(())
                    });
                    assert!(accepted.is_ok());
                }
                Ok(())
            }
            3 | 4 => {
                let mut batch = FrameBatch::new();
                lane.poll(epoch, &mut batch, 1 + usize::from(input.byte()) * 1024);
                while let Some(frame) = batch.pop() {
                    let len = frame.payload.len();
                    assert!(len <= HEADER + Chunk::FIELDS + 2 * CHUNK, "a frame of {len} bytes");
                    let frame = LaneFrame::decode(frame.payload).expect("what is sent");
                    handed += frame.messages();
                    frames +=
                        u64::from(matches!(frame, LaneFrame::Data(..) | LaneFrame::Chunk(..)));
                }
                Ok(())
            }
            5 => {
                lane.cut();
                epoch += 1;
                Ok(())
            }
            6 => {
                let resumed =
                    Resumed { next_frame: input.near(frames), credit: credit(&lane, input) };
                frames = frames.min(resumed.next_frame);
                lane.on_resumed(epoch, &resumed)
            }
            7 | 8 => lane.on_credit(epoch, &credit(&lane, input)),
            9 => {
                lane.on_reclaim(epoch);
                Ok(())
            }
            10 if input.byte() > 200 => {
                lane.stop();
                Ok(())
            }
            10 => {
                lane.ask();
                Ok(())
            }
            _ if input.byte() > 200 => {
                let Credit { taken, skipped, .. } = credit(&lane, input);
                lane.on_closed(taken, &skipped).map(drop)
            }
            _ => Ok(()),
        };
        settle(&mut lane, faulty);
    }
    lane.die();
    settle(&mut lane, Ok(()));
    assert_eq!(lane.ledger().in_flight, 0, "{handed} were handed");
}

fn settle(lane: &mut Outbound, said: Result<(), LaneFault>) {
    if let Err(fault) = said {
        check_error(&fault);
        lane.die();
    }
    let ledger = lane.ledger();
    let gone = ledger.taken + ledger.unknown + ledger.dropped.total() + ledger.rerouted;
    assert_eq!(ledger.accepted, gone + ledger.in_flight, "{ledger}");
    assert!(lane.holds_what_it_says());
}

fn credit(lane: &Outbound, input: &mut Input<'_>) -> Credit {
    let settles = u64::from(input.byte() % 4);
    let taken = input.near(lane.settled() + settles);
    let skipped = (0..input.byte() % 6).map(|at| input.near(lane.settled() + u64::from(at)));
    let skipped = skipped.collect();
    let limit_messages = input.near(lane.handed() + 64);
    let limit_bytes = input.near((lane.handed() + 64) * 1024);
    Credit { lane: LaneId::FIRST, taken, limit_messages, limit_bytes, skipped }
}
