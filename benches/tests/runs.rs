//! Each workload runs, with real processes, though shortly; and what it measured is shown.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

fn run(args: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_dchan-benches");
    Command::new(program).args(args).args(["--secs", "0.2"]).output().unwrap()
}

/// The rows of a good run, each with these figures of so many repetitions.
fn rows(workloads: &str, contenders: &str, reps: usize, figures: &[&str]) -> Vec<Value> {
    let args = ["--workloads", workloads, "--contenders", contenders, "--reps", &reps.to_string()];
    let out = run(&[&["--json"][..], &args].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let all: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(all["repetitions"], reps);
    let rows = all["rows"].as_array().unwrap().clone();
    for row in &rows {
        for figure in figures {
            let found = &row["figures"][*figure];
            assert_eq!(found["values"].as_array().map(Vec::len), Some(reps), "{figure} of {row}");
            let [low, median, high] = [&found["least"], &found["median"], &found["most"]]
                .map(|value| value.as_f64().unwrap());
            assert!(low <= median && median <= high, "{figure} of {row}");
        }
    }
    rows
}

const FLOW: [&str; 4] =
    ["messages_per_s", "cpu_s_per_million", "sender_peak_mib", "receiver_peak_mib"];

#[test]
fn contenders_are_compared_with_the_first() {
    let rows = rows("throughput", "bare,grpc", 2, &FLOW);
    // Four sizes.
    assert_eq!(rows.len(), 8);
    for pair in rows.chunks(2) {
        assert_eq!(pair[0]["bytes"], pair[1]["bytes"]);
        assert_eq!(pair[0]["figures"]["messages_per_s"]["of_the_first"]["median"], 1.0);
    }
}

#[test]
fn many_processes_at_one_time() {
    let rows = rows("fan-out,fan-in,stopped", "tcp", 1, &FLOW);
    assert_eq!(rows.len(), 4);
    assert!(rows[0]["figures"]["uneven_percent"]["least"].as_f64() >= Some(0.0));
    assert_eq!(rows[3]["case"], "one stopped");
}

#[test]
fn receipts() {
    let rows = rows("tracked", "tcp", 1, &FLOW);
    let cases: Vec<_> = rows.iter().map(|row| row["case"].as_str().unwrap()).collect();
    assert_eq!(cases, ["0", "1", "1000"]);
}

#[test]
fn clusters() {
    let times = ["elected_ms", "failover_ms", "first_message_ms"];
    for row in rows("times", "tcp", 1, &times) {
        assert!(times.iter().all(|time| row["figures"][*time]["least"].as_f64() > Some(0.0)));
    }
    let memory = ["kib_per_link", "kib_per_namespace", "kib_per_lane", "wake_ups_per_s"];
    rows("memory", "tcp", 1, &memory);
}

#[test]
fn what_cannot_be_run_is_left_out_with_a_line() {
    let out = run(&["--workloads", "ping,tracked", "--contenders", "bare", "--reps", "1"]);
    let (said, table) =
        (String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout));
    assert!(out.status.success(), "{said}");
    let line =
        "bare is left out of tracked, 1024 bytes: bare is no dchan channel between processes";
    assert!(said.lines().any(|said| said == line), "{said}");
    assert!(table.starts_with("| workload | bytes | contender | p50 µs |"), "{table}");
}

#[test]
fn a_drawing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plot.svg");
    let name = file.to_str().unwrap();
    let out = run(&["--sizes", "16", "--contenders", "bare", "--reps", "3", "--plot", name]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let drawn = std::fs::read_to_string(&file).unwrap();
    assert!(
        drawn.contains("throughput, 16 bytes: messages/s") && drawn.contains("bare"),
        "{drawn}"
    );
}
