//! What a peer looks like in numbers.

use std::sync::atomic::Ordering;

use super::Peer;
use crate::metrics::PeerMetrics;

impl Peer {
    pub(crate) fn metrics(&self) -> PeerMetrics {
        let queue = self.outbox().map(|outbox| outbox.metrics());
        let (lanes_in, lanes_over) = self.incoming.lock().count();
        let counters = &self.counters;
        let state = self.state.lock();
        PeerMetrics {
            addr: state.addr.clone(),
            up: state.standing.is_some(),
            suspect: state.standing.is_some() && state.suspect,
            sent: counters.sent.read(),
            received: counters.received.read(),
            round_trips: counters.round_trips.lock().clone(),
            links: counters.links.read(),
            cuts: counters.cuts.read(),
            dials_failed: counters.dials_failed.read(),
            protocol_errors: counters.protocol_errors.read(),
            given_up: counters.given_up.load(Ordering::Relaxed),
            queue: queue.unwrap_or_default(),
            lanes_out: state.outs.len(),
            lanes_in,
            lanes_over,
        }
    }
}
