use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::{
    Dropped, MembershipStatus, Namespace, NodeId, Version,
    metrics::{ListMetrics, QueueMetrics, RetainedMetrics, RoundTrips, Traffic},
};

/// A family, as a reader of the format sees it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads the text by the rules of the format, and panics if it breaks one.
fn read(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends, too");
    let mut families = BTreeMap::<String, Family>::new();
    let mut helped = HashSet::new();
    let mut series = HashSet::new();
    let mut open = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{name} is told twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(helped.contains(name) && is_name(name), "{name}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            let family = Family { kind: kind.into(), ..Family::default() };
            assert!(families.insert(name.into(), family).is_none(), "{name} comes twice");
            open = name.into();
        } else {
            let (name, labels, value) = sample(line);
            let family = families.get_mut(&open).expect("a type comes first");
            let suffixes: &[&str] =
                if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            let fits = suffixes.iter().any(|suffix| name == format!("{open}{suffix}"));
            assert!(fits, "{name} stands among {open}");
            assert!(series.insert((name.clone(), labels.clone())), "{line} comes twice");
            family.samples.push((name, labels, value));
        }
    }
    families
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).expect("a value");
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label), "{label:?}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{label} comes twice");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect("a blank before the value");
    (name.into(), labels, value.parse().expect("a number"))
}

/// The text up to the closing quote, without escapes, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut escape) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match (escape, c) {
            (true, 'n') => value.push('\n'),
            (true, '\\' | '"') => value.push(c),
            (true, other) => panic!("\\{other} is no escape"),
            (false, '\\') => {}
            (false, '"') => return (value, &text[at + 1..]),
            (false, c) => value.push(c),
        }
        escape = !escape && c == '\\';
    }
    panic!("a label does not end")
}

fn peer() -> PeerMetrics {
    let mut round_trips = RoundTrips::default();
    for micros in [90, 3000, 9_000_000] {
        round_trips.record(Duration::from_micros(micros));
    }
    let counts = |word| BTreeMap::from([(word, 3)]);
    PeerMetrics {
        addr: Some("10.0.0.1:7001".parse().unwrap()),
        up: true,
        suspect: false,
        sent: Traffic { frames: 1, bytes: 2, messages: 3 },
        received: Traffic { frames: 4, bytes: 5, messages: 6 },
        round_trips,
        links: counts("dialled"),
        cuts: counts("silent"),
        dials_failed: counts("unreachable"),
        protocol_errors: counts("order"),
        given_up: 1,
        queue: QueueMetrics {
            unconfirmed: 7,
            window: 8,
            control: 9,
            frames: 10,
            lanes: 11,
            waiting: 15,
        },
        lanes_out: 12,
        lanes_in: 13,
        lanes_over: 14,
    }
}

fn metrics() -> Metrics {
    let dropped = Dropped { decode: 3, no_receiver: 4 };
    let ledger = Ledger { accepted: 15, taken: 1, unknown: 2, dropped, in_flight: 5, rerouted: 6 };
    let sample = |name, label| Sample { name, help: "Some\nlog.", label, value: 0.5 };
    let status = MembershipStatus {
        samples: vec![
            sample("dchan_raft_malformed_total", Some(("what", "question"))),
            sample("dchan_raft_malformed_total", Some(("what", "answer"))),
            sample("dchan_raft_log_bytes", None),
        ],
        ..MembershipStatus::default()
    };
    let namespaces = ["orders", "a \"quoted\\\nname\""].map(|name| {
        let numbers = NamespaceMetrics { ledger, waiting: 2, ..NamespaceMetrics::default() };
        (Namespace::new(name).unwrap(), numbers)
    });
    Metrics {
        node: NodeId(1),
        uptime: Duration::from_millis(1500),
        live: true,
        ready: false,
        tasks: 9,
        handshakes_failed: BTreeMap::from([("broken", 1), ("version", 2)]),
        breaches: BTreeMap::from([("malformed", 1), ("version", 2)]),
        list: ListMetrics {
            version: Version(4),
            leader: Some(NodeId(1)),
            nodes: 3,
            receivers: 2,
            status,
        },
        peers: [2, 3].map(|id| (NodeId(id), peer())).into(),
        namespaces: namespaces.into(),
        retained: RetainedMetrics { bytes: 16, limit: 17, waiting: 18 },
        ledger,
    }
}

fn value(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect();
    let found = families.values().flat_map(|family| &family.samples);
    let mut found = found.filter(|(n, l, _)| n == name && *l == labels);
    found.next().unwrap_or_else(|| panic!("no {name} {labels:?}")).2
}

#[test]
fn the_text_keeps_the_rules_of_the_format() {
    let families = read(&metrics().to_prometheus());
    let empty: Vec<_> = families.iter().filter(|(_, f)| f.samples.is_empty()).collect();
    assert!(empty.is_empty(), "{empty:?}");
    let value = |name, labels: &[_]| value(&families, name, labels);
    assert_eq!(value("dchan_uptime_seconds", &[]), 1.5);
    assert_eq!((value("dchan_live", &[]), value("dchan_ready", &[])), (1.0, 0.0));
    assert_eq!(value("dchan_leads", &[]), 1.0);
    assert_eq!(value("dchan_handshakes_failed_total", &[("reason", "version")]), 2.0);
    let peer = ("peer", "0000000000000002");
    assert_eq!(value("dchan_received_messages_total", &[peer]), 6.0);
    assert_eq!(value("dchan_link_cuts_total", &[peer, ("reason", "silent")]), 3.0);
    assert_eq!(value("dchan_queue_lanes", &[peer]), 11.0);
    let quoted = ("namespace", "a \"quoted\\\nname\"");
    assert_eq!(value("dchan_sends_waiting", &[quoted]), 2.0);
    assert_eq!(value("dchan_dropped_messages_total", &[quoted, ("reason", "decode")]), 3.0);
    assert_eq!(value("dchan_node_in_flight_messages", &[]), 5.0);
    assert_eq!(value("dchan_raft_malformed_total", &[("what", "answer")]), 0.5);
}

#[test]
fn buckets_add_up_to_the_count() {
    let families = read(&metrics().to_prometheus());
    let samples = &families["dchan_round_trip_seconds"].samples;
    for peer in ["0000000000000002", "0000000000000003"] {
        let of_peer = || samples.iter().filter(|(_, labels, _)| labels["peer"] == peer);
        let buckets: Vec<_> = of_peer()
            .filter(|(name, ..)| name.ends_with("_bucket"))
            .map(|(_, labels, count)| (labels["le"].parse::<f64>().unwrap(), *count))
            .collect();
        assert!(buckets.is_sorted(), "{buckets:?}");
        assert_eq!(buckets[0], (0.0001, 1.0));
        assert_eq!(*buckets.last().unwrap(), (f64::INFINITY, 3.0));
        let only = |name| of_peer().find(|(n, ..)| n == name).unwrap().2;
        assert_eq!(only("dchan_round_trip_seconds_count"), 3.0);
        assert!((only("dchan_round_trip_seconds_sum") - 9.00309).abs() < 1e-9);
    }
}
