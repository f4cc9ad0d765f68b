//! What lanes have room for, ask for, and give back.

use super::*;

#[test]
fn permits_hold_credit_within_their_connection() {
    let mut lane = attached(3, 100);
    let permit = lane.reserve();
    let other = lane.reserve();
    assert_eq!(lane.credit(), 1);
    lane.unreserve(permit);
    assert_eq!(lane.credit(), 2);
    resume(&mut lane, 2, 0, credit(0, 3, 100)).unwrap();
    let new = lane.reserve();
    lane.unreserve(other);
    assert_eq!(lane.credit(), 2, "a permit of the old connection frees nothing in the new one");
    lane.unreserve(new);
    lane.unreserve(new);
    assert_eq!(lane.credit(), 3);
}

#[test]
fn credit_that_permits_hold_goes_back_with_the_last_one() {
    let mut lane = attached(5, 100);
    let (first, second) = (lane.reserve(), lane.reserve());
    assert!(lane.on_reclaim(1));
    let frames = polled(&mut lane, 1);
    let [LaneFrame::Want(want)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((want.returned_messages, want.returned_bytes, want.wanting), (3, 0, false));
    assert!(!lane.unreserve(first) && !lane.has_business(1));
    assert!(lane.unreserve(second) && lane.has_business(1));
    // The last permit is used, so that only what it leaves goes back.
    send(&mut lane, b"abc");
    let frames = polled(&mut lane, 1);
    let [LaneFrame::Data(..), LaneFrame::Want(want)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((want.returned_messages, want.returned_bytes), (4, 97));
    assert!(lane.credit() == 0 && !lane.has_business(1));
}

#[test]
fn credit_is_asked_for_and_given_back() {
    let mut lane = attached(5, 100);
    send(&mut lane, b"abc");
    assert!(!lane.ask(), "it wants already");
    assert!(lane.on_reclaim(1));
    let frames = polled(&mut lane, 1);
    let [LaneFrame::Data(..), LaneFrame::Want(want)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((want.returned_messages, want.returned_bytes, want.wanting), (4, 97, true));
    assert!(lane.on_reclaim(1), "nothing was sent since");
    assert!(matches!(polled(&mut lane, 1)[..], [LaneFrame::Want(Want { wanting: false, .. })]));
    assert!(lane.ask() && lane.has_business(1));
    assert!(matches!(polled(&mut lane, 1)[..], [LaneFrame::Want(Want { wanting: true, .. })]));
    lane.on_credit(1, &credit(1, 7, 300)).unwrap();
    assert_eq!(lane.credit(), 2, "7, less 4 that went back, less 1 that was sent");
}

#[test]
fn who_waits_for_all_to_be_taken_is_named_once_in_each_connection() {
    let said = |lane: &mut Outbound, epoch| {
        assert!(lane.has_business(epoch));
        match polled(lane, epoch).pop() {
            Some(LaneFrame::Want(want)) => want.hurry,
            other => panic!("{other:?}"),
        }
    };
    let mut lane = attached(5, 100);
    lane.hurry();
    assert!(!lane.has_business(1), "nothing is open");
    for number in [1, 2] {
        send(&mut lane, b"abc");
        lane.hurry();
        assert_eq!(said(&mut lane, 1), number);
        lane.hurry();
        assert!(!lane.has_business(1), "it is said");
    }
    lane.cut();
    resume(&mut lane, 2, 2, credit(1, 5, 100)).unwrap();
    assert_eq!(said(&mut lane, 2), 2, "it may have been lost");
    lane.cut();
    resume(&mut lane, 3, 2, credit(2, 5, 100)).unwrap();
    assert!(!lane.has_business(3), "all is taken");
    send(&mut lane, b"abc");
    polled(&mut lane, 3);
    lane.stop();
    assert!(matches!(polled(&mut lane, 3)[..], [LaneFrame::Fin]));
    lane.hurry();
    assert!(!lane.has_business(3), "its end will be told");
}

#[test]
fn a_message_is_lone_while_those_before_it_may_be_taken() {
    let untold = UNTOLD.bytes as usize;
    for (len, most) in [(1, UNTOLD.messages), (untold, 2), (untold + 1, 1), (1 << 20, 1)] {
        let mut lane = attached(1000, 1 << 30);
        for _ in 0..most {
            send(&mut lane, &vec![0; len]);
            assert!(lane.is_lone(), "of {len} bytes");
        }
        send(&mut lane, &vec![0; len]);
        assert!(!lane.is_lone(), "{} of {len} bytes", most + 1);
    }
}

#[test]
fn a_message_without_credit_asks_for_some() {
    let mut lane = attached(1, 100);
    lane.on_reclaim(1);
    polled(&mut lane, 1);
    send(&mut lane, b"a permit of long ago");
    assert!(lane.has_business(1));
    assert!(matches!(polled(&mut lane, 1)[..], [LaneFrame::Want(Want { wanting: true, .. })]));
    lane.on_credit(1, &credit(0, 2, 200)).unwrap();
    assert_eq!(polled(&mut lane, 1).len(), 1);
}

#[test]
fn a_small_message_may_pass_the_limit_in_bytes_by_a_chunk() {
    let mut lane = attached(5, 10);
    send(&mut lane, &[1; 9]);
    assert_eq!(lane.credit(), 4);
    send(&mut lane, &vec![2; CHUNK]);
    assert_eq!(lane.credit(), 0, "the limit is passed");
    let frames = polled(&mut lane, 1);
    assert_eq!(frames.len(), 1);
    send(&mut lane, &[3; 2]);
    assert!(polled(&mut lane, 1).is_empty() && !lane.has_business(1));
    lane.on_credit(1, &credit(0, 5, 11)).unwrap();
    assert_eq!(polled(&mut lane, 1).len(), 1);
}

#[test]
fn a_batch_with_little_room_says_that_there_is_more() {
    let mut lane = attached(9, 1 << 20);
    // Two fit into a frame.
    (0..5).for_each(|_| send(&mut lane, &vec![1; CHUNK]));
    let mut batch = FrameBatch::new();
    assert!(lane.poll(1, &mut batch, 1) && lane.has_business(1));
    assert_eq!(batch.len(), 1);
    assert!(lane.poll(1, &mut batch, usize::MAX) == lane.has_business(1));
    assert!(!lane.has_business(1));
    assert_eq!(batch.len(), 3);
}

#[test]
fn a_large_message_waits_until_all_of_it_is_granted() {
    let len = 2 * CHUNK as u64 + 10;
    let mut lane = attached(5, 100);
    send(&mut lane, b"small");
    send(&mut lane, &vec![1; len as usize]);
    let frames = polled(&mut lane, 1);
    let [LaneFrame::Data(..), LaneFrame::Want(want)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((want.need_bytes, want.wanting), (5 + len, true));
    lane.on_credit(1, &credit(0, 5, 5 + len - 1)).unwrap();
    assert!(polled(&mut lane, 1).is_empty(), "not asked twice");
    lane.on_credit(1, &credit(0, 5, 5 + len)).unwrap();
    let frames = polled(&mut lane, 1);
    assert_eq!(frames.len(), 3);
    for (at, frame) in frames.iter().enumerate() {
        let LaneFrame::Chunk(header, chunk) = frame else { panic!("{frame:?}") };
        assert_eq!((header.frame_no, header.first_seq), (1 + at as u64, 1));
        assert_eq!((chunk.first, chunk.last, chunk.total), (at == 0, at == 2, len));
    }
    // It is resumed after its first part, and has to be granted anew.
    resume(&mut lane, 2, 2, credit(1, 5, 5 + CHUNK as u64)).unwrap();
    let frames = polled(&mut lane, 2);
    assert!(
        matches!(frames[..], [LaneFrame::Want(Want { need_bytes, .. })] if need_bytes == 5 + len)
    );
    lane.on_credit(2, &credit(1, 5, 5 + len)).unwrap();
    assert_eq!(polled(&mut lane, 2).len(), 2);
    lane.on_credit(2, &credit(2, 5, 5 + len)).unwrap();
    assert_eq!(account(&lane), [2, 2, 0, 0, 0]);
}

#[test]
fn credit_that_was_asked_for_and_not_used_yet_is_missed() {
    let mut lane = attached(10, 1000);
    lane.on_reclaim(1);
    assert!(!lane.intent.wanting, "nothing was sent");
    assert!(lane.ask());
    lane.on_credit(1, &credit(0, 20, 2000)).unwrap();
    // Another lane wants it, too: this one gives all back, and goes on waiting for its share.
    lane.on_reclaim(1);
    assert_eq!((lane.credit(), lane.intent.wanting), (0, true));
    lane.on_reclaim(1);
    assert!(!lane.intent.wanting, "nobody came for it");
}
