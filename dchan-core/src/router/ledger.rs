//! The account of a namespace, and waiting for it to be settled.

use std::time::Duration;

use super::{Route, Router, State};
use crate::lane::Ledger;

/// How far a lane must get.
struct Mark {
    route: Route,
    settled: u64,
}

impl Router {
    /// What has become of the messages that were accepted here.
    pub(crate) fn ledger(&self) -> Ledger {
        self.sync_local();
        let state = self.state.lock();
        let mut ledger = state.retired;
        for route in state.all() {
            ledger += route.ledger();
        }
        ledger.in_flight += state.homeless.len() as u64;
        ledger
    }

    /// Waits until everything that was accepted before is settled.
    pub(crate) async fn flush(&self) {
        // A receiver in this process that is in the midst of a batch says nothing by itself.
        let look_again = self.peers.shared.config.times.heartbeat;
        loop {
            let (marks, rerouted) = self.marks();
            while !self.have_reached(&marks) {
                self.wait_for_settling(look_again, |router| router.have_reached(&marks)).await;
            }
            // What came back meanwhile is behind other marks now.
            if self.rerouted() == rerouted && !self.has_homeless() {
                return;
            }
            self.wait_for_settling(look_again, |router| !router.has_homeless()).await;
        }
    }

    /// Waits until nothing that was accepted here is in flight.
    pub(crate) async fn drain(&self) {
        let look_again = self.peers.shared.config.times.heartbeat;
        while self.ledger().in_flight > 0 {
            self.hurry();
            self.wait_for_settling(look_again, |router| router.ledger().in_flight == 0).await;
        }
    }

    /// The same while the node stops: what has no receiver is dropped.
    pub(crate) async fn drain_or_drop(&self) {
        let look_again = self.peers.shared.config.times.heartbeat;
        loop {
            if !self.has_receivers() {
                self.drop_homeless();
            }
            if self.ledger().in_flight == 0 {
                return;
            }
            self.hurry();
            self.wait_for_settling(look_again, |router| router.ledger().in_flight == 0).await;
        }
    }

    async fn wait_for_settling(&self, at_most: Duration, done: impl Fn(&Self) -> bool) {
        let settled = self.settled.notified();
        tokio::pin!(settled);
        settled.as_mut().enable();
        if !done(self) {
            let _later = tokio::time::timeout(at_most, settled).await;
        }
    }

    /// Receivers in this process that are in the midst of a batch account for it when they are asked.
    fn sync_local(&self) {
        for route in self.routes.load().iter() {
            if let Route::Local(lane) = route {
                lane.sync();
            }
        }
    }

    /// Somebody waits until all is settled.
    fn hurry(&self) {
        self.state.lock().all().for_each(Route::hurry);
    }

    fn marks(&self) -> (Vec<Mark>, u64) {
        let state = self.state.lock();
        let mark = |route: &Route| {
            route.hurry();
            let (settled, open) = route.settled();
            Mark { route: route.clone(), settled: settled + open }
        };
        (state.all().map(mark).collect(), state.rerouted())
    }

    fn have_reached(&self, marks: &[Mark]) -> bool {
        self.sync_local();
        let state = self.state.lock();
        let reached = |mark: &Mark| {
            // One that is over is not here any more.
            let mut routes = state.all().filter(|route| route.is(&mark.route));
            routes.all(|route| route.settled().0 >= mark.settled)
        };
        marks.iter().all(reached)
    }

    fn rerouted(&self) -> u64 {
        self.state.lock().rerouted()
    }

    fn has_homeless(&self) -> bool {
        self.state.lock().homeless.len() > 0
    }
}

impl State {
    pub(super) fn all(&self) -> impl Iterator<Item = &Route> {
        self.lanes.values().chain(&self.draining)
    }

    fn rerouted(&self) -> u64 {
        self.retired.rerouted + self.all().map(|route| route.ledger().rerouted).sum::<u64>()
    }
}

impl Route {
    fn ledger(&self) -> Ledger {
        match self {
            Self::Remote(lane) => lane.look(|out| out.lane.ledger()),
            Self::Local(lane) => lane.ledger(),
        }
    }

    fn hurry(&self) {
        if let Self::Remote(lane) = self {
            lane.with(|out| out.lane.hurry());
        }
    }

    /// How many messages of it are settled or gone elsewhere, and how many are open.
    fn settled(&self) -> (u64, u64) {
        match self {
            Self::Remote(lane) => lane.look(|out| (out.lane.settled(), out.lane.unsettled())),
            Self::Local(lane) => lane.settled_and_open(),
        }
    }
}
