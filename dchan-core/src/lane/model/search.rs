//! Breadth-first search through every order of events, for worlds small enough.

use std::collections::HashMap;

use tokio::time::Instant;

use super::{Amount, Faults, Kind, Mutation, PLAIN, Rules, World};

/// What a search found.
struct Found {
    states: usize,
    /// Whether there was nothing left to visit.
    exhausted: bool,
    /// What went wrong, and the steps that lead there.
    counterexample: Option<String>,
}

/// Visits every state that can be reached, nearest first, until something is wrong.
fn search(rules: &Rules, most: usize) -> Found {
    let start = World::new(rules);
    // For each state the one that it was first reached from, to tell the way there.
    let mut seen = HashMap::from([(start.digest(), None)]);
    let mut layer = vec![start];
    while !layer.is_empty() && seen.len() < most {
        let mut next = Vec::new();
        for world in layer {
            let digest = world.digest();
            let mut moved = false;
            for step in world.steps(rules) {
                let mut after = world.clone();
                after.apply(rules, step);
                let to = after.digest();
                moved |= to != digest;
                if seen.contains_key(&to) {
                    continue;
                }
                seen.insert(to, Some((digest, step)));
                if let Some(what) = &after.violation {
                    return counterexample(&seen, to, what);
                }
                next.push(after);
            }
            if !moved {
                let mut world = world;
                world.check_rest(rules);
                if let Some(what) = &world.violation {
                    return counterexample(&seen, digest, what);
                }
            }
        }
        layer = next;
    }
    Found { states: seen.len(), exhausted: layer.is_empty(), counterexample: None }
}

fn counterexample(
    seen: &HashMap<u64, Option<(u64, super::Step)>>,
    mut at: u64,
    what: &str,
) -> Found {
    let mut way = Vec::new();
    while let Some((before, step)) = seen[&at] {
        way.push(format!("{step:?}"));
        at = before;
    }
    way.reverse();
    let told = format!("{what}\nafter:\n  {}", way.join("\n  "));
    Found { states: seen.len(), exhausted: false, counterexample: Some(told) }
}

/// How many states a search may visit: `DCHAN_SEARCH` multiplies it.
fn most(states: usize) -> usize {
    let times = std::env::var("DCHAN_SEARCH").ok().and_then(|times| times.parse().ok());
    states * times.unwrap_or(1)
}

fn holds(name: &str, rules: &Rules, states: usize) {
    let begin = Instant::now();
    let found = search(rules, most(states));
    let (seconds, all) = (begin.elapsed().as_secs_f32(), found.exhausted);
    println!("{name}: {} states in {seconds:.1} s, all of them: {all}", found.states);
    if let Some(told) = found.counterexample {
        panic!("{name}: {told}");
    }
}

fn breaks(rules: &Rules, mutation: Mutation) {
    let sound = search(rules, 10_000).counterexample;
    assert!(sound.is_none(), "{sound:?}");
    let found = search(&Rules { mutation, ..rules.clone() }, 200_000);
    assert!(found.counterexample.is_some(), "{mutation:?} not seen in {} states", found.states);
}

#[test]
fn messages_arrive_without_faults() {
    holds("no faults", &Rules::new(3), 10_000);
}

#[test]
fn who_waits_for_everything_to_be_taken_hears_of_it_beyond_cuts() {
    // So much room that credit alone is no reason to tell.
    let capacity = Amount::new(64, 1 << 20);
    let faults = Faults { cuts: 1, ..Faults::default() };
    holds("a flush", &Rules { faults, capacity, ..Rules::new(2) }, 1_000);
}

#[test]
fn cuts_lose_and_repeat_nothing() {
    let faults = Faults { cuts: 2, ..Faults::default() };
    holds("two cuts", &Rules { faults, ..Rules::new(3) }, 30_000);
}

#[test]
fn a_close_at_any_step_loses_nothing() {
    let faults = Faults { cuts: 1, closes: 1, ..Faults::default() };
    holds("close", &Rules { faults, ..Rules::new(3) }, 30_000);
}

