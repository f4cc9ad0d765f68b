//! `docs/operations.md` says what the code does.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use dchan::Node;

const HANDBOOK: &str = include_str!("../../docs/operations.md");

/// The rows of the tables whose first cell is code, as their first two cells.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    rows_of(HANDBOOK)
}

fn rows_of(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` |")?;
        Some((name, rest.split('|').next()?.trim()))
    })
}

/// What is printed of a builder, flat: `config.times.heartbeat` and `250ms`.
fn defaults() -> BTreeMap<String, String> {
    let printed = format!("{:#?}", Node::builder("127.0.0.1:0"));
    let (mut path, mut values) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    for line in printed.lines().skip(1) {
        let line = line.trim().trim_end_matches(',');
        let (name, value) = line.split_once(": ").unwrap_or(("", line));
        if value.ends_with(['{', '(']) {
            path.push(name);
        } else if matches!(value, "}" | ")") {
            path.pop();
        } else {
            let name = path.iter().copied().chain((!name.is_empty()).then_some(name));
            let name = name.collect::<Vec<_>>().join(".");
            let name = name.trim_start_matches("protection.").trim_end_matches('.').to_owned();
            values.entry(name).or_default().push(value.to_owned());
        }
    }
    values.into_iter().map(|(name, values)| (name, values.join(", "))).collect()
}

/// A value of the handbook as code would print it.
fn printed(value: &str) -> String {
    if let Some((first, second)) = value.split_once(", ") {
        return format!("{}, {}", printed(first), printed(second));
    }
    let plain = value.replace(',', "");
    match plain.split_once(' ') {
        Some((number, "KiB")) => (number.parse::<u64>().unwrap() << 10).to_string(),
        Some((number, "MiB")) => (number.parse::<u64>().unwrap() << 20).to_string(),
        Some((number, unit)) => format!("{number}{unit}"),
        None => plain,
    }
}

#[test]
fn every_setting_is_listed_with_its_default() {
    let mut code = defaults();
    // Not settings of their own.
    code.retain(|name, _| name != "listen" && name != "membership");
    for value in code.values_mut() {
        if matches!(value.as_str(), "None" | "[]" | "\"\"") {
            "none".clone_into(value);
        }
        *value = value.trim_matches('"').to_owned();
    }
    for seed in ["config.seed", "raft.seed"] {
        code.get_mut(seed).unwrap().replace_range(.., "random");
    }
    let (_, settings) = HANDBOOK.split_once("\n## Settings\n").unwrap();
    let (settings, _) = settings.split_once("\n### The command line\n").unwrap();
    let listed: BTreeMap<String, String> =
        rows_of(settings).map(|(name, value)| (name.to_owned(), printed(value))).collect();
    assert_eq!(listed, code);
}

#[test]
fn every_option_is_listed() {
    let mut options = BTreeSet::new();
    for command in ["node", "recv", "send"] {
        let help = Command::new(env!("CARGO_BIN_EXE_dchan")).args([command, "--help"]).output();
        let help = String::from_utf8(help.unwrap().stdout).unwrap();
        let words = help.lines().filter_map(|line| {
            let line = line.trim_start().trim_start_matches("-v, ");
            line.starts_with("--").then(|| line.split([' ', '.']).next().unwrap().to_owned())
        });
        options.extend(words);
    }
    options.retain(|option| option != "--help" && option != "--version");
    assert!(options.contains("--listen") && options.contains("--count"), "{options:?}");
    let listed: BTreeSet<String> =
        rows().map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("--")).collect();
    assert_eq!(listed, options);
}

#[tokio::test]
async fn every_metric_is_listed() {
    let node = Node::builder("127.0.0.1:0").start().await.unwrap();
    let text = node.metrics().to_prometheus();
    node.shutdown().await.unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let written: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    let listed: BTreeSet<&str> = rows()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("dchan_") && is_word(name))
        .collect();
    assert_eq!(listed, written);
}

#[test]
fn every_kind_of_breach_is_listed() {
    let table = HANDBOOK.split_once("\n| kind |").expect("the table").1;
    let names = table.lines().skip(2).map_while(|line| line.strip_prefix("| `"));
    let listed: Vec<&str> = names.filter_map(|rest| rest.split('`').next()).collect();
    let kinds: Vec<&str> = dchan::Breach::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(listed, kinds);
}

/// Other tables begin with a metric and more.
fn is_word(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}
