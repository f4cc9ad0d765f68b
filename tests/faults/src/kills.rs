//! Processes are killed, without a chance to say anything.
//!
//! Three founders, which neither send nor receive; then a sender, and receivers.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Form, Over, Score, Stage, Tempo, stage::eventually};

const SENDER: usize = 3;
const RECEIVER: usize = 4;
const OTHER: usize = 5;

/// The channel.
const NAME: &str = "n";

/// How many messages of a killed process can be unknown: its window.
const WINDOW: u64 = 100;

/// Nobody waits for longer when a peer is gone.
const SOON: Duration = busy(Duration::from_secs(1), 2);

/// All are back by then when all were killed.
const ALL_BACK: Duration = busy(Duration::from_secs(3), 4);

/// A limit. Programs that are not optimized, as tests of a machine that is busy with others, get more.
const fn busy(limit: Duration, times: u32) -> Duration {
    if cfg!(debug_assertions) { limit.saturating_mul(times) } else { limit }
}

fn tempo() -> Tempo {
    Tempo { lane: Duration::from_secs(30) }
}

/// A cluster with so many receivers, and a sender that sends to all of them.
async fn flowing(over: Over, tempo: Tempo, form: &Form, receivers: usize) -> Stage {
    let mut stage = Stage::new(over, tempo, &form.program);
    stage.start_all(3, 1 + receivers).await;
    for at in RECEIVER..RECEIVER + receivers {
        stage.receive(at, NAME).await;
    }
    let begun = Instant::now();
    stage.flow(SENDER, NAME);
    stage.well(begun).await;
    stage
}

/// The leader is killed: what is open flows on, and opening goes on once there is another leader. Healed
/// when a receiver could be opened.
pub async fn leader(over: Over, form: Form) -> Score {
    let mut stage = flowing(over, tempo(), &form, 1).await;
    let leader = stage.leader().await;
    let notes = stage.notes(RECEIVER);
    notes.measure_pause();
    let killed = Instant::now();
    stage.kill(leader);
    stage.receive(RECEIVER, "late").await;
    let heal = killed.elapsed();
    let pause = notes.longest_pause();
    stage.start(leader);
    stage.well(Instant::now()).await;
    let score = stage.score("leader killed", vec![heal]).await;
    assert_eq!(score.unknown, 0, "both ends live");
    score.within("the channel stood still", pause, SOON)
}

/// Two of three founders are killed: what is open flows on, opening waits and says so. Healed when it
/// goes on, counted from their restart.
pub async fn quorum(over: Over, form: Form) -> Score {
    let mut stage = flowing(over, tempo(), &form, 1).await;
    let leader = stage.leader().await;
    let killed = [leader, (leader + 1) % 3];
    killed.iter().for_each(|at| stage.kill(*at));
    let notes = stage.notes(RECEIVER);
    notes.measure_pause();
    stage.open(RECEIVER, "late", 1, Duration::ZERO);
    eventually(|| match stage.log(RECEIVER).contains("waits for a majority of the founders") {
        true => Ok(()),
        false => Err(format!("nothing is said of waiting: {}", stage.log(RECEIVER))),
    })
    .await;
    stage.more(RECEIVER, 200).await;
    let pause = notes.longest_pause();
    assert!(!notes.has_opened("late"), "there was no majority");
    let restarted = Instant::now();
    killed.iter().for_each(|at| stage.start(*at));
    stage.opened(RECEIVER, "late").await;
    let heal = restarted.elapsed();
    stage.well(restarted).await;
    let score = stage.score("two of three founders killed", vec![heal]).await;
    assert_eq!(score.unknown, 0, "both ends live");
    score.within("the channel stood still", pause, SOON)
}

/// A receiver is killed: another one goes on at once. Healed when it does: the longest time in which it
/// got nothing. Then the killed one is started again.
pub async fn receiver(over: Over, form: Form) -> Score {
    let mut stage = flowing(over, tempo(), &form, 2).await;
    let notes = stage.notes(OTHER);
    notes.measure_pause();
    stage.kill(RECEIVER);
    stage.more(OTHER, 200).await;
    let pause = notes.longest_pause();
    let restarted = Instant::now();
    stage.start(RECEIVER);
    stage.receive(RECEIVER, NAME).await;
    stage.well(restarted).await;
    let score = stage.score("receiver killed", vec![pause]).await;
    assert!(score.unknown <= WINDOW, "{score}");
    score.within("the other receiver got nothing", pause, SOON)
}

/// A receiver is killed for good: once the time of its lanes is over, the fate of each message is known,
/// or known to be unknown. Healed then.
pub async fn receiver_for_good(over: Over, form: Form) -> Score {
    let tempo = Tempo { lane: Duration::from_secs(4) };
    let mut stage = flowing(over, tempo, &form, 2).await;
    let killed = Instant::now();
    stage.kill(RECEIVER);
    stage.more(OTHER, 200).await;
    stage.settle().await;
    let heal = killed.elapsed();
    stage.well(killed).await;
    let score = stage.score("receiver killed for good (lanes wait 4 s)", vec![heal]).await;
    assert!(score.unknown <= WINDOW, "{score}");
    score
}

