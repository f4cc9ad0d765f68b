//! Keeping the lanes in step with the list.

use std::sync::Arc;

use tracing::debug;

use super::{LocalLane, Route, Router, State, homeless::settle};
use crate::{NodeId, ReceiverId, View, lane::Outcome, peers::stop_lane};

impl Router {
    /// Opens lanes to receivers that have come and ends those to receivers that have gone.
    pub(crate) fn update(&self, view: &View, come: &[(ReceiverId, NodeId)], gone: &[ReceiverId]) {
        let mut state = self.state.lock();
        let mut opened = Vec::new();
        for (receiver, node) in come {
            if !state.has_way_to(*receiver)
                && let Some(route) = self.open(view, *receiver, *node)
            {
                debug!(namespace = %self.namespace, %receiver, peer = %node, "lane opened");
                opened.push(route.clone());
                state.lanes.insert(*receiver, route);
            }
        }
        let ended: Vec<Route> = gone.iter().filter_map(|id| state.lanes.remove(id)).collect();
        state.draining.extend(ended.iter().cloned());
        self.publish(&state);
        opened.iter().for_each(|route| self.offer_anew(route));
        drop(state);
        ended.iter().for_each(Route::stop);
        self.place_homeless();
        self.receivers.send_replace(view.receivers_of(&self.namespace).count());
    }

    /// A lane is over. If the list has its receiver, then it gets a new one: no change of the list would
    /// bring it.
    pub(super) fn reopen(&self, receiver: ReceiverId) {
        let mut state = self.state.lock();
        // Looked at under the lock: a change that comes later is carried through after this.
        let view = self.peers.shared.view.borrow().clone();
        let node = view.receivers.get(&(self.namespace.clone(), receiver)).copied();
        if let Some(node) = node
            && !self.is_closed()
            && !state.has_way_to(receiver)
            && let Some(route) = self.open(&view, receiver, node)
        {
            debug!(namespace = %self.namespace, %receiver, peer = %node, "lane opened anew");
            state.lanes.insert(receiver, route.clone());
            self.publish(&state);
            self.offer_anew(&route);
        }
    }

    /// Puts the credit of a lane on offer once more. Whoever came for it before the lane was among the
    /// routes did not find it, and threw a permit away.
    fn offer_anew(&self, route: &Route) {
        match route {
            Route::Remote(lane) => lane.look(|out| {
                out.offered = 0;
                self.offer(out);
            }),
            Route::Local(lane) => lane.offer_anew(),
        }
    }

    fn open(&self, view: &View, receiver: ReceiverId, node: NodeId) -> Option<Route> {
        if receiver.boot == self.peers.shared.me.boot {
            let inbox = self.peers.shared.inbox(&receiver)?;
            return LocalLane::open(inbox, self.me.clone(), node).map(Route::Local);
        }
        let addr = view.nodes.get(&node).map(|entry| &entry.addr);
        let peer = self.peers.peer(node, addr);
        let lane = peer.open(&self.namespace, receiver, self.me.clone());
        peer.dial_if_wanted();
        Some(Route::Remote(lane))
    }

    /// A lane is over. Returns what it was, if it was here.
    pub(super) fn forget(
        &self,
        state: &mut State,
        receiver: ReceiverId,
        it: impl Fn(&Route) -> bool,
    ) -> Option<Forgotten> {
        if state.lanes.get(&receiver).is_some_and(&it) {
            state.lanes.remove(&receiver);
            self.publish(state);
            return Some(Forgotten::Open);
        }
        let before = state.draining.len();
        state.draining.retain(|route| !it(route));
        (state.draining.len() < before).then_some(Forgotten::Draining)
    }

    fn publish(&self, state: &State) {
        self.routes.store(state.lanes.values().cloned().collect());
    }

    /// Ends all lanes: nobody sends any more.
    pub(crate) fn end_lanes(&self) {
        let mut state = self.state.lock();
        let routes: Vec<Route> = state.lanes.drain().map(|(_, route)| route).collect();
        state.draining.extend(routes.iter().cloned());
        self.publish(&state);
        drop(state);
        routes.iter().for_each(Route::stop);
    }

    /// Gives up what receivers of this process hold and have not given back: the node stops.
    pub(crate) fn give_up_local(&self) {
        let mut state = self.state.lock();
        let local = |route: &Route| match route {
            Route::Local(lane) => Some(lane.clone()),
            Route::Remote(_) => None,
        };
        let lanes: Vec<_> = state.all().filter_map(local).collect();
        for lane in lanes {
            let it =
                |route: &Route| matches!(route, Route::Local(known) if Arc::ptr_eq(known, &lane));
            self.forget(&mut state, lane.receiver(), it);
            state.retired += lane.give_up();
        }
        drop(state);
        self.settled.notify_waiters();
    }

    // ---- handles ----

    /// One more sender.
    pub(crate) fn hold(&self) {
        self.state.lock().handles += 1;
    }

    /// One sender less. Whether it was the last, and nobody [retires](Self::retires) the router yet.
    pub(crate) fn release(&self) -> bool {
        let mut state = self.state.lock();
        state.handles -= 1;
        state.handles == 0 && !std::mem::replace(&mut state.retiring, true)
    }

    /// Whether there is still no sender. If there is one again, then its release is the next chance.
    pub(crate) fn retires(&self) -> bool {
        let mut state = self.state.lock();
        state.retiring = state.handles == 0;
        state.retiring
    }

    /// A receiver of this process is gone, with what it had taken and not settled.
    pub(super) fn forget_local(&self, lane: &LocalLane, homeless: Vec<crate::lane::Homeless>) {
        let mut state = self.state.lock();
        let it =
            |route: &Route| matches!(route, Route::Local(known) if std::ptr::eq(&**known, lane));
        if self.forget(&mut state, lane.receiver(), it).is_none() {
            // It was given up, and its messages with it.
            drop(state);
            homeless.iter().for_each(|message| settle(message, Outcome::NoReceiver));
            return;
        }
        state.retired += lane.end(homeless.len() as u64);
        self.take_in_homeless(&mut state, homeless);
        drop(state);
        self.place_homeless();
        self.settled.notify_waiters();
    }
}

/// What a lane that is over was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgotten {
    /// A way to a receiver.
    Open,
    /// The end of a way to a receiver that was off the list. It may have come back.
    Draining,
}

impl State {
    /// Whether a new lane to a receiver must not be opened. One that was off the list and came back gets
    /// its lane when the old one is over: what is on its way there comes before what is new.
    fn has_way_to(&self, receiver: ReceiverId) -> bool {
        let leads =
            |route: &Route| matches!(route, Route::Remote(lane) if lane.receiver == receiver);
        self.lanes.contains_key(&receiver) || self.draining.iter().any(leads)
    }
}

impl Route {
    fn stop(&self) {
        match self {
            Self::Remote(lane) => stop_lane(lane),
            Self::Local(lane) => lane.stop_sending(),
        }
    }

    /// Whether it is that very lane.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Remote(lane), Self::Remote(other)) => Arc::ptr_eq(lane, other),
            (Self::Local(lane), Self::Local(other)) => Arc::ptr_eq(lane, other),
            _ => false,
        }
    }
}
