use super::*;
use crate::wire::put_record_header;

const MAX: u64 = 1 << 20;

fn records(bodies: &[&[u8]]) -> Records {
    let mut all = bytes::BytesMut::new();
    for body in bodies {
        let mut header = [0; 4];
        put_record_header(&mut header, body.len(), Flags::default());
        all.extend_from_slice(&header);
        all.extend_from_slice(body);
    }
    Records(all.freeze())
}

fn header(frame_no: u64, first_seq: u64, count: u32) -> DataHeader {
    DataHeader { frame_no, first_seq, count, settled: 0 }
}

fn chunk(first: bool, last: bool, total: u64, len: usize) -> Chunk {
    Chunk { first, last, flags: Flags::TRACKED, total, body: Bytes::from(vec![7; len]) }
}

fn attached() -> Inbound {
    let mut inbound = Inbound::default();
    assert!(inbound.attach(1, 0));
    inbound
}

#[test]
fn messages_come_in_order_and_are_counted() {
    let mut inbound = attached();
    let (delivery, bytes) =
        inbound.data(1, &header(0, 0, 2), records(&[b"ab", b"c"])).unwrap().unwrap();
    assert_eq!((delivery.count, bytes), (2, 3));
    assert!(inbound.data(1, &header(1, 2, 1), records(&[b""])).unwrap().is_some());
    assert_eq!((inbound.received(), inbound.next_frame(), inbound.taken()), (3, 2, 0));
    inbound.take(3);
    assert!(inbound.is_drained() && !inbound.is_finished());
}

#[test]
fn what_does_not_follow_is_a_fault() {
    let mut inbound = attached();
    let data = |inbound: &mut Inbound, header| {
        inbound.data(1, &header, records(&[b"a"])).map(|delivery| delivery.is_some())
    };
    let found = data(&mut inbound, header(1, 0, 1));
    assert_eq!(found, Err(LaneFault::Frame { expected: 0, found: 1 }));
    let found = data(&mut inbound, header(0, 1, 1));
    assert_eq!(found, Err(LaneFault::Sequence { expected: 0, found: 1 }));
    assert!(matches!(data(&mut inbound, header(0, 0, 2)), Err(LaneFault::Wire(_))));
    assert_eq!(inbound.next_frame(), 0, "a fault changes nothing");
    assert_eq!(data(&mut inbound, header(0, 0, 1)), Ok(true));
    inbound.finish(1);
    assert_eq!(data(&mut inbound, header(1, 1, 1)), Err(LaneFault::Finished));
}

#[test]
fn only_the_present_connection_counts_and_there_is_no_way_back() {
    let mut inbound = attached();
    let one = |inbound: &mut Inbound, epoch| {
        inbound.data(epoch, &header(0, 0, 1), records(&[b"a"])).unwrap().is_some()
    };
    inbound.cut();
    assert!(!one(&mut inbound, 1) && !inbound.is_attached(1) && !inbound.is_attached(0));
    assert!(!inbound.attach(1, 0), "the connection that was cut");
    assert!(inbound.attach(3, 0) && inbound.is_attached(3));
    assert!(!inbound.attach(2, 0) && inbound.is_attached(3));
    assert!(!one(&mut inbound, 1) && !one(&mut inbound, 2) && !one(&mut inbound, 4));
    inbound.finish(2);
    assert!(!inbound.is_finished());
    assert!(
        inbound
            .chunk(2, &header(0, 0, 0), chunk(true, false, 1 << 17, CHUNK), MAX)
            .unwrap()
            .is_none()
    );
    assert!(one(&mut inbound, 3));
    inbound.finish(3);
    assert!(inbound.is_finished());
    assert!(inbound.attach(4, 0) && !inbound.is_finished(), "the sender says it again");
}

#[test]
fn a_large_message_is_put_together() {
    let mut inbound = attached();
    let total = 2 * CHUNK as u64 + 5;
    for (at, last, len) in [(0, false, CHUNK), (1, false, CHUNK), (2, true, 5)] {
        let part = chunk(at == 0, last, total, len);
        let done = inbound.chunk(1, &header(at, 0, u32::from(last)), part, MAX).unwrap().unwrap();
        assert_eq!(done.is_some(), last);
        let Some(Delivery { count: 1, message: Message::Large { flags, pieces } }) = done else {
            continue;
        };
        assert_eq!(flags, Flags::TRACKED);
        assert_eq!(pieces.concat(), vec![7; total as usize]);
    }
    assert_eq!((inbound.received(), inbound.next_frame()), (1, 3));
}

