//! Conformance suite of dchan.