/// A receiver's process does not run for a while: it is passed over until it does. Healed when it is
/// passed over.
pub async fn frozen(over: Over, form: Form) -> Score {
    let mut stage = Stage::new(over, tempo(), &form.program);
    stage.start_all(3, 3).await;
    for at in [RECEIVER, OTHER] {
        // So much room that only its silence can be why it gets no more.
        stage.open(at, NAME, 16_000, Duration::ZERO);
        stage.opened(at, NAME).await;
    }
    stage.flow(SENDER, NAME);
    stage.well(Instant::now()).await;
    let frozen = Instant::now();
    stage.freeze(RECEIVER);
    let mut held = Vec::new();
    while frozen.elapsed() < Duration::from_secs(4) {
        let ledger = stage.ledger(SENDER, NAME).await;
        held.push((frozen.elapsed(), ledger.in_flight));
        sleep(Duration::from_millis(10)).await;
    }
    let most = held.iter().map(|(_, held)| *held).max().unwrap_or_default();
    // What the other one has in hand goes up and down a little.
    let heal =
        held.iter().find(|(_, held)| *held + 20 >= most).map_or(Duration::MAX, |held| held.0);
    let thawed = Instant::now();
    stage.thaw(RECEIVER);
    stage.well(thawed).await;
    let score = stage.score("receiver frozen for 4 s", vec![heal]).await;
    assert_eq!(score.unknown, 0, "both ends live");
    score.within("it was chosen", heal, SOON)
}

/// A sender is killed: what its receiver had is delivered, without a gap, and its successor starts
/// clean. Healed when all is well, counted from the restart.
pub async fn sender(over: Over, form: Form) -> Score {
    const COUNT: u64 = 1000;
    let mut stage = Stage::new(over, tempo(), &form.program);
    stage.start_all(3, 2).await;
    stage.open(RECEIVER, NAME, 5000, Duration::from_millis(1));
    stage.opened(RECEIVER, NAME).await;
    let first = stage.send(SENDER, NAME, COUNT + 1, Duration::ZERO);
    stage.arrived(RECEIVER, NAME, first, COUNT + 1).await;
    let notes = stage.notes(RECEIVER);
    let nothing_left = notes.numbers_of(first).len() >= COUNT as usize;
    stage.kill(SENDER);
    eventually(|| match notes.numbers_of(first).len() as u64 {
        COUNT.. => Ok(()),
        count => Err(format!("{count} of {COUNT} were delivered")),
    })
    .await;
    let mut heal = Vec::new();
    let mut flows = vec![first];
    for _ in 0..form.repeats {
        let restarted = Instant::now();
        stage.start(SENDER);
        flows.push(stage.flow(SENDER, NAME));
        heal.push(stage.well(restarted).await);
        stage.more(RECEIVER, 100).await;
        stage.kill(SENDER);
    }
    let restarted = Instant::now();
    stage.start(SENDER);
    stage.flow(SENDER, NAME);
    heal.push(stage.well(restarted).await);
    for flow in flows {
        let numbers = notes.numbers_of(flow);
        assert!(
            numbers.iter().copied().eq(0..numbers.len() as u64),
            "{flow} has gaps: {numbers:?}"
        );
    }
    let mut score = stage.score("sender killed", heal).await;
    if nothing_left {
        score.late.push("all was delivered before the sender was killed".into());
    }
    score
}

/// All nodes are killed at once: after the restart the cluster is there again, with the same members.
/// Healed then.
pub async fn all(over: Over, form: Form) -> Score {
    let mut stage = flowing(over, tempo(), &form, 1).await;
    let members = stage.ids();
    (0..5).for_each(|at| stage.kill(at));
    let restarted = Instant::now();
    (0..5).for_each(|at| stage.start(at));
    let heal = stage.well(restarted).await;
    assert_eq!(stage.ids(), members);
    stage.receive(RECEIVER, NAME).await;
    let begun = Instant::now();
    stage.flow(SENDER, NAME);
    stage.well(begun).await;
    let score = stage.score("all killed at once", vec![heal]).await;
    assert_eq!(score.unknown, 0, "{score}");
    score.within("they were not back", heal, ALL_BACK)
}

/// Again and again one or two of all nodes are killed, whichever, and started again soon. Healed when
/// all is well, counted from the restart.
pub async fn random(over: Over, form: Form) -> Score {
    let mut chance = fastrand::Rng::with_seed(form.seed);
    let mut stage = flowing(over, tempo(), &form, 2).await;
    let mut heal = Vec::new();
    for _ in 0..form.kills {
        let mut victims = chance.choose_multiple(0..=OTHER, 1 + chance.clone().usize(..2));
        victims.sort_unstable();
        sleep(Duration::from_millis(chance.u64(..200))).await;
        victims.iter().for_each(|at| stage.kill(*at));
        sleep(Duration::from_millis(chance.u64(..500))).await;
        let restarted = Instant::now();
        for at in &victims {
            stage.start(*at);
            match *at {
                SENDER => drop(stage.flow(SENDER, NAME)),
                RECEIVER | OTHER => stage.open(*at, NAME, WINDOW as usize, Duration::ZERO),
                _ => {}
            }
        }
        stage.opened(RECEIVER, NAME).await;
        stage.opened(OTHER, NAME).await;
        heal.push(stage.well(restarted).await);
    }
    stage.score("random kills", heal).await
}
