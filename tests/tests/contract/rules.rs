//! The contract and its checks name the same rules.

use std::collections::BTreeSet;

use dchan_conformance::{
    membership,
    rule::{self, Failure, Rule, contract_rules},
    transport,
};

#[test]
fn every_rule_is_checked_and_every_check_has_a_rule() {
    let rules: BTreeSet<String> = contract_rules().into_iter().map(|(id, _)| id).collect();
    let checks: BTreeSet<String> = transport::RULES
        .iter()
        .map(Rule::id)
        .chain(membership::RULES.iter().map(Rule::id))
        .collect();
    assert!(rules.len() >= 44, "the contract could not be read: {rules:?}");
    let unchecked: Vec<_> = rules.difference(&checks).collect();
    let unwritten: Vec<_> = checks.difference(&rules).collect();
    assert!(unchecked.is_empty(), "rules that no test checks: {unchecked:?}");
    assert!(unwritten.is_empty(), "tests that cite no rule: {unwritten:?}");
}

#[tokio::test]
async fn a_failure_says_the_rule_what_was_seen_and_the_seed() {
    let fails = async { Err(Failure("two frames came".into())) };
    let said = rule::check("t_once_1", 4711, fails).await.expect_err("it fails").to_string();
    for part in ["T-ONCE-1: No frame arrives twice", "two frames came", "DCHAN_SEED=4711"] {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
    let panics = async { panic!("{} frames came", "three") };
    let said = rule::check("t_once_1", 4711, panics).await.expect_err("it panics").to_string();
    assert!(said.contains("three frames came") && said.contains("4711"), "{said}");
}
