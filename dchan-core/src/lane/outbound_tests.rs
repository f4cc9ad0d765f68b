use super::*;
use crate::{
    Boot, FrameBatch,
    lane::{LaneFault, Outcome, RecordWriter},
    wire::{self, Attach, CHUNK, LaneFrame, Want},
};

#[path = "outbound_ending_tests.rs"]
mod ending;
#[path = "outbound_room_tests.rs"]
mod room;

const MAX: u64 = 16 << 20;

fn lane() -> Outbound {
    let receiver = ReceiverId { boot: Boot(7), counter: 1 };
    Outbound::new(LaneId(16), Namespace::new("orders").unwrap(), receiver)
}

fn credit(taken: u64, messages: u64, bytes: u64) -> wire::Credit {
    wire::Credit {
        lane: LaneId(16),
        taken,
        limit_messages: messages,
        limit_bytes: bytes,
        skipped: Vec::new(),
    }
}

fn polled(lane: &mut Outbound, epoch: Epoch) -> Vec<LaneFrame> {
    let mut batch = FrameBatch::new();
    lane.poll(epoch, &mut batch, usize::MAX);
    std::iter::from_fn(|| batch.pop())
        .map(|frame| LaneFrame::decode(frame.payload).unwrap())
        .collect()
}

/// A lane in connection 1 with so much credit.
fn attached(messages: u64, bytes: u64) -> Outbound {
    let mut lane = lane();
    resume(&mut lane, 1, 0, credit(0, messages, bytes)).unwrap();
    lane
}

fn resume(
    lane: &mut Outbound,
    epoch: Epoch,
    next_frame: u64,
    credit: wire::Credit,
) -> Result<(), LaneFault> {
    assert!(matches!(polled(lane, epoch)[..], [LaneFrame::Attach(_)]));
    lane.on_resumed(epoch, &wire::Resumed { next_frame, credit })
}

fn send(lane: &mut Outbound, body: &[u8]) {
    send_as(lane, body, Flags::default(), None);
}

fn send_as(lane: &mut Outbound, body: &[u8], flags: Flags, receipt: Option<Arc<ReceiptCell>>) {
    lane.accept(flags, receipt, MAX, |writer| {
        writer.write(body);
        Ok(())
    })
    .unwrap();
    assert!(lane.ledger().balances());
}

fn tracked(lane: &mut Outbound, body: &[u8]) -> Arc<ReceiptCell> {
    let cell = Arc::<ReceiptCell>::default();
    send_as(lane, body, Flags::default(), Some(cell.clone()));
    cell
}

fn bodies(homeless: &[Homeless]) -> Vec<Vec<u8>> {
    homeless
        .iter()
        .map(|message| match &message.body {
            HomelessBody::Encoded(pieces) => pieces.concat(),
            HomelessBody::Value(_) => panic!("a value"),
        })
        .collect()
}

fn account(lane: &Outbound) -> [u64; 5] {
    let Ledger { accepted, taken, unknown, dropped, in_flight, .. } = lane.ledger();
    [accepted, taken, unknown, dropped.decode, in_flight]
}

#[test]
fn a_lane_introduces_itself_once_in_each_connection() {
    let mut lane = lane();
    assert!(lane.has_business(1) && lane.credit() == 0);
    let frames = polled(&mut lane, 1);
    let [LaneFrame::Attach(attach)] = &frames[..] else { panic!("{frames:?}") };
    assert!(attach.fresh && attach.wanting && attach.taken == 0);
    assert!(!lane.has_business(1) && polled(&mut lane, 1).is_empty());
    lane.on_resumed(1, &wire::Resumed { next_frame: 0, credit: credit(0, 5, 100) }).unwrap();
    assert_eq!(lane.credit(), 5);
    send(&mut lane, b"a");
    assert_eq!(polled(&mut lane, 1).len(), 1);
    lane.on_credit(1, &credit(1, 5, 100)).unwrap();
    let frames = polled(&mut lane, 2);
    let [LaneFrame::Attach(attach)] = &frames[..] else { panic!("{frames:?}") };
    assert!(!attach.fresh && attach.taken == 1);
    assert!(!lane.has_business(1) && polled(&mut lane, 1).is_empty(), "no way back");
    lane.cut();
    assert!(!lane.has_business(2) && polled(&mut lane, 2).is_empty(), "not even after a cut");
    assert!(lane.has_business(3));
}

