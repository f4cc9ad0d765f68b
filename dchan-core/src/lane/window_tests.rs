use super::*;

fn window(messages: u64, bytes: u64) -> Window {
    Window::new(Amount::new(messages, bytes))
}

fn lanes(window: &mut Window, count: usize) -> Vec<SlotId> {
    let ids: Vec<_> = (0..count).map(|_| window.add()).collect();
    ids.iter().for_each(|id| window.attach(*id, true));
    ids
}

fn want(returned: Amount, wanting: bool, need_bytes: u64) -> Want {
    let Amount { messages, bytes } = returned;
    Want { returned_messages: messages, returned_bytes: bytes, wanting, need_bytes, hurry: 0 }
}

const NONE: Amount = Amount { messages: 0, bytes: 0 };

#[test]
fn the_only_lane_gets_everything_and_more_when_half_is_taken() {
    let mut window = window(4, 400);
    let id = lanes(&mut window, 1)[0];
    assert_eq!(window.balance(), Grants { granted: vec![id], reclaim: vec![] });
    assert_eq!(window.limit(id), Amount::new(4, 400));
    assert_eq!(window.balance(), Grants::default());
    window.received(id, Amount::new(4, 40)).unwrap();
    window.taken(id, Amount::new(1, 10));
    assert!(window.owes(id));
    assert_eq!(window.balance(), Grants::default(), "less than half");
    window.taken(id, Amount::new(1, 10));
    assert_eq!(window.balance().granted, [id]);
    assert_eq!(window.limit(id).messages, 6);
    assert!(!window.owes(id));
    assert_eq!(window.used().messages, 4);
}

#[test]
fn more_than_was_granted_is_a_fault_and_changes_nothing() {
    let mut window = window(2, 100);
    let id = lanes(&mut window, 1)[0];
    window.balance();
    let found = window.received(id, Amount::new(3, 1)).unwrap_err();
    assert_eq!(found, LaneFault::Credit { what: "messages", expected: 2, found: 3 });
    let most = 100 + CHUNK as u64;
    let found = window.received(id, Amount::new(1, most + 1)).unwrap_err();
    assert_eq!(found, LaneFault::Credit { what: "bytes", expected: most, found: most + 1 });
    assert_eq!(window.used(), Amount::new(2, 100));
    window.received(id, Amount::new(2, most)).unwrap();
    assert_eq!(window.used(), Amount::new(2, most));
    window.taken(id, Amount::new(2, most));
    assert_eq!(window.used(), NONE);
}

#[test]
fn new_credit_counts_from_where_an_overdraft_ended() {
    let mut window = window(4, 10);
    let id = lanes(&mut window, 1)[0];
    window.balance();
    window.received(id, Amount::new(1, 5_000)).unwrap();
    window.taken(id, Amount::new(1, 5_000));
    assert_eq!(window.balance().granted, [id]);
    assert_eq!(window.limit(id).bytes, 5_010);
    assert_eq!(window.used(), Amount::new(4, 10));
}

#[test]
fn lies_about_credit_are_faults() {
    let mut window = window(4, 400);
    let id = lanes(&mut window, 1)[0];
    window.balance();
    window.received(id, Amount::new(1, 10)).unwrap();
    let lies = [
        want(Amount::new(4, 0), true, 0),
        want(Amount::new(0, 401), true, 0),
        want(Amount::new(u64::MAX, u64::MAX), true, u64::MAX),
        want(NONE, true, u64::MAX),
    ];
    for lie in lies {
        assert!(window.want(id, &lie).is_err(), "{lie:?}");
    }
    let mut window = window.largest(1_000);
    let most = 400 + CHUNK as u64 + 1_000;
    assert!(window.want(id, &want(NONE, true, most + 1)).is_err());
    assert!(window.want(id, &want(NONE, true, most)).is_ok());
    assert!(window.want(id, &want(Amount::new(3, 390), true, 0)).is_ok());
    assert!(window.want(id, &want(Amount::new(2, 0), true, 0)).is_ok(), "old news");
    assert_eq!(window.slots[&id].returned, Amount::new(3, 390));
}

