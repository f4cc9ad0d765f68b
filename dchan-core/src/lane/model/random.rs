//! Long random walks through large worlds, which then heal and must come to rest.

use fastrand::Rng;
use proptest::{
    prelude::any,
    strategy::Strategy as _,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

use super::{Amount, Faults, Kind, Mutation, Rules, Step, World, sender::permit_steps};
use crate::wire::CHUNK;

/// With so many steps a world that has healed has come to rest, or never will.
const PATIENCE: usize = 40_000;

fn rules(rng: &mut Rng, harm: bool) -> Rules {
    let some = |rng: &mut Rng, most: u8| if rng.bool() { rng.u8(0..=most) } else { 0 };
    let script = (0..rng.usize(1..60)).map(|_| kind(rng)).collect();
    let bytes = [1, 20, 300, 5_000, 100_000, 1 << 20][rng.usize(0..6)];
    Rules {
        capacity: Amount::new([1, 2, 3, 8, 50][rng.usize(0..5)], bytes),
        senders: [1, 1, 2, 3, 5][rng.usize(0..5)],
        receivers: rng.usize(1..=2),
        script,
        mutation: Mutation::None,
        hello_names_boot: rng.bool(),
        faults: Faults {
            cuts: some(rng, 8),
            closes: some(rng, 1),
            hand_backs: some(rng, 1),
            stops: some(rng, 3),
            sender_deaths: if harm { some(rng, 2) } else { 0 },
            receiver_deaths: if harm { some(rng, 3) } else { 0 },
            timeouts: if harm { some(rng, 3) } else { 0 },
        },
    }
}

fn kind(rng: &mut Rng) -> Kind {
    let size = match rng.u8(0..20) {
        0 => rng.usize(CHUNK - 2..CHUNK + 3),
        1 => rng.usize(CHUNK..5 * CHUNK),
        2..5 => rng.usize(1_000..CHUNK),
        _ => rng.usize(9..60),
    };
    Kind {
        size,
        bad: rng.u8(0..20) == 0,
        at_least_once: rng.u8(0..4) == 0,
        tracked: rng.u8(0..3) == 0,
    }
}

/// The script is long, and comes from the seed anyway.
fn brief(rules: &Rules) -> Rules {
    Rules { script: Vec::new(), ..rules.clone() }
}

/// Some steps are rare, so that what lies between them gets long enough to be interesting.
fn choose(world: &World, rules: &Rules, rng: &mut Rng, faults: bool) -> Option<Step> {
    let mut steps = Vec::new();
    if faults && rng.u8(0..12) == 0 {
        world.fault_steps(rules, &mut steps);
    }
    if faults && rng.u8(0..6) == 0 {
        permit_steps(world, &mut steps);
    }
    if steps.is_empty() {
        world.traffic_steps(&mut steps);
        world.application_steps(rules, &mut steps);
    }
    if steps.is_empty() {
        return None;
    }
    let mut step = steps.swap_remove(rng.usize(..steps.len()));
    if let Step::Poll { budget, .. } = &mut step {
        *budget = [1, 100, 70_000, 1 << 20][rng.usize(0..4)];
    }
    Some(step)
}

/// Walks at random, heals, and waits for rest. Returns what went wrong, and the last steps.
fn walk(seed: u64, harm: bool) -> Result<usize, String> {
    let rng = &mut Rng::with_seed(seed);
    let rules = rules(rng, harm);
    let mut world = World::new(&rules);
    let mut trail = Vec::new();
    let mut go = |world: &mut World, step: Step| {
        trail.push(step);
        world.apply(&rules, step);
        match &world.violation {
            None => Ok(()),
            Some(what) => {
                let last: Vec<_> = trail.iter().rev().take(40).rev().collect();
                Err(format!("{what}\n{:?}\nthe last steps: {last:#?}", brief(&rules)))
            }
        }
    };
    let mut steps = 0;
    for _ in 0..rng.usize(50..600) {
        let Some(step) = choose(&world, &rules, rng, true) else { break };
        go(&mut world, step)?;
        if rng.u8(0..30) == 0 {
            world.links.values_mut().for_each(super::Link::lose_stale);
        }
        steps += 1;
    }
    while let Some(step) = permits(&world) {
        go(&mut world, step)?;
    }
    for _ in 0..PATIENCE {
        let Some(step) = choose(&world, &rules, rng, false) else {
            world.check_rest(&rules);
            return match &world.violation {
                None => Ok(steps),
                Some(what) => Err(format!("{what}\n{:?}\n{world:#?}", brief(&rules))),
            };
        };
        go(&mut world, step)?;
        steps += 1;
    }
    Err(format!("no rest after {PATIENCE} steps\n{:?}", brief(&rules)))
}

/// The first permit that is still held.
fn permits(world: &World) -> Option<Step> {
    world.senders.iter().enumerate().find_map(|(s, sender)| {
        let holder = sender.lanes.iter().find(|(_, lane)| !lane.permits.is_empty());
        holder.map(|(&lane, _)| Step::DropPermit { s, lane })
    })
}

/// `DCHAN_CASES` says how many walks, `DCHAN_SEED` which one alone. A failure names the seed.
fn walks(name: &str, harm: bool) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("DCHAN_SEED") {
        walk(seed, harm).unwrap();
        return;
    }
    let cases = number("DCHAN_CASES").unwrap_or(400) as u32;
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let counted = std::cell::Cell::new(0);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let done = runner.run(&any::<u64>().no_shrink(), |seed| {
        let walked = walk(seed, harm);
        let walked = walked.map_err(|what| TestCaseError::fail(format!("seed {seed}: {what}")))?;
        counted.set(counted.get() + walked);
        Ok(())
    });
    println!("{name}: {cases} walks, {} steps", counted.get());
    if let Err(what) = done {
        panic!("{what}");
    }
}

#[test]
fn walks_in_good_order_come_to_rest() {
    walks("good order", false);
}

#[test]
fn walks_with_deaths_come_to_rest() {
    walks("deaths", true);
}