#[test]
fn credit_and_answers_of_another_connection_do_not_count() {
    let mut lane = attached(1, 100);
    assert_eq!(polled(&mut lane, 2).len(), 1);
    lane.on_credit(1, &credit(0, 9, 900)).unwrap();
    lane.on_resumed(1, &wire::Resumed { next_frame: 0, credit: credit(0, 9, 900) }).unwrap();
    assert!(!lane.on_reclaim(1));
    assert_eq!(lane.credit(), 0);
    lane.on_resumed(2, &wire::Resumed { next_frame: 0, credit: credit(0, 3, 300) }).unwrap();
    lane.on_resumed(2, &wire::Resumed { next_frame: 0, credit: credit(0, 9, 900) }).unwrap();
    assert_eq!(lane.credit(), 3, "the first answer counts");
    lane.on_credit(2, &credit(0, 3, 300)).unwrap();
    assert_eq!(lane.credit(), 3, "said again, it counts once");
    lane.on_credit(1, &credit(0, 9, 900)).unwrap();
    assert!(!lane.on_reclaim(1), "late");
    assert_eq!(lane.credit(), 3);
    send(&mut lane, b"a");
    assert!(!lane.has_business(1) && lane.has_business(2));
}

#[test]
fn credit_that_cannot_be_is_a_fault() {
    let mut lane = attached(9, 900);
    send(&mut lane, b"a");
    assert_eq!(polled(&mut lane, 1).len(), 1);
    lane.on_credit(1, &credit(1, 10, 1000)).unwrap();
    let backwards = |what, expected, found| Err(LaneFault::Backwards { what, expected, found });
    let said = lane.on_credit(1, &credit(1, 9, 1000));
    assert_eq!(said, backwards("messages granted", 10, 9));
    let said = lane.on_credit(1, &credit(1, 10, 999));
    assert_eq!(said, backwards("bytes granted", 1000, 999));
    let said = lane.on_credit(1, &credit(0, 10, 1000));
    assert_eq!(said, backwards("messages taken", 1, 0));
    for endless in [credit(1, u64::MAX, 1000), credit(1, 10, u64::MAX)] {
        assert!(matches!(lane.on_credit(1, &endless), Err(LaneFault::Credit { .. })));
    }
    let resumed = resume(&mut lane, 2, 1, credit(1, u64::MAX, u64::MAX));
    assert!(matches!(resumed, Err(LaneFault::Credit { .. })));
    assert_eq!(lane.credit(), 0);
}

#[test]
fn a_message_is_undecodable_once() {
    let mut lane = attached(9, 900);
    send(&mut lane, b"a");
    send(&mut lane, b"b");
    assert!(!polled(&mut lane, 1).is_empty());
    let said = |taken, skipped: &[u64]| {
        let skipped = skipped.to_vec();
        wire::Credit { taken, skipped, ..credit(0, 9, 900) }
    };
    let what = "messages that could not be decoded";
    let found = lane.on_credit(1, &said(1, &[0, 0]));
    assert_eq!(found, Err(LaneFault::Backwards { what, expected: 0, found: 0 }));
    let found = lane.on_credit(1, &said(1, &[1]));
    assert_eq!(found, Err(LaneFault::Skipped { expected: 1, found: 1 }));
    lane.on_credit(1, &said(2, &[0])).unwrap();
    assert!(lane.ledger().balances());
    assert_eq!((lane.ledger().taken, lane.ledger().dropped.decode), (1, 1));
}