#[test]
fn a_cut_frees_unused_credit_and_keeps_what_has_come() {
    let mut window = window(4, 400);
    let ids = lanes(&mut window, 2);
    window.balance();
    window.received(ids[0], Amount::new(1, 10)).unwrap();
    window.received(ids[0], Amount::new(0, 70)).unwrap();
    window.detach(ids[0]);
    assert_eq!(window.used(), Amount::new(3, 210), "a part of a large message is discarded");
    assert!(!window.owes(ids[0]));
    window.attach(ids[0], true);
    window.balance();
    assert_eq!(window.limit(ids[0]).messages, 2);
    window.remove(ids[0]);
    assert_eq!((window.used(), window.stored), (Amount::new(2, 200), 0));
    window.remove(ids[1]);
    assert_eq!((window.used(), window.wanting), (NONE, 0));
    assert_eq!(window.balance(), Grants::default());
}

#[test]
fn a_newcomer_gets_its_share_when_others_give_back() {
    let mut window = window(4, 400);
    let first = lanes(&mut window, 1)[0];
    window.balance();
    let second = lanes(&mut window, 1)[0];
    assert_eq!(window.balance(), Grants { granted: vec![], reclaim: vec![first] });
    assert_eq!(window.balance(), Grants::default(), "asked once");
    window.want(first, &want(Amount::new(3, 300), true, 0)).unwrap();
    let grants = window.balance();
    assert!(grants.granted.contains(&second) && grants.reclaim.is_empty(), "{grants:?}");
    assert_eq!(window.limit(second), Amount::new(2, 200));
    assert!(window.used().messages <= 4);
}

#[test]
fn permits_in_this_process_are_not_asked_for_again_until_one_is_dropped() {
    let mut window = window(4, 400);
    let first = lanes(&mut window, 1)[0];
    window.balance();
    let second = lanes(&mut window, 1)[0];
    assert_eq!(window.balance().reclaim, [first]);
    // Permits hold all of it, and somebody waits for more.
    assert!(!window.give_back(first, 4, true));
    assert_eq!(window.balance(), Grants::default(), "it would answer the same for ever");
    window.released();
    assert_eq!(window.balance().reclaim, [first]);
    assert!(window.give_back(first, 3, true));
    assert_eq!(window.balance().granted, [second]);
}

#[test]
fn an_answer_that_gives_nothing_back_is_not_asked_for_again() {
    let mut window = window(4, 400);
    let first = lanes(&mut window, 1)[0];
    window.balance();
    let second = lanes(&mut window, 1)[0];
    window.balance();
    // All of it is held by permits.
    window.want(first, &want(NONE, false, 0)).unwrap();
    window.balance();
    for _ in 0..3 {
        window.want(first, &want(NONE, false, 0)).unwrap();
        assert_eq!(window.balance(), Grants::default());
    }
    window.want(first, &want(Amount::new(4, 400), false, 0)).unwrap();
    assert_eq!(window.balance().granted, [second]);
    assert_eq!(window.limit(second), Amount::new(4, 400));
}

#[test]
fn what_is_taken_is_a_reason_to_ask_again() {
    let mut window = window(4, 400);
    let first = lanes(&mut window, 1)[0];
    window.balance();
    lanes(&mut window, 1);
    assert_eq!(window.balance().reclaim, [first]);
    window.want(first, &want(NONE, true, 0)).unwrap();
    // An empty message: only its place is free.
    window.received(first, Amount::new(1, 0)).unwrap();
    assert_eq!(window.balance(), Grants::default());
    window.taken(first, Amount::new(1, 0));
    assert_eq!(window.balance().reclaim, [first]);
}

#[test]
fn messages_alone_are_asked_back_too_and_nobody_waits_twice() {
    let mut window = window(4, 400);
    let first = lanes(&mut window, 1)[0];
    window.balance();
    let second = lanes(&mut window, 1)[0];
    window.want(first, &want(Amount::new(0, 300), true, 0)).unwrap();
    window.want(second, &want(NONE, true, 0)).unwrap();
    assert_eq!(window.hungry, [second, first]);
    let grants = window.balance();
    assert_eq!((&grants.granted[..], &grants.reclaim[..]), (&[second][..], &[first][..]));
    assert_eq!(window.limit(second), Amount::new(0, 200));
}

