//! How lanes end.

use super::*;

/// A lane with a small message handed, a large one of which one part of three is handed, and a small one.
fn half_sent() -> (Outbound, Vec<u8>) {
    let body: Vec<u8> = (0..2 * CHUNK + 10).map(|at| (at % 251) as u8).collect();
    let mut lane = attached(5, 1 << 20);
    send(&mut lane, b"before");
    send_as(&mut lane, &body, Flags::AT_LEAST_ONCE, None);
    send(&mut lane, b"behind");
    let mut batch = FrameBatch::new();
    assert!(lane.poll(1, &mut batch, CHUNK));
    assert_eq!(batch.len(), 2);
    (lane, body)
}

#[test]
fn a_stop_lets_a_large_message_that_has_begun_go_to_its_end() {
    let (mut lane, _) = half_sent();
    assert!(lane.stop().is_empty(), "what goes before it may come back yet");
    assert!(!lane.is_open() && lane.credit() == 0 && !lane.ask());
    let frames = polled(&mut lane, 1);
    assert_eq!(frames.len(), 3, "two parts and the end: {frames:?}");
    assert!(matches!(frames[2], LaneFrame::Fin));
    assert!(!lane.has_business(1) && polled(&mut lane, 1).is_empty());
    assert_eq!(lane.ledger().in_flight, 3);
    // The end is said again in a new connection, once everything is there.
    resume(&mut lane, 2, 3, credit(1, 5, 1 << 20)).unwrap();
    let frames = polled(&mut lane, 2);
    assert!(matches!(frames[..], [LaneFrame::Chunk(..), LaneFrame::Fin]), "{frames:?}");
    let back = lane.on_closed(2, &[]).unwrap();
    assert_eq!(bodies(&back), [b"behind"]);
    assert!(back[0].flags.has(Flags::REROUTED) && lane.stop().is_empty());
    assert_eq!(lane.ledger().taken, 2);
}

#[test]
fn what_was_not_handed_comes_back_behind_what_was() {
    let mut lane = attached(5, 100);
    send(&mut lane, b"taken");
    polled(&mut lane, 1);
    lane.on_credit(1, &credit(1, 5, 100)).unwrap();
    let mut settled = lane.clone();
    send(&mut settled, b"not handed");
    let back = settled.stop();
    assert_eq!(bodies(&back), [b"not handed"]);
    assert_eq!(settled.ledger().in_flight, 0);
    send(&mut lane, b"handed");
    polled(&mut lane, 1);
    send(&mut lane, b"not handed");
    assert!(lane.stop().is_empty());
    assert!(matches!(polled(&mut lane, 1)[..], [LaneFrame::Fin]), "nothing more is handed");
    assert!(!lane.has_ended() && settled.has_business(1) && !settled.has_ended());
    assert_eq!(bodies(&lane.on_closed(1, &[]).unwrap()), [&b"handed"[..], b"not handed"]);
}

#[test]
fn behind_the_end_nothing_is_given_back() {
    let mut lane = attached(5, 100);
    send(&mut lane, b"handed");
    let permit = lane.reserve();
    assert!(lane.on_reclaim(1));
    polled(&mut lane, 1);
    assert!(lane.stop().is_empty());
    assert!(matches!(polled(&mut lane, 1)[..], [LaneFrame::Fin]));
    // A permit is dropped, and a request for credit comes late: the receiver has freed it all.
    assert!(!lane.unreserve(permit) && !lane.on_reclaim(1));
    assert!(!lane.has_business(1) && polled(&mut lane, 1).is_empty());
    assert!(lane.on_closed(1, &[]).unwrap().is_empty());
    assert_eq!(lane.ledger().taken, 1);
}

#[test]
fn a_large_message_that_has_begun_comes_back_whole() {
    let (mut lane, body) = half_sent();
    let back = lane.clone().on_closed(1, &[]).unwrap();
    assert_eq!(bodies(&back), [body.clone(), b"behind".to_vec()]);
    // Nobody can have taken a part of it: it is not unknown.
    let back = lane.die();
    assert_eq!(bodies(&back), [body, b"behind".to_vec()]);
    assert!(back.iter().all(|message| message.flags.has(Flags::REROUTED)));
    assert_eq!(account(&lane), [3, 0, 1, 0, 0]);
}

#[test]
fn a_death_makes_unknown_what_was_handed() {
    let mut lane = attached(9, 100);
    let handed = tracked(&mut lane, b"handed");
    let cell = Arc::<ReceiptCell>::default();
    send_as(&mut lane, b"again", Flags::AT_LEAST_ONCE, Some(cell.clone()));
    polled(&mut lane, 1);
    let waits = tracked(&mut lane, b"waits");
    let back = lane.die();
    assert_eq!(bodies(&back), [b"again".to_vec(), b"waits".to_vec()]);
    assert!(back[0].flags.has(Flags::REDELIVERED) && !back[0].flags.has(Flags::REROUTED));
    assert!(back[1].flags.has(Flags::REROUTED) && !back[1].flags.has(Flags::REDELIVERED));
    assert_eq!(handed.outcome(), Some(Outcome::Unknown));
    assert_eq!((cell.outcome(), waits.outcome()), (None, None));
    assert_eq!(account(&lane), [3, 0, 1, 0, 0]);
    handed.settle(Outcome::Taken);
    assert_eq!(handed.outcome(), Some(Outcome::Unknown), "an outcome is final");
    lane.on_credit(1, &credit(2, 9, 100)).unwrap();
    assert_eq!(account(&lane), [3, 0, 1, 0, 0], "late");
    assert!(polled(&mut lane, 2).is_empty());

    let mut other = attached(9, 100);
    back.into_iter().for_each(|message| assert!(other.adopt(message, MAX).is_ok()));
    assert_eq!(account(&other), [0, 0, 0, 0, 2]);
    polled(&mut other, 1);
    other.on_credit(1, &credit(2, 9, 100)).unwrap();
    assert_eq!((cell.outcome(), waits.outcome()), (Some(Outcome::Taken), Some(Outcome::Taken)));
    let mut sum = lane.ledger();
    sum += other.ledger();
    assert!(sum.balances(), "{sum}");
}

#[test]
fn what_did_not_arrive_is_not_unknown() {
    let mut lane = attached(9, 100);
    for body in [b"a", b"b"] {
        send(&mut lane, body);
        polled(&mut lane, 1);
    }
    resume(&mut lane, 2, 1, credit(0, 1, 100)).unwrap();
    assert_eq!(bodies(&lane.die()), [b"b"]);
    assert_eq!(account(&lane), [2, 0, 1, 0, 0]);
}

#[test]
fn what_a_cut_lost_leaves_a_stopped_lane_too() {
    let mut lane = attached(9, 900);
    send(&mut lane, b"lost");
    polled(&mut lane, 1);
    assert!(lane.stop().is_empty(), "it was handed");
    lane.cut();
    resume(&mut lane, 2, 0, credit(0, 0, 0)).unwrap();
    assert_eq!(lane.stop().len(), 1, "it never arrived");
    assert!(matches!(polled(&mut lane, 2)[..], [LaneFrame::Fin]));
    assert_eq!(lane.ledger().in_flight, 0);
}
