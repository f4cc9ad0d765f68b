//! Processes that are killed.

#![allow(clippy::print_stdout)]

use dchan_conformance::cluster::Kind;
use dchan_faults::{Ground, Over, kills};

const ACTOR: &str = env!("CARGO_BIN_EXE_dchan-actor");

/// Makes each scenario a test over each transport.
macro_rules! over_each_transport {
    ($($name:ident),* $(,)?) => {
        mod tcp {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(super::over(super::Kind::Tcp)).await;
                }
            )*
        }
        mod grpc {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(super::over(super::Kind::Grpc)).await;
                }
            )*
        }
    };
}

over_each_transport![
    the_leader_is_killed,
    two_of_three_founders_are_killed,
    a_receiver_is_killed,
    a_receiver_is_killed_for_good,
    a_receiver_is_frozen,
    a_sender_is_killed,
    all_are_killed_at_once,
    whoever_is_killed_comes_back,
];

fn over(kind: Kind) -> Over {
    dchan_faults::log("dchan_faults=warn");
    Over { kind, ground: Ground::Processes }
}

async fn the_leader_is_killed(over: Over) {
    kills::leader(over, ACTOR).await.check();
}

async fn two_of_three_founders_are_killed(over: Over) {
    kills::quorum(over, ACTOR).await.check();
}

async fn a_receiver_is_killed(over: Over) {
    kills::receiver(over, ACTOR).await.check();
}

async fn a_receiver_is_killed_for_good(over: Over) {
    kills::receiver_for_good(over, ACTOR).await.check();
}

async fn a_receiver_is_frozen(over: Over) {
    kills::frozen(over, ACTOR).await.check();
}

async fn a_sender_is_killed(over: Over) {
    kills::sender(over, ACTOR).await.check();
}

async fn all_are_killed_at_once(over: Over) {
    kills::all(over, ACTOR).await.check();
}

/// `DCHAN_KILLS` says how many times, and `DCHAN_SEED` who.
async fn whoever_is_killed_comes_back(over: Over) {
    let from_env = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = from_env("DCHAN_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("DCHAN_SEED={seed}");
    let rounds = from_env("DCHAN_KILLS").unwrap_or(6);
    kills::random(over, ACTOR, rounds as usize, seed).await.check();
}