#[test]
fn a_lane_without_credit_stays_in_the_queue() {
    let mut window = window(2, 100);
    let ids = lanes(&mut window, 2);
    window.balance();
    // A third finds no bytes, and then no messages.
    let third = lanes(&mut window, 1)[0];
    (0..3).for_each(|_| assert!(window.balance().granted.iter().all(|id| *id == third)));
    for id in ids {
        window.received(id, Amount::new(1, 50)).unwrap();
        window.taken(id, Amount::new(1, 50));
    }
    window.balance();
    let limit = window.limit(third);
    assert!(limit.messages > 0 && limit.bytes > 0, "{limit:?}");
}

#[test]
fn a_message_larger_than_the_window_goes_alone() {
    let mut window = window(4, 100);
    let ids = lanes(&mut window, 2);
    window.balance();
    window.received(ids[1], Amount::new(1, 20)).unwrap();
    window.want(ids[0], &want(NONE, true, 5_000)).unwrap();
    assert_eq!(window.balance().granted, [], "something is stored");
    window.taken(ids[1], Amount::new(1, 20));
    assert!(window.balance().granted.contains(&ids[0]));
    assert_eq!(window.limit(ids[0]).bytes, 5_000);
    window.want(ids[1], &want(NONE, true, 6_000)).unwrap();
    window.balance();
    assert!(window.limit(ids[1]).bytes < 6_000, "one at a time");
    window.received(ids[0], Amount::new(0, 4_000)).unwrap();
    window.received(ids[0], Amount::new(1, 1_000)).unwrap();
    window.balance();
    assert!(window.limit(ids[1]).bytes < 6_000, "it is not taken");
    window.taken(ids[0], Amount::new(1, 5_000));
    window.balance();
    assert_eq!(window.limit(ids[1]).bytes, 6_000);
}

#[test]
fn a_large_message_goes_although_the_queue_waits_for_what_it_holds() {
    let mut window = window(2, 100);
    let ids = lanes(&mut window, 2);
    window.balance();
    let third = lanes(&mut window, 1)[0];
    window.balance();
    assert_eq!(window.limit(third).bytes, 0, "all bytes are out");
    ids.iter().for_each(|id| window.want(*id, &want(NONE, true, 500)).unwrap());
    assert!(window.balance().granted.contains(&ids[0]));
    window.received(ids[0], Amount::new(1, 500)).unwrap();
    window.taken(ids[0], Amount::new(1, 500));
    window.balance();
    assert!(window.limit(third).bytes > 0);
}

#[test]
fn a_lane_that_was_cut_in_a_large_message_can_have_it_again() {
    let mut window = window(4, 100);
    let id = lanes(&mut window, 1)[0];
    window.balance();
    window.want(id, &want(NONE, true, 5_000)).unwrap();
    window.balance();
    window.received(id, Amount::new(0, 3_000)).unwrap();
    window.attach(id, true);
    window.balance();
    window.want(id, &want(NONE, true, 5_000)).unwrap();
    window.balance();
    assert_eq!(window.limit(id).bytes, 5_000);
}

#[test]
fn lanes_that_rest_give_back_so_that_others_can_have_more() {
    let mut window = window(8, 8_000);
    let ids = lanes(&mut window, 4);
    window.balance();
    let mut reclaimed = Vec::new();
    for _ in 0..200 {
        window.received(ids[0], Amount::new(1, 10)).unwrap();
        window.taken(ids[0], Amount::new(1, 10));
        let grants = window.balance();
        for id in grants.reclaim {
            assert_ne!(id, ids[0], "it works");
            let unused = window.slots[&id].unused();
            window.want(id, &want(unused, false, 0)).unwrap();
            reclaimed.push(id);
        }
    }
    reclaimed.sort_unstable();
    assert_eq!(reclaimed, ids[1..]);
    assert_eq!(window.used(), window.slots[&ids[0]].used());
    assert!(window.slots[&ids[0]].used().messages > 4, "{:?}", window.slots[&ids[0]]);
}

