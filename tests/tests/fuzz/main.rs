//! The fuzzers' entry functions without a fuzzer: each gets the corpus in `fuzz/corpus`, and mutations of
//! it. `DCHAN_FUZZ=n` sets how many, `DCHAN_SEED` where their chance comes from.
#![allow(clippy::unwrap_used)]

mod mutate;
mod seeds;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use mutate::mutation;

/// How many mutations of a corpus each target gets.
const MUTATIONS: u64 = 5_000;

type Target = fn(&[u8]);

macro_rules! targets {
    ($($name:ident: $entry:path),* $(,)?) => {
        const TARGETS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                smoke(stringify!($name), $entry);
            }
        )*
    };
}

targets! {
    wire: dchan_core::fuzzing::wire,
    handshake: dchan_core::fuzzing::handshake,
    lane_events: dchan_core::fuzzing::lane_events,
    chunk_assembly: dchan_core::fuzzing::chunk_assembly,
    raft_payloads: dchan_raft::fuzzing::raft_payloads,
    view_changes: dchan_raft::fuzzing::view_changes,
}

fn directory(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(of)
}

/// What is in the corpus, always in the same order.
fn corpus(of: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory(of)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn smoke(name: &str, target: Target) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    corpus.iter().for_each(|input| check(target, input, "of the corpus"));
    let seed = number("DCHAN_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..number("DCHAN_FUZZ").unwrap_or(MUTATIONS) {
        let input = mutation(&corpus, &mut chance);
        check(target, &input, &format!("of DCHAN_SEED={seed}"));
    }
}

/// Runs it, and shows the input if it fails.
fn check(target: Target, input: &[u8], from: &str) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("it fails with {hex}, {from}");
    }
}

#[test]
fn each_fuzzer_has_a_corpus_and_a_test() {
    let names = |at: &str| -> Vec<String> {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(at));
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = entries.unwrap().map(|entry| stem(entry.unwrap().path())).collect();
        names.sort();
        names
    };
    let mut targets: Vec<_> = TARGETS.iter().map(|name| (*name).to_owned()).collect();
    targets.sort();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
}

/// Writes what honest nodes send into the corpus: after a change of the wire format.
#[test]
#[ignore = "it changes files"]
fn write_the_seeds() {
    for (at, (name, seed)) in seeds::all().into_iter().enumerate() {
        fs::create_dir_all(directory(name)).unwrap();
        fs::write(directory(name).join(format!("seed-{at:02}")), seed).unwrap();
    }
}