#[test]
fn messages_settle_inside_a_segment() {
    let mut lane = attached(9, 100);
    let cells: Vec<_> = (0..5).map(|n| tracked(&mut lane, &[n])).collect();
    assert_eq!(polled(&mut lane, 1).len(), 1);
    let skipping = wire::Credit { skipped: vec![1], ..credit(3, 9, 100) };
    lane.on_credit(1, &skipping).unwrap();
    assert_eq!((account(&lane), lane.settled()), ([5, 2, 0, 1, 2], 3));
    let outcomes: Vec<_> = cells.iter().map(|cell| cell.outcome()).collect();
    let (taken, bad) = (Some(Outcome::Taken), Some(Outcome::Undecodable));
    assert_eq!(outcomes, [taken, bad, taken, None, None]);
    lane.on_credit(1, &credit(3, 9, 100)).unwrap();
    assert_eq!(account(&lane), [5, 2, 0, 1, 2], "old news");
    let found = lane.on_credit(1, &credit(6, 9, 100));
    assert_eq!(found, Err(LaneFault::Taken { expected: 5, found: 6 }));

    let back = lane.on_closed(4, &[1]).unwrap();
    assert_eq!(bodies(&back), [[4]]);
    assert!(back[0].flags.has(Flags::REROUTED.with(Flags::TRACKED)));
    assert!(Arc::ptr_eq(back[0].receipt.as_ref().unwrap(), &cells[4]));
    assert_eq!((cells[3].outcome(), cells[4].outcome()), (taken, None));
    assert_eq!(account(&lane), [5, 3, 0, 1, 0]);
    assert!(lane.ledger().rerouted == 1 && !lane.is_open() && !lane.has_business(2));
    assert!(lane.die().is_empty() && lane.on_closed(5, &[]).unwrap().is_empty(), "late");
    assert_eq!(account(&lane), [5, 3, 0, 1, 0]);
}

#[test]
fn what_is_held_is_freed_frame_by_frame() {
    let mut lane = attached(9, 1 << 20);
    assert_eq!(lane.held(), 0);
    for body in [&b"a"[..], b"bc", &[7; CHUNK + 1]] {
        send(&mut lane, body);
    }
    let large = CHUNK as u64 + 1 + 4;
    assert_eq!(lane.held(), 5 + 6 + large, "a length and flags with each");
    polled(&mut lane, 1);
    assert_eq!(lane.held(), 5 + 6 + large, "handed is held");
    lane.on_credit(1, &credit(1, 9, 1 << 20)).unwrap();
    assert_eq!(lane.held(), 5 + 6 + large, "as long as some of the frame is");
    lane.on_credit(1, &credit(2, 9, 1 << 20)).unwrap();
    assert_eq!(lane.held(), large);
    send(&mut lane, b"defg");
    assert_eq!(lane.held(), large + 8);
    let mut stopped = lane.clone();
    assert!(stopped.stop().is_empty());
    assert_eq!(stopped.held(), large + 8, "all stays until the lane is over");
    stopped.on_credit(1, &credit(3, 9, 1 << 20)).unwrap();
    assert_eq!(stopped.held(), 8);
    assert_eq!(stopped.stop().iter().map(Homeless::held).sum::<u64>(), 8);
    assert_eq!(stopped.held(), 0);
    let back = lane.on_closed(2, &[]).unwrap();
    assert_eq!(back.iter().map(Homeless::held).sum::<u64>(), large + 8);
    assert_eq!(lane.held(), 0);
}

#[test]
fn a_lane_that_is_cut_has_nothing_to_do_with_its_old_connection() {
    let mut lane = attached(9, 100);
    send(&mut lane, b"handed");
    polled(&mut lane, 1);
    send(&mut lane, b"not handed");
    assert_eq!((lane.handed(), lane.unsettled()), (1, 2));
    lane.cut();
    assert!(!lane.has_business(1) && polled(&mut lane, 1).is_empty());
    assert!(lane.has_business(2) && lane.credit() == 0);
    resume(&mut lane, 2, 0, credit(0, 9, 100)).unwrap();
    assert!(polled(&mut lane, 1).is_empty(), "it has gone on elsewhere");
    assert_eq!(polled(&mut lane, 2).len(), 2);
}