#[test]
fn a_sender_in_this_process_takes_its_credit_without_being_told() {
    let mut window = window(4, 400);
    let ids = lanes(&mut window, 2);
    ids.iter().for_each(|id| window.ask(*id));
    window.balance();
    assert_eq!(window.unused(ids[0]), 2);
    window.put_in(ids[0], Amount::new(1, 50));
    window.put_in(ids[0], Amount::new(0, 20));
    assert_eq!((window.unused(ids[0]), window.stored), (1, 70));
    // What it has reserved stays, and so do all the bytes for it.
    window.give_back(ids[0], 1, true);
    assert_eq!((window.unused(ids[0]), window.used()), (1, Amount::new(4, 400)));
    window.give_back(ids[0], 0, false);
    assert_eq!((window.unused(ids[0]), window.used()), (0, Amount::new(3, 270)));
    assert_eq!(window.wanting, 1);
    window.taken(ids[0], Amount::new(1, 70));
    assert_eq!((window.used(), window.stored), (Amount::new(2, 200), 0));
    window.ask(ids[0]);
    assert_eq!(window.wanting, 2);
    assert_eq!(window.balance().granted, [ids[0]]);
    assert_eq!(window.unused(ids[0]), 2);
    window.put_in(ids[0], Amount::new(1, 200));
    assert_eq!(window.unused(ids[0]), 0, "there are no bytes");
}

#[test]
fn a_message_that_just_fits_waits_for_nothing() {
    let mut window = window(4, 400);
    let id = lanes(&mut window, 1)[0];
    window.balance();
    window.want(id, &want(NONE, true, 400)).unwrap();
    assert!(!window.slots[&id].is_short_of_bytes());
    window.want(id, &want(NONE, true, 401)).unwrap();
    assert!(window.slots[&id].is_short_of_bytes());
}

#[test]
fn a_message_beyond_the_capacity_holds_up_the_others_only_once_it_is_there() {
    let mut window = window(4, 100);
    let [large, small] = lanes(&mut window, 2).try_into().unwrap();
    window.want(large, &want(NONE, true, 5_000)).unwrap();
    window.balance();
    assert_eq!(window.limit(large).bytes, 5_000);
    let goes_on = |window: &mut Window| {
        let all = Amount::new(1, window.slots[&small].unused().bytes);
        window.received(small, all).unwrap();
        window.taken(small, all);
        window.balance();
        window.slots[&small].unused().bytes > 0
    };
    for _ in 0..4 {
        window.received(large, Amount::new(0, 1_000)).unwrap();
        assert!(goes_on(&mut window), "it is on its way");
    }
    window.received(large, Amount::new(1, 1_000)).unwrap();
    assert!(!goes_on(&mut window), "it fills the room");
    window.taken(large, Amount::new(1, 5_000));
    assert!(window.balance().granted.contains(&small));
}

#[test]
fn a_lane_that_was_asked_waits_for_its_own_answer() {
    let mut window = window(4, 400);
    let first = lanes(&mut window, 1)[0];
    window.balance();
    lanes(&mut window, 1);
    assert_eq!(window.balance().reclaim, [first]);
    window.received(first, Amount::new(3, 300)).unwrap();
    window.taken(first, Amount::new(3, 300));
    assert!(!window.slots[&first].hungry);
    window.want(first, &want(NONE, true, 0)).unwrap();
    assert!(window.slots[&first].hungry);
}

#[test]
fn bytes_alone_are_asked_back_too() {
    let mut window = window(4, 400);
    let first = lanes(&mut window, 1)[0];
    window.balance();
    window.received(first, Amount::new(4, 40)).unwrap();
    window.taken(first, Amount::new(2, 20));
    let second = lanes(&mut window, 1)[0];
    let grants = window.balance();
    assert_eq!(grants.reclaim, [first], "it has 360 of 400, and messages no more than its share");
    assert_eq!(window.limit(second), Amount::new(2, 20));
}

#[test]
fn a_large_message_without_a_place_holds_up_no_other() {
    let mut window = window(4, 400);
    lanes(&mut window, 1);
    window.balance();
    let second = lanes(&mut window, 1)[0];
    window.want(second, &want(NONE, true, 5_000)).unwrap();
    assert!(window.balance().granted.is_empty(), "the first one has all messages");
    assert_eq!((window.oversize, window.limit(second)), (None, NONE));
}

#[test]
fn whoever_reads_may_be_behind_by_what_the_inbox_and_a_frame_hold() {
    assert_eq!(window(4, 400).most_unconfirmed(), 4 + MOST_IN_FRAME);
}
