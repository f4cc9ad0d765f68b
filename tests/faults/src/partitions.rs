//! The network is parted, without a word to either side.
//!
//! Three founders; then a sender, and two receivers. One of the founders that does not lead sends, too.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Form, Over, Score, Stage, Tempo};

const SENDER: usize = 3;
const RECEIVER: usize = 4;
const OTHER: usize = 5;
const ALL: std::ops::RangeInclusive<usize> = 0..=OTHER;

/// The channel.
const NAME: &str = "n";

/// Longer than it takes to be given up as a connection, and to be taken off the list.
const LONG: Duration = Duration::from_secs(4);

/// Longer than any break but one.
fn tempo() -> Tempo {
    Tempo { lane: Duration::from_secs(30) }
}

/// A cluster in which messages flow.
struct Play {
    stage: Stage,
    leader: usize,
    /// A founder that does not lead, and sends.
    follower: usize,
    begun: Instant,
}

impl Play {
    async fn begin(over: Over, tempo: Tempo, form: &Form) -> Self {
        let mut stage = Stage::new(over, tempo, &form.program);
        stage.start_all(3, 3).await;
        stage.receive(RECEIVER, NAME).await;
        stage.receive(OTHER, NAME).await;
        let leader = stage.leader().await;
        let follower = (leader + 1) % 3;
        let begun = Instant::now();
        stage.flow(SENDER, NAME);
        stage.flow(follower, NAME);
        stage.well(begun).await;
        Self { stage, leader, follower, begun: Instant::now() }
    }

    /// The leader, a sender and a receiver on one side.
    fn is_in_minority(&self, at: usize) -> bool {
        [self.leader, SENDER, RECEIVER].contains(&at)
    }

    /// Parts the two sides.
    fn part(&self, here: impl Fn(usize) -> bool) {
        pairs().filter(|(a, b)| here(*a) != here(*b)).for_each(|(a, b)| self.part_pair(a, b));
    }

    fn part_pair(&self, a: usize, b: usize) {
        self.stage.black_hole(a, b);
        self.stage.black_hole(b, a);
    }

    /// Heals the whole network, and waits until all is well.
    async fn heal(&self) -> Duration {
        let healed = Instant::now();
        pairs().for_each(|(a, b)| self.stage.heal(a, b));
        self.stage.well(healed).await
    }

    /// Both ends of everything lived, and no break was as long as the time of a lane: unless the machine is
    /// so slow that all of it took as long.
    async fn end(mut self, fault: impl Into<String>, heal: Vec<Duration>) -> Score {
        let all = self.begun.elapsed();
        let score = self.stage.score(fault, heal).await;
        if score.unknown == 0 {
            return score;
        }
        let score = score.within("links may have been down", all, tempo().lane);
        assert!(!score.late.is_empty(), "{score}");
        score
    }
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    ALL.flat_map(|a| (a + 1..=OTHER).map(move |b| (a, b)))
}

/// The leader is on the smaller side. Messages flow on both sides.
pub async fn minority(over: Over, form: Form) -> Score {
    let play = Play::begin(over, tempo(), &form).await;
    play.part(|at| play.is_in_minority(at));
    sleep(LONG).await;
    play.stage.not_listed(play.follower, play.leader).await;
    play.stage.more(RECEIVER, 200).await;
    play.stage.more(OTHER, 200).await;
    let heal = play.heal().await;
    play.end("majority and minority", vec![heal]).await
}

/// The leader is cut off from everybody.
pub async fn leader(over: Over, form: Form) -> Score {
    let play = Play::begin(over, tempo(), &form).await;
    play.part(|at| at == play.leader);
    sleep(LONG).await;
    play.stage.not_listed(play.follower, play.leader).await;
    play.stage.more(RECEIVER, 200).await;
    play.stage.more(OTHER, 200).await;
    let heal = play.heal().await;
    play.end("leader cut off", vec![heal]).await
}

/// What one node says is lost, though it hears the other: for a leader, a sender and a receiver.
pub async fn one_way(over: Over, form: Form) -> Score {
    let play = Play::begin(over, tempo(), &form).await;
    let mut heal = Vec::new();
    for to in [play.follower, SENDER] {
        play.stage.black_hole(play.leader, to);
    }
    sleep(LONG).await;
    heal.push(play.heal().await);
    for (from, to) in [(SENDER, RECEIVER), (RECEIVER, SENDER)] {
        play.stage.black_hole(from, to);
        sleep(LONG).await;
        play.stage.more(OTHER, 200).await;
        heal.push(play.heal().await);
    }
    play.end("one way", heal).await
}

/// The two sides are parted and joined every half second. Lanes wait for longer than all of it takes: half
/// a second is short for a link to come up, and a busy machine parts slowly.
pub async fn flapping(over: Over, form: Form) -> Score {
    let play = Play::begin(over, Tempo { lane: Duration::from_secs(120) }, &form).await;
    for _ in 0..form.flaps {
        play.part(|at| play.is_in_minority(at));
        sleep(Duration::from_millis(500)).await;
        pairs().for_each(|(a, b)| play.stage.heal(a, b));
        sleep(Duration::from_millis(500)).await;
    }
    let heal = play.heal().await;
    play.end("flapping each 500 ms", vec![heal]).await
}

/// Nothing of anybody comes through to anybody.
pub async fn black_hole(over: Over, form: Form) -> Score {
    let play = Play::begin(over, tempo(), &form).await;
    pairs().for_each(|(a, b)| play.part_pair(a, b));
    sleep(form.short_hole).await;
    let heal = play.heal().await;
    play.end(format!("black hole for {:?}", form.short_hole), vec![heal]).await
}

/// The same for longer than a lane waits, so that the fate of what was under way is unknown.
pub async fn long_black_hole(over: Over, form: Form) -> Score {
    let lane = tempo().lane.min(form.long_hole / 2);
    let mut play = Play::begin(over, Tempo { lane }, &form).await;
    pairs().for_each(|(a, b)| play.part_pair(a, b));
    sleep(form.long_hole).await;
    let heal = play.heal().await;
    let fault = format!("black hole for {:?} (lanes wait {lane:?})", form.long_hole);
    let score = play.stage.score(fault, vec![heal]).await;
    // Two windows, each shared by two senders.
    assert!((1..=200).contains(&score.unknown), "{score}");
    score
}

/// The leader misses a receiver and takes it off the list, though its senders have links to it.
pub async fn removed(over: Over, form: Form) -> Score {
    let play = Play::begin(over, tempo(), &form).await;
    let mut heal = Vec::new();
    for _ in 0..form.repeats {
        play.part_pair(play.leader, RECEIVER);
        play.stage.not_listed(play.follower, RECEIVER).await;
        heal.push(play.heal().await);
    }
    play.end("live receiver removed", heal).await
}