#[test]
fn a_large_message_that_is_cut_begins_anew() {
    for supersede in [false, true] {
        let mut inbound = attached();
        let total = 2 * CHUNK as u64;
        assert!(inbound.data(1, &header(0, 0, 1), records(&[b"a"])).is_ok());
        let first = || chunk(true, false, total, CHUNK);
        assert!(inbound.chunk(1, &header(1, 1, 0), first(), MAX).is_ok());
        assert_eq!(inbound.next_frame(), 2);
        if !supersede {
            inbound.cut();
        }
        assert!(inbound.attach(2, 0));
        assert_eq!((inbound.next_frame(), inbound.received()), (1, 1));
        assert!(inbound.chunk(2, &header(1, 1, 0), first(), MAX).is_ok());
        let last = chunk(false, true, total, CHUNK);
        assert!(inbound.chunk(2, &header(2, 1, 1), last, MAX).unwrap().unwrap().is_some());
    }
}

#[test]
fn parts_that_do_not_fit_are_faults() {
    let (total, len) = (2 * CHUNK as u64, CHUNK);
    let part = |part, count| attached().chunk(1, &header(0, 0, count), part, MAX).map(|_| ());
    assert_eq!(part(chunk(true, false, total, len), 0), Ok(()));
    assert!(part(chunk(false, false, total, len), 0).is_err(), "no beginning");
    assert!(part(chunk(true, false, total, len - 1), 0).is_err(), "a crumb");
    assert!(part(chunk(true, true, total, len), 1).is_err(), "not the last");
    assert!(part(chunk(true, false, len as u64, len), 0).is_err(), "the last, not named so");
    assert!(part(chunk(true, false, total, len), 1).is_err(), "its count");
    let found = part(chunk(true, false, MAX + 1, len), 0);
    let expected = WireError::TooLarge { expected: MAX, found: MAX + 1 };
    assert_eq!(found, Err(LaneFault::Wire(expected)));
    assert_eq!(part(chunk(true, false, MAX, len), 0), Ok(()));

    let mut inbound = attached();
    assert!(inbound.chunk(1, &header(0, 0, 0), chunk(true, false, total, len), MAX).is_ok());
    assert!(inbound.data(1, &header(1, 0, 1), records(&[b"a"])).is_err(), "in the midst");
    let another = LaneFault::Part("another one has begun");
    let found = inbound.chunk(1, &header(1, 0, 1), chunk(true, true, total, len), MAX);
    assert_eq!(found.map(|_| ()), Err(another.clone()), "a beginning");
    let found = inbound.chunk(1, &header(1, 0, 0), chunk(false, false, total + 1, len), MAX);
    assert_eq!(found.map(|_| ()), Err(another), "of another length");
    assert!(inbound.chunk(1, &header(1, 0, 1), chunk(false, true, total, len), MAX).is_ok());
}

#[test]
fn what_was_skipped_is_told_until_the_sender_knows() {
    let mut inbound = attached();
    assert!(inbound.data(1, &header(0, 0, 4), records(&[b"a", b"b", b"c", b"d"])).is_ok());
    inbound.take(1);
    inbound.skip();
    inbound.take(1);
    inbound.skip();
    assert_eq!((inbound.skipped(), inbound.taken()), (vec![1, 3], 4));
    assert_eq!(inbound.unconfirmed(), 2);
    let confirming = DataHeader { settled: 2, ..header(1, 4, 1) };
    assert!(inbound.data(1, &confirming, records(&[b"e"])).is_ok());
    assert_eq!(inbound.skipped(), [3]);
    assert!(inbound.attach(2, 3));
    assert_eq!(inbound.skipped(), [3]);
    assert!(inbound.attach(3, 4) && inbound.skipped().is_empty());
}

#[test]
fn an_abandoned_lane_is_over() {
    let mut inbound = attached();
    assert!(inbound.chunk(1, &header(0, 0, 0), chunk(true, false, 1 << 17, CHUNK), MAX).is_ok());
    inbound.abandon();
    assert!(inbound.is_finished() && inbound.is_drained() && !inbound.is_attached(1));
    assert!(inbound.data(1, &header(1, 0, 1), records(&[b"a"])).unwrap().is_none());
}

#[test]
fn messages_without_a_network_are_counted_and_need_no_connection() {
    let mut inbound = Inbound::default();
    inbound.receive_local(1);
    inbound.receive_local(2);
    assert_eq!((inbound.received(), inbound.is_drained()), (3, false));
    inbound.take(3);
    assert!(inbound.is_drained() && !inbound.has_connection());
    assert!(attached().has_connection());
}
