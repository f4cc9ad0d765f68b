//! Which scenarios there are, and how to play many.

use std::{
    any::Any,
    collections::VecDeque,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    pin::Pin,
    thread,
    time::Duration,
};

use dchan_conformance::cluster::Kind;
use parking_lot::Mutex;

use crate::{Ground, Over, Score, Switch, Table, kills, partitions};

/// How thoroughly scenarios are played.
#[derive(Clone, Debug)]
pub struct Form {
    /// This package's program, which actors with a process of their own run.
    pub program: PathBuf,
    /// How often a fault that takes a moment is repeated in one run.
    pub repeats: usize,
    /// How many random kills there are.
    pub kills: usize,
    /// How often a flapping network is parted.
    pub flaps: usize,
    /// How long a black hole lasts that lanes outlive.
    pub short_hole: Duration,
    /// How long a black hole lasts that they do not.
    pub long_hole: Duration,
    /// Where all chance of the random kills comes from.
    pub seed: u64,
}

impl Form {
    /// A form that takes seconds.
    pub fn short(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            repeats: 1,
            kills: 3,
            flaps: 4,
            short_hole: Duration::from_secs(5),
            long_hole: Duration::from_secs(8),
            seed: fastrand::u64(..),
        }
    }

    /// A form that takes as long as it takes.
    pub fn full(program: impl Into<PathBuf>) -> Self {
        Self {
            repeats: 3,
            kills: 100,
            flaps: 20,
            short_hole: Duration::from_secs(15),
            long_hole: Duration::from_secs(600),
            ..Self::short(program)
        }
    }
}

type Playing = Pin<Box<dyn Future<Output = Score>>>;

/// Something that happens to a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    needs: Needs,
    play: fn(Over, Form) -> Playing,
}

/// What can be done to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// They can be killed.
    Processes,
    /// They can be parted.
    Network,
}

macro_rules! scenarios {
    ($needs:ident: $($name:literal => $play:path),* $(,)?) => {
        [$(Scenario {
            name: $name,
            needs: Needs::$needs,
            play: |over, form| Box::pin($play(over, form)),
        }),*]
    };
}

impl Scenario {
    /// All there are.
    pub fn all() -> Vec<Self> {
        let kills = scenarios![Processes:
            "leader killed" => kills::leader,
            "two of three founders killed" => kills::quorum,
            "receiver killed" => kills::receiver,
            "receiver killed for good" => kills::receiver_for_good,
            "receiver frozen" => kills::frozen,
            "sender killed" => kills::sender,
            "all killed at once" => kills::all,
            "random kills" => kills::random,
        ];
        let partitions = scenarios![Network:
            "majority and minority" => partitions::minority,
            "leader cut off" => partitions::leader,
            "one way" => partitions::one_way,
            "flapping each 500 ms" => partitions::flapping,
            "black hole" => partitions::black_hole,
            "long black hole" => partitions::long_black_hole,
            "live receiver removed" => partitions::removed,
        ];
        kills.into_iter().chain(partitions).collect()
    }

    /// What it needs.
    pub fn needs(self) -> Needs {
        self.needs
    }

    /// Whether one run is as good as many.
    pub fn is_long(self) -> bool {
        matches!(self.name, "random kills" | "long black hole")
    }

    /// Over a transport, where its nodes must be for it. None: they cannot be killed in memory.
    pub fn over(self, kind: Kind) -> Option<Over> {
        let ground = match (self.needs, kind) {
            (Needs::Processes, Kind::Memory) => return None,
            (Needs::Processes, _) => Ground::Processes,
            (Needs::Network, Kind::Memory) => Ground::Within,
            (Needs::Network, _) if Switch::is_permitted() => Ground::Namespaces,
            (Needs::Network, _) => Ground::Within,
        };
        Some(Over { kind, ground })
    }
}

/// One scenario over one transport.
#[derive(Clone, Debug)]
pub struct Play {
    /// What happens.
    pub scenario: Scenario,
    /// To whom.
    pub over: Over,
    /// How thoroughly.
    pub form: Form,
}

impl Play {
    /// How often a scenario is played that was late: what is slow by itself is so each time, and a machine
    /// that is busy with others is so now and then.
    const ATTEMPTS: usize = 5;

    fn run(self) -> Score {
        let mut attempt = 1;
        loop {
            let score = self.run_once();
            if score.late.is_empty() || !score.is_right() || attempt == Self::ATTEMPTS {
                return score;
            }
            tracing::warn!("once more: {score}");
            attempt += 1;
        }
    }

    fn run_once(&self) -> Score {
        let Self { scenario, over, form } = self;
        over.runtime().block_on((scenario.play)(*over, form.clone()))
    }
}

/// Plays all, so many at the same time. Those that fail are in the table, too.
pub fn play(plays: impl IntoIterator<Item = Play>, at_once: usize) -> Table {
    let queue = Mutex::new(plays.into_iter().collect::<VecDeque<_>>());
    let table = Mutex::new(Table::default());
    let next = || queue.lock().pop_front();
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(play) = next() {
                    let (name, over) = (play.scenario.name, play.over);
                    match catch_unwind(AssertUnwindSafe(|| play.run())) {
                        Ok(score) => table.lock().add(score),
                        Err(panic) => {
                            let reason = said(&*panic);
                            table.lock().add_failure(format!("{name} over {over}: {reason}"));
                        }
                    }
                }
            });
        }
    });
    table.into_inner()
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}