#[test]
fn a_hand_back_at_any_step_loses_nothing() {
    let faults = Faults { cuts: 1, hand_backs: 1, ..Faults::default() };
    holds("hand-back", &Rules { faults, receivers: 2, ..Rules::new(2) }, 15_000);
}

#[test]
fn a_stop_at_any_step_loses_nothing() {
    let faults = Faults { cuts: 1, stops: 1, ..Faults::default() };
    holds("stop", &Rules { faults, ..Rules::new(2) }, 15_000);
}

#[test]
fn everything_in_good_order_at_once() {
    let faults = Faults { cuts: 1, closes: 1, hand_backs: 1, stops: 1, ..Faults::default() };
    holds("good order", &Rules { faults, ..Rules::new(2) }, 25_000);
}

#[test]
fn a_receiver_that_dies_makes_unknown_only_what_it_was_handed() {
    let faults = Faults { cuts: 1, receiver_deaths: 1, ..Faults::default() };
    let rules = Rules { faults, ..Rules::new(3) };
    holds("receiver dies", &rules, 15_000);
    let rules = Rules { hello_names_boot: false, ..rules };
    holds("receiver dies, lane not found", &rules, 15_000);
}

#[test]
fn a_lane_given_up_is_told_so() {
    let faults = Faults { cuts: 1, timeouts: 1, ..Faults::default() };
    holds("time-out", &Rules { faults, ..Rules::new(2) }, 15_000);
}

#[test]
fn what_a_dead_sender_left_is_delivered() {
    let faults = Faults { cuts: 1, sender_deaths: 1, ..Faults::default() };
    holds("sender dies", &Rules { faults, senders: 2, ..Rules::new(2) }, 15_000);
}

#[test]
fn a_large_message_survives_cuts() {
    let large = Kind { size: (1 << 16) + 10, ..PLAIN };
    let faults = Faults { cuts: 2, ..Faults::default() };
    let capacity = Amount::new(2, 40_000);
    let script = vec![large, PLAIN];
    holds("large", &Rules { faults, capacity, script, ..Rules::new(2) }, 3_000);
}

#[test]
fn at_least_once_and_undecodable_messages() {
    let again = Kind { at_least_once: true, ..PLAIN };
    let bad = Kind { bad: true, ..PLAIN };
    let faults = Faults { receiver_deaths: 1, ..Faults::default() };
    let script = vec![again, bad, PLAIN];
    holds(
        "mixed, receiver dies",
        &Rules { faults, script: script.clone(), ..Rules::new(3) },
        20_000,
    );
    let faults = Faults { cuts: 1, timeouts: 1, ..Faults::default() };
    holds("mixed, time-out", &Rules { faults, script, ..Rules::new(3) }, 15_000);
}

#[test]
fn without_the_fence_a_stale_frame_does_harm() {
    let faults = Faults { cuts: 1, ..Faults::default() };
    breaks(&Rules { faults, ..Rules::new(2) }, Mutation::NoEpochFence);
}

#[test]
fn numbers_given_at_accept_make_too_much_unknown() {
    let faults = Faults { receiver_deaths: 1, ..Faults::default() };
    breaks(&Rules { faults, ..Rules::new(2) }, Mutation::SequenceAtAccept);
}

#[test]
fn tombstones_that_go_early_make_outcomes_unknown() {
    let faults = Faults { cuts: 1, hand_backs: 1, ..Faults::default() };
    breaks(&Rules { faults, ..Rules::new(1) }, Mutation::TombstoneByTimer);
}

#[test]
fn rerouting_what_is_not_found_repeats_messages() {
    let faults = Faults { receiver_deaths: 1, ..Faults::default() };
    let rules = Rules { faults, hello_names_boot: false, ..Rules::new(1) };
    breaks(&rules, Mutation::NotFoundReroutes);
}

#[test]
fn an_old_inbox_that_takes_no_room_overfills_the_receiver() {
    let faults = Faults { sender_deaths: 1, ..Faults::default() };
    let capacity = Amount::new(2, 1 << 20);
    breaks(&Rules { faults, capacity, senders: 2, ..Rules::new(2) }, Mutation::OldInboxNotCounted);
}
