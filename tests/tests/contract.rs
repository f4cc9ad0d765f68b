//! The contract and its checks name the same rules.

use std::collections::BTreeSet;

use dchan_conformance::transport::{RULES, contract_rules};

#[test]
fn every_rule_is_checked_and_every_check_has_a_rule() {
    let rules: BTreeSet<String> = contract_rules().into_iter().map(|(id, _)| id).collect();
    let checks: BTreeSet<String> =
        RULES.iter().map(dchan_conformance::transport::Rule::id).collect();
    assert!(rules.len() >= 30, "the contract could not be read: {rules:?}");
    let unchecked: Vec<_> = rules.difference(&checks).collect();
    let unwritten: Vec<_> = checks.difference(&rules).collect();
    assert!(unchecked.is_empty(), "rules that no test checks: {unchecked:?}");
    assert!(unwritten.is_empty(), "tests that cite no rule: {unwritten:?}");
}