#[test]
fn frames_that_did_not_arrive_go_again() {
    let mut lane = attached(9, 100);
    for body in [b"a", b"b", b"c"] {
        send(&mut lane, body);
        assert_eq!(polled(&mut lane, 1).len(), 1);
    }
    resume(&mut lane, 2, 1, credit(1, 2, 100)).unwrap();
    let frames = polled(&mut lane, 2);
    let [LaneFrame::Data(header, records)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((header.frame_no, header.first_seq, header.count, header.settled), (1, 1, 1, 1));
    assert_eq!(records.clone().next().unwrap().body, &b"b"[..]);
    assert!(!lane.has_business(2), "the other waits for credit");
    lane.on_credit(2, &credit(1, 3, 100)).unwrap();
    assert!(lane.has_business(2) && polled(&mut lane, 2).len() == 1);
    assert_eq!(account(&lane), [3, 1, 0, 0, 2]);
}

#[test]
fn a_resume_that_cannot_be_is_a_fault() {
    let mut lane = attached(9, 100);
    for body in [b"a", b"b"] {
        send(&mut lane, body);
        polled(&mut lane, 1);
    }
    lane.on_credit(1, &credit(1, 9, 100)).unwrap();
    for (next_frame, fault) in [(0, true), (1, false), (2, false), (3, true)] {
        let mut lane = lane.clone();
        let found = resume(&mut lane, 2, next_frame, credit(1, 9, 100));
        assert_eq!(found.is_err(), fault, "at {next_frame}: {found:?}");
    }
    let mut lane = attached(9, 100);
    (0..2).for_each(|_| send(&mut lane, b"a"));
    polled(&mut lane, 1);
    lane.on_credit(1, &credit(1, 9, 100)).unwrap();
    let found = resume(&mut lane, 2, 0, credit(0, 9, 100));
    let expected = LaneFault::Resume { expected: (1, 1), found: 0 };
    assert_eq!(found, Err(expected), "it is settled in part");
}

#[test]
fn a_lane_that_has_to_send_again_wants_credit() {
    let mut lane = attached(2, 100);
    send(&mut lane, b"a");
    (0..2).for_each(|_| assert!(lane.on_reclaim(1) && !polled(&mut lane, 1).is_empty()));
    assert!(!lane.intent.wanting);
    assert!(matches!(polled(&mut lane, 2)[..], [LaneFrame::Attach(Attach { wanting: true, .. })]));
}

#[test]
fn an_idle_lane_stays_away_from_a_new_connection() {
    let mut lane = attached(2, 100);
    lane.on_reclaim(1);
    polled(&mut lane, 1);
    lane.cut();
    assert!(!lane.has_business(2));
    assert!(lane.ask() && lane.has_business(2));
    assert!(matches!(polled(&mut lane, 2)[..], [LaneFrame::Attach(Attach { wanting: true, .. })]));
}

struct Text(&'static str);

impl Parcel for Text {
    fn encode(&self, writer: &mut RecordWriter<'_>) -> postcard::Result<()> {
        writer.write(self.0.as_bytes());
        if self.0.is_empty() { Err(postcard::Error::SerdeSerCustom) } else { Ok(()) }
    }
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn into_queue(self: Box<Self>, _: Flags, _: Option<Arc<ReceiptCell>>) -> Box<dyn AnyQueue> {
        unreachable!("there is no receiver in this process")
    }
}

#[test]
fn a_value_is_adopted_or_given_back() {
    let mut lane = attached(2, 100);
    let value = |text| Homeless {
        flags: Flags::REROUTED,
        body: HomelessBody::Value(Box::new(Text(text))),
        receipt: Some(Arc::default()),
    };
    assert!(lane.adopt(value("a"), MAX).is_ok());
    let back = lane.adopt(value(""), MAX).unwrap_err();
    assert!(back.receipt.is_some());
    let HomelessBody::Value(parcel) = back.body else { panic!("a value") };
    let again = Homeless { flags: back.flags, body: HomelessBody::Value(parcel), receipt: None };
    assert!(lane.adopt(again, MAX).is_err());
    assert!(lane.adopt(value("too large"), 3).is_err());
    assert_eq!(lane.ledger().in_flight, 1);
    let frames = polled(&mut lane, 1);
    let [LaneFrame::Data(_, records)] = &frames[..] else { panic!("{frames:?}") };
    let flags: Vec<_> = records.clone().map(|record| record.flags).collect();
    assert_eq!(flags, [Flags::REROUTED.with(Flags::TRACKED)]);
}

#[test]
fn a_lane_keeps_its_room_until_it_is_told_to_give_it_back() {
    let mut lane = attached(100, 1 << 20);
    send(&mut lane, &[1; 50_000]);
    assert_eq!(polled(&mut lane, 1).len(), 1);
    lane.release();
    assert!(!lane.has_spare_room(), "it is in use");
    lane.on_credit(1, &credit(1, 200, 2 << 20)).unwrap();
    assert!(lane.has_spare_room(), "the next message may come at once");
    lane.release();
    assert!(!lane.has_spare_room());
}
