//! The text format of Prometheus, version 0.0.4.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
    time::Duration,
};

use super::{Histogram, Metrics, NamespaceMetrics, PeerMetrics, RetainedMetrics};
use crate::{Ledger, Sample};

/// What a family of samples is.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Writes families: all samples of one name together, behind what the name means.
struct Text(String);

type Label<'a> = (&'static str, &'a dyn Display);

pub(super) fn text(metrics: &Metrics) -> String {
    let mut text = Text(String::new());
    text.node(metrics);
    text.list(metrics);
    text.traffic(metrics);
    text.links(metrics);
    text.queues(metrics);
    text.namespaces(metrics);
    text.0
}

impl Text {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {}", escaped(help, false)));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        let pairs = labels.iter().map(|(label, value)| {
            let value = value.to_string();
            format!("{label}=\"{}\"", escaped(&value, true))
        });
        let pairs = pairs.collect::<Vec<_>>().join(",");
        match pairs.as_str() {
            "" => self.line(format_args!("{name} {value}")),
            pairs => self.line(format_args!("{name}{{{pairs}}} {value}")),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    // ---- the node ----

    fn node(&mut self, metrics: &Metrics) {
        use Kind::{Counter, Gauge};
        self.family("dchan_node_info", Gauge, "Always 1: the label is the id of the node.");
        self.sample("dchan_node_info", &[("node", &metrics.node)], 1);
        let uptime = metrics.uptime.as_secs_f64();
        self.one("dchan_uptime_seconds", Gauge, "Time since the node started.", uptime);
        let [live, ready] = [metrics.live, metrics.ready].map(u8::from);
        self.one("dchan_live", Gauge, "Whether the node runs.", live);
        self.one("dchan_ready", Gauge, "Whether the node is part of its cluster.", ready);
        self.one("dchan_tasks", Gauge, "Tasks of the node.", metrics.tasks);
        let RetainedMetrics { bytes, limit, waiting } = metrics.retained;
        self.one("dchan_retained_bytes", Gauge, "Bytes held for receivers elsewhere.", bytes);
        self.one("dchan_retained_limit_bytes", Gauge, "How many that may be.", limit);
        self.one(
            "dchan_retained_lanes_waiting",
            Gauge,
            "Lanes that wait for a part of it.",
            waiting,
        );
        let name = "dchan_handshakes_failed_total";
        self.family(name, Counter, "Connections that came in and did not come to stand.");
        for (reason, count) in &metrics.handshakes_failed {
            self.sample(name, &[("reason", reason)], count);
        }
        let name = "dchan_breaches_total";
        self.family(name, Counter, "Breaches of the protocol by strangers and peers.");
        for (kind, count) in &metrics.breaches {
            self.sample(name, &[("kind", kind)], count);
        }
        self.ledger(
            "dchan_node",
            "that the node accepted since it started",
            &[(None, metrics.ledger)],
        );
    }

    fn list(&mut self, metrics: &Metrics) {
        use Kind::{Counter, Gauge};
        let list = &metrics.list;
        let help = "Changes that the list of nodes and receivers has seen.";
        self.one("dchan_list_version", Gauge, help, list.version.0);
        self.one("dchan_list_nodes", Gauge, "Nodes on the list.", list.nodes);
        self.one("dchan_list_receivers", Gauge, "Receivers on the list.", list.receivers);
        let status = &list.status;
        let quorum = u8::from(status.quorum);
        self.one("dchan_quorum", Gauge, "Whether a leader with a majority answers.", quorum);
        let fault = u8::from(status.fault.is_some() || status.stopped);
        self.one("dchan_membership_fault", Gauge, "Whether the membership needs a human.", fault);
        self.one("dchan_term", Gauge, "The reigns of leaders, counted.", status.term);
        let leads = u8::from(list.leader == Some(metrics.node));
        self.one("dchan_leads", Gauge, "Whether this node leads.", leads);
        let help = "How often another leader, or none, was seen.";
        self.one("dchan_leader_changes_total", Counter, help, status.leader_changes);
        self.samples(&status.samples);
    }

    /// The numbers of a membership. Those that share a name share a family.
    fn samples(&mut self, samples: &[Sample]) {
        let mut last = "";
        for Sample { name, help, label, value } in samples {
            if *name != last {
                let kind = if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
                self.family(name, kind, help);
                last = name;
            }
            let label = label.as_ref().map(|(label, value)| (*label, value as &dyn Display));
            self.sample(name, label.as_slice(), value);
        }
    }

    // ---- peers ----

    fn peers<V: Display>(
        &mut self,
        metrics: &Metrics,
        (name, kind, help): (&str, Kind, &str),
        value: impl Fn(&PeerMetrics) -> V,
    ) {
        self.family(name, kind, help);
        for (id, peer) in &metrics.peers {
            self.sample(name, &[("peer", id)], value(peer));
        }
    }

    fn peers_by_reason(
        &mut self,
        metrics: &Metrics,
        (name, label, help): (&str, &'static str, &str),
        counts: impl Fn(&PeerMetrics) -> &BTreeMap<&'static str, u64>,
    ) {
        self.family(name, Kind::Counter, help);
        for (id, peer) in &metrics.peers {
            for (word, count) in counts(peer) {
                self.sample(name, &[("peer", id), (label, word)], count);
            }
        }
    }

    fn traffic(&mut self, metrics: &Metrics) {
        use Kind::Counter;
        let m = metrics;
        self.peers(m, ("dchan_sent_frames_total", Counter, "Frames sent."), |p| p.sent.frames);
        self.peers(m, ("dchan_sent_bytes_total", Counter, "Bytes sent."), |p| p.sent.bytes);
        let family = ("dchan_sent_messages_total", Counter, "Messages sent, repeats included.");
        self.peers(m, family, |p| p.sent.messages);
        let family = ("dchan_received_frames_total", Counter, "Frames received.");
        self.peers(m, family, |p| p.received.frames);
        let family = ("dchan_received_bytes_total", Counter, "Bytes received.");
        self.peers(m, family, |p| p.received.bytes);
        let family =
            ("dchan_received_messages_total", Counter, "Messages received, repeats included.");
        self.peers(m, family, |p| p.received.messages);
    }

    fn links(&mut self, metrics: &Metrics) {
        use Kind::{Counter, Gauge};
        let m = metrics;
        self.family("dchan_peer_info", Gauge, "Always 1: where the peer can be reached.");
        for (id, peer) in &m.peers {
            if let Some(addr) = &peer.addr {
                self.sample("dchan_peer_info", &[("peer", id), ("addr", addr)], 1);
            }
        }
        let family = ("dchan_link_up", Gauge, "Whether there is a connection.");
        self.peers(m, family, |p| u8::from(p.up));
        let family = ("dchan_link_suspect", Gauge, "Whether the peer is silent and not chosen.");
        self.peers(m, family, |p| u8::from(p.suspect));
        let family = ("dchan_links_total", "by", "Connections that came to stand.");
        self.peers_by_reason(m, family, |p| &p.links);
        let family = ("dchan_link_cuts_total", "reason", "Connections that ended.");
        self.peers_by_reason(m, family, |p| &p.cuts);
        let family = ("dchan_dials_failed_total", "reason", "Dials that came to nothing.");
        self.peers_by_reason(m, family, |p| &p.dials_failed);
        let family = ("dchan_protocol_errors_total", "kind", "Breaches of the protocol.");
        self.peers_by_reason(m, family, |p| &p.protocol_errors);
        let help = "How often all lanes were given up, as the peer was out of reach.";
        self.peers(m, ("dchan_peer_given_up_total", Counter, help), |p| p.given_up);
        let help = "The last round trip of a heartbeat.";
        self.round_trip(m, ("dchan_round_trip_last_seconds", help), |p| p.round_trips.last);
        let help = "The moving average of round trips.";
        self.round_trip(m, ("dchan_round_trip_smoothed_seconds", help), |p| p.round_trips.smoothed);
        let help = "The shortest round trip.";
        self.round_trip(m, ("dchan_round_trip_min_seconds", help), |p| p.round_trips.min);
        let name = "dchan_round_trip_seconds";
        self.family(name, Kind::Histogram, "Round trips of heartbeats.");
        for (id, peer) in &m.peers {
            self.histogram(name, ("peer", id), &peer.round_trips.histogram);
        }
    }

    fn round_trip(
        &mut self,
        metrics: &Metrics,
        (name, help): (&str, &str),
        time: impl Fn(&PeerMetrics) -> Option<Duration>,
    ) {
        self.family(name, Kind::Gauge, help);
        for (id, peer) in &metrics.peers {
            if let Some(time) = time(peer) {
                self.sample(name, &[("peer", id)], time.as_secs_f64());
            }
        }
    }

    fn histogram(&mut self, name: &str, label: Label<'_>, histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in Histogram::BOUNDS.iter().zip(&histogram.counts) {
            below += count;
            self.sample(&bucket, &[label, ("le", &bound.as_secs_f64())], below);
        }
        self.sample(&bucket, &[label, ("le", &"+Inf")], histogram.count());
        self.sample(&format!("{name}_sum"), &[label], histogram.sum.as_secs_f64());
        self.sample(&format!("{name}_count"), &[label], histogram.count());
    }

    fn queues(&mut self, metrics: &Metrics) {
        use Kind::Gauge;
        let m = metrics;
        let family = ("dchan_link_unconfirmed_bytes", Gauge, "Bytes of data not confirmed.");
        self.peers(m, family, |p| p.queue.unconfirmed);
        let family = ("dchan_link_window_bytes", Gauge, "How many of them there may be.");
        self.peers(m, family, |p| p.queue.window);
        let family = ("dchan_queue_control", Gauge, "Control messages that wait.");
        self.peers(m, family, |p| p.queue.control);
        let family = ("dchan_queue_frames", Gauge, "Frames of questions and answers that wait.");
        self.peers(m, family, |p| p.queue.frames);
        let family = ("dchan_queue_lanes", Gauge, "Lanes that have something to send.");
        self.peers(m, family, |p| p.queue.lanes);
        let family = ("dchan_queue_bytes", Gauge, "Bytes of messages that wait in them, about.");
        self.peers(m, family, |p| p.queue.waiting);
        self.peers(m, ("dchan_lanes_out", Gauge, "Lanes to the peer."), |p| p.lanes_out);
        self.peers(m, ("dchan_lanes_in", Gauge, "Lanes from the peer."), |p| p.lanes_in);
        let family = ("dchan_lanes_over", Gauge, "Lanes from the peer that are over, unconfirmed.");
        self.peers(m, family, |p| p.lanes_over);
    }

    // ---- namespaces ----

    fn namespaces(&mut self, metrics: &Metrics) {
        use Kind::Gauge;
        let ledgers: Vec<_> =
            metrics.namespaces.iter().map(|(name, n)| (Some(name.as_str()), n.ledger)).collect();
        self.ledger("dchan", "of the namespace", &ledgers);
        type Value = fn(&NamespaceMetrics) -> u64;
        let gauges: [(&str, &str, Value); 8] = [
            ("dchan_senders", "Senders open here.", |n| n.senders as u64),
            ("dchan_sends_waiting", "Sends that wait for credit.", |n| n.waiting as u64),
            ("dchan_credit_messages", "Messages that could be sent at once.", |n| n.credit),
            ("dchan_homeless_messages", "Messages without a receiver.", |n| n.homeless as u64),
            ("dchan_receivers", "Receivers on the list.", |n| n.receivers as u64),
            ("dchan_receivers_here", "Receivers open here.", |n| n.receivers_here as u64),
            ("dchan_queued_messages", "Messages here that are not taken.", |n| n.queued),
            ("dchan_queued_bytes", "Their bytes.", |n| n.queued_bytes),
        ];
        for (name, help, value) in gauges {
            self.family(name, Gauge, help);
            for (namespace, numbers) in &metrics.namespaces {
                self.sample(name, &[("namespace", namespace)], value(numbers));
            }
        }
    }

    /// The accounts of namespaces, or that of a node.
    fn ledger(&mut self, prefix: &str, of: &str, ledgers: &[(Option<&str>, Ledger)]) {
        use Kind::{Counter, Gauge};
        type Value = fn(&Ledger) -> u64;
        let values: [(&str, Kind, &str, Value); 5] = [
            ("accepted_messages_total", Counter, "Messages", |l| l.accepted),
            ("taken_messages_total", Counter, "Messages taken", |l| l.taken),
            ("unknown_messages_total", Counter, "Messages of unknown fate", |l| l.unknown),
            ("in_flight_messages", Gauge, "Messages whose fate is open", |l| l.in_flight),
            ("rerouted_messages_total", Counter, "Messages given to another receiver", |l| {
                l.rerouted
            }),
        ];
        for (name, kind, help, value) in values {
            let name = format!("{prefix}_{name}");
            self.family(&name, kind, &format!("{help} {of}."));
            for (namespace, ledger) in ledgers {
                let label = namespace.as_ref().map(|name| ("namespace", name as &dyn Display));
                self.sample(&name, label.as_slice(), value(ledger));
            }
        }
        let name = format!("{prefix}_dropped_messages_total");
        self.family(&name, Counter, &format!("Messages dropped {of}."));
        for (namespace, ledger) in ledgers {
            let reasons =
                [("decode", ledger.dropped.decode), ("no_receiver", ledger.dropped.no_receiver)];
            for (reason, count) in reasons {
                let mut labels: Vec<Label<'_>> =
                    namespace.iter().map(|name| ("namespace", name as &dyn Display)).collect();
                labels.push(("reason", &reason));
                self.sample(&name, &labels, count);
            }
        }
    }
}

/// As the format wants it: in labels, quotes are escaped too.
fn escaped(text: &str, label: bool) -> String {
    let mut escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
    if label {
        escaped = escaped.replace('"', "\\\"");
    }
    escaped
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
