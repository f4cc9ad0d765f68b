//! Long random walks through large worlds, which then heal and must come to rest.

use fastrand::Rng;
use proptest::{
    prelude::any,
    strategy::Strategy as _,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

use super::{Amount, Faults, Kind, Mutation, Rules, Step, World};
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

/// What `steps` leaves out, for random walks: permits.
fn permit_steps(world: &World, steps: &mut Vec<Step>) {
    for (s, sender) in world.senders.iter().enumerate().filter(|(_, sender)| sender.alive) {
        for (&lane, state) in &sender.lanes {
            if state.out.credit() > 0 && state.permits.len() < 3 {
                steps.push(Step::Reserve { s, lane });
            }
            if !state.permits.is_empty() {
                steps.push(Step::Spend { s, lane });
                steps.push(Step::DropPermit { s, lane });
            }
        }
    }
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
    let cases = number("DCHAN_CASES").unwrap_or(150) as u32;
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

/// Some senders have most of their script behind them.
fn some_are_done(world: &mut World, rng: &mut Rng) {
    for (s, sender) in world.senders.iter_mut().enumerate() {
        sender.next = rng.usize(0..20) * usize::from(rng.bool());
        sender.done.accepted = sender.next as u64;
        sender.done.taken = sender.next as u64;
        world.took.extend((0..sender.next).map(|id| ((s, id as u32), 1)));
    }
}

/// Many senders for one small receiver, some of which sit on permits or have nothing more to send.
fn crowd(seed: u64) -> Result<(), String> {
    let rng = &mut Rng::with_seed(seed);
    let bytes = [1, 100, 70_000][rng.usize(0..3)];
    let rules = Rules {
        capacity: Amount::new(rng.u64(1..10), bytes),
        senders: rng.usize(2..9),
        script: (0..30).map(|_| kind(rng)).collect(),
        ..Rules::new(0)
    };
    let mut world = World::new(&rules);
    some_are_done(&mut world, rng);
    // In so many steps everybody's turn comes.
    let turn = 600 * rules.senders;
    let mut waits = vec![0; rules.senders];
    for at in 0..PATIENCE {
        if rng.u8(0..20) == 0 && at < 2_000 {
            let mut steps = Vec::new();
            permit_steps(&world, &mut steps);
            steps.retain(|step| matches!(step, Step::Reserve { s: 0, .. }));
            steps.into_iter().for_each(|step| world.apply(&rules, step));
        }
        let before: Vec<u64> = world.senders.iter().map(|sender| sender.ledger().taken).collect();
        let Some(step) = choose(&world, &rules, rng, false) else { break };
        world.apply(&rules, step);
        for (s, sender) in world.senders.iter().enumerate() {
            let moved = sender.ledger().taken > before[s] || sender.ledger().in_flight == 0;
            waits[s] = if moved && !sender.waits(&rules) { 0 } else { waits[s] + 1 };
            waits[s] = if sender.ledger().taken > before[s] { 0 } else { waits[s] };
        }
        // The first sits on permits, which may be all that it can have.
        let starved = waits.iter().skip(1).position(|steps| *steps > turn);
        if let Some(s) = starved {
            let what = format!("sender {} starves in {:?}", s + 1, brief(&rules));
            return Err(what);
        }
        if let Some(what) = &world.violation {
            return Err(format!("{what} in {:?}", brief(&rules)));
        }
    }
    while let Some(step) = permits(&world) {
        world.apply(&rules, step);
    }
    for _ in 0..PATIENCE {
        let Some(step) = choose(&world, &rules, rng, false) else {
            world.check_rest(&rules);
            return world.violation.map_or(Ok(()), Err);
        };
        world.apply(&rules, step);
    }
    Err(format!("no rest in {:?}", brief(&rules)))
}

#[test]
fn in_a_crowd_everybody_has_a_turn() {
    (0..40).for_each(|seed| {
        if let Err(what) = crowd(seed) {
            panic!("seed {seed}: {what}");
        }
    });
}
