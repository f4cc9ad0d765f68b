//! One peer: its connection, if there is one, and the lanes between it and this node.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{LaneOwner, OutLane, Shared, asks::Asks, incoming::Incoming};
use crate::{
    Addr, Connection, Frame, LaneId, LinkState, Namespace, NodeId, PeerInfo, ReceiverId, Version,
    inbox::Inbox,
    lane::{Epoch, Outbound},
    link::{Cut, Endpoint, Outbox, ProtocolError, Rank, Ranks, Session, Side, Verdict, welcome},
    wire::{Attach, Beat, Closed, Control, Hello, LaneFrame, Refusal},
};

/// One peer.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(super) shared: Arc<Shared>,
    pub(super) state: Mutex<PeerState>,
    /// Held while a connection comes or goes: everything that follows from it is done in one step.
    passage: Mutex<()>,
    outbox: ArcSwapOption<Outbox>,
    /// The epoch of the connection that stands, or 0: for those who wait for a link.
    up: watch::Sender<Epoch>,
    pub(super) incoming: Mutex<Incoming>,
    pub(super) asks: Mutex<Asks>,
    watched: Mutex<Vec<Weak<Inbox>>>,
}

/// What the lock of a peer holds.
#[derive(Default)]
pub(super) struct PeerState {
    addr: Option<Addr>,
    pub(super) ranks: Ranks,
    hello: Option<Hello>,
    epoch: Epoch,
    standing: Option<CancellationToken>,
    outs: BTreeMap<LaneId, Arc<OutLane>>,
    /// Lanes that were given up while the link was down: the other end does not know yet.
    given_up: HashMap<LaneId, (Namespace, ReceiverId)>,
    suspect: bool,
    pub(super) dialling: bool,
    heard: Heard,
}

/// What the last heartbeat said.
#[derive(Debug, Default)]
struct Heard {
    version: Version,
    round_trip: Option<Duration>,
    /// Its time of sending, by the other side's clock, and its time of arrival, by ours.
    last: Option<(u64, u64)>,
}

/// A connection that may be served now.
pub(super) struct Installed {
    epoch: Epoch,
    outbox: Arc<Outbox>,
    cancel: CancellationToken,
}

/// Which end of a connection this is, and what is still to be said there.
pub(super) enum Role {
    Dialler,
    /// The dialler waits for this welcome.
    Listener(Box<Hello>),
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Peer {
    pub(super) fn new(id: NodeId, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            id,
            shared,
            state: Mutex::default(),
            passage: Mutex::default(),
            outbox: ArcSwapOption::empty(),
            up: watch::Sender::new(0),
            incoming: Mutex::default(),
            asks: Mutex::default(),
            watched: Mutex::default(),
        })
    }

    pub(super) fn set_addr(&self, addr: &Addr) {
        self.state.lock().addr = Some(addr.clone());
    }

    pub(super) fn addr(&self) -> Option<Addr> {
        self.state.lock().addr.clone()
    }

    /// Where things for the present connection are put.
    pub(crate) fn outbox(&self) -> Option<Arc<Outbox>> {
        self.outbox.load_full()
    }

    pub(super) fn control(&self, control: Control) {
        if let Some(outbox) = self.outbox() {
            outbox.control(control);
        }
    }

    /// Says it in that connection, or not at all.
    pub(super) fn control_in(&self, epoch: Epoch, control: Control) {
        if let Some(outbox) = self.outbox().filter(|outbox| outbox.epoch == epoch) {
            outbox.control(control);
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow() != 0
    }

    pub(super) fn is_up_at(&self, addr: &Addr) -> bool {
        self.is_up() && self.state.lock().hello.as_ref().is_some_and(|hello| hello.addr == *addr)
    }

    pub(crate) fn watch_up(&self) -> watch::Receiver<Epoch> {
        self.up.subscribe()
    }

    /// What the peer said of itself when its present, or last, connection was made.
    pub(super) fn info(&self) -> Option<PeerInfo> {
        self.state.lock().hello.as_ref().map(info_of)
    }

    /// Whether a link to it should be made if there is none.
    pub(super) fn is_wanted(&self) -> bool {
        !self.state.lock().outs.is_empty() || self.asks.lock().are_waiting()
    }

    pub(super) fn is_in_use(&self) -> bool {
        let state = self.state.lock();
        let used = state.standing.is_some() || state.dialling || !state.outs.is_empty();
        drop(state);
        used || !self.incoming.lock().is_empty() || self.asks.lock().are_waiting()
    }

    /// Waits until the lanes to it and from it are over, and both sides know how they ended.
    pub(crate) async fn lanes_ended(&self) {
        let look_again = self.shared.config.times.heartbeat / 10;
        while self.is_up()
            && (!self.state.lock().outs.is_empty() || !self.incoming.lock().is_empty())
        {
            tokio::time::sleep(look_again).await;
        }
    }

    /// Nothing more will be sent: say goodbye when all is out.
    pub(crate) fn finish(&self) {
        if let Some(outbox) = self.outbox() {
            outbox.finish();
        }
    }

    /// Ends the connection at once.
    pub(crate) fn abort(&self) {
        if let Some(standing) = &self.state.lock().standing {
            standing.cancel();
        }
    }

    // ---- lanes out ----

    /// Opens a lane to a receiver of that peer.
    pub(crate) fn open(
        self: &Arc<Self>,
        namespace: &Namespace,
        receiver: ReceiverId,
        owner: Weak<dyn LaneOwner>,
    ) -> Arc<OutLane> {
        let id = self.shared.next_lane();
        let lane =
            OutLane::new(Outbound::new(id, namespace.clone(), receiver), self.clone(), owner);
        let mut state = self.state.lock();
        state.outs.insert(id, lane.clone());
        let up = state.standing.is_some()
            && state.hello.as_ref().is_some_and(|hello| hello.boot == receiver.boot);
        if up {
            lane.on_up(state.epoch);
        }
        lane
    }

    /// The lanes that lead there, and what to do with one that is over.
    fn out(&self, id: LaneId) -> Option<Arc<OutLane>> {
        self.state.lock().outs.get(&id).cloned()
    }

    /// Changes the sending side of a lane, and tells its owner.
    fn on_out(
        &self,
        id: LaneId,
        change: impl FnOnce(&mut Outbound) -> Result<(), crate::lane::LaneFault>,
    ) -> Result<(), ProtocolError> {
        let Some(lane) = self.out(id) else { return Ok(()) };
        let changed = lane.with(|out| change(&mut out.lane));
        if let Some(owner) = lane.owner() {
            owner.recount(&lane);
            owner.settled();
        }
        changed.map_err(|fault| {
            self.lose(&lane);
            ProtocolError(format!("lane {id}: {fault}"))
        })
    }

    /// The receiver of a lane is gone, or does not know it: what was handed has an unknown fate.
    fn kill(&self, lane: &Arc<OutLane>) {
        self.state.lock().outs.remove(&lane.id);
        lane.take_back(&mut Outbound::die, true);
    }

    /// The same, though the receiver may be there still: it can have another lane.
    fn lose(&self, lane: &Arc<OutLane>) {
        self.kill(lane);
        if let Some(owner) = lane.owner() {
            owner.lost(lane);
        }
    }

    fn on_closed(&self, closed: &Closed) -> Result<(), ProtocolError> {
        let lane = self.state.lock().outs.remove(&closed.lane);
        if let Some(lane) = lane {
            let mut fault = None;
            let mut take = |lane: &mut Outbound| match lane.on_closed(closed.taken, &closed.skipped)
            {
                Ok(messages) => messages,
                Err(found) => {
                    fault = Some(found);
                    lane.die()
                }
            };
            lane.take_back(&mut take, true);
            if let Some(fault) = fault {
                return Err(ProtocolError(format!("lane {}: {fault}", closed.lane)));
            }
        }
        // Also for a lane that is long forgotten: the other end repeats itself until it hears this.
        if let (Some(outbox), Some(payload)) = (self.outbox(), LaneFrame::ClosedAck.encode_plain())
        {
            outbox.frames([Frame { lane: closed.lane, payload, last: true }]);
        }
        Ok(())
    }

    // ---- connections come and go ----

    /// Lets a connection stand, unless another one has a rank as high.
    pub(super) fn install(
        self: &Arc<Self>,
        hello: &Hello,
        rank: Rank,
    ) -> Result<Installed, Refusal> {
        let _passage = self.passage.lock();
        let mut state = self.state.lock();
        let known = state.hello.as_ref().map(|known| (known.boot, known.incarnation));
        let reborn = known.is_some_and(|(boot, _)| boot != hello.boot);
        match known {
            Some((_, ours)) if reborn && state.standing.is_some() && hello.incarnation < ours => {
                return Err(Refusal::Outdated { ours, theirs: hello.incarnation });
            }
            _ if reborn => state.ranks = Ranks::default(),
            _ => {}
        }
        state.ranks.establish(rank).map_err(|standing| Refusal::Established {
            attempt: standing.attempt,
            dialler: standing.dialler,
        })?;
        state.epoch += 1;
        let epoch = state.epoch;
        let outbox = Arc::new(Outbox::new(epoch, self.shared.config.limits.link));
        let cancel = CancellationToken::new();
        if let Some(old) = state.standing.replace(cancel.clone()) {
            old.cancel();
        }
        state.addr = Some(hello.addr.clone());
        state.hello = Some(hello.clone());
        state.heard = Heard::default();
        state.suspect = false;
        self.outbox.store(Some(outbox.clone()));
        drop(state);
        self.asks.lock().on_down();
        self.cut_incoming();
        self.revive(reborn, epoch, &outbox);
        self.up.send_replace(epoch);
        self.publish();
        metrics::counter!("dchan_link_established_total", "peer" => self.id.to_string())
            .increment(1);
        debug!(peer = %self.id, addr = %hello.addr, epoch, "link established");
        Ok(Installed { epoch, outbox, cancel })
    }

    /// Brings the lanes into a new connection, or buries those of a process that is gone.
    fn revive(self: &Arc<Self>, reborn: bool, epoch: Epoch, outbox: &Arc<Outbox>) {
        let (lanes, given_up, boot) = {
            let mut state = self.state.lock();
            let given_up = std::mem::take(&mut state.given_up);
            let boot = state.hello.as_ref().map(|hello| hello.boot);
            (state.outs.values().cloned().collect::<Vec<_>>(), given_up, boot)
        };
        for lane in lanes {
            if Some(lane.receiver.boot) == boot {
                lane.on_up(epoch);
                if let Some(owner) = lane.owner() {
                    owner.recount(&lane);
                }
            } else {
                self.kill(&lane);
            }
        }
        if reborn {
            info!(peer = %self.id, "the peer has started anew");
            self.bury_incoming();
            return;
        }
        let tombstones = self.incoming.lock().tombstones();
        for closed in tombstones {
            outbox.control(Control::Closed(closed));
        }
        for (lane, (namespace, receiver)) in given_up {
            let attach = Attach { namespace, receiver, fresh: false, taken: 0, wanting: false };
            let words = [LaneFrame::Attach(attach), LaneFrame::Fin];
            let payloads = words.iter().filter_map(LaneFrame::encode_plain);
            outbox.frames(payloads.map(|payload| Frame::new(lane, payload)));
        }
    }

    /// Serves a connection until it ends.
    pub(super) async fn serve(
        self: Arc<Self>,
        installed: Installed,
        mut connection: Connection,
        role: Role,
    ) {
        let Installed { epoch, outbox, cancel } = installed;
        let side = match role {
            Role::Dialler => Side::Dialler,
            Role::Listener(mine) => {
                let welcomed = welcome(&mut *connection.sink, &mine);
                let limit = self.shared.config.times.handshake;
                match tokio::time::timeout(limit, welcomed).await {
                    Ok(Ok(())) => Side::Listener,
                    Ok(Err(error)) => return self.on_cut(epoch, &error.into()),
                    Err(_) => return self.on_cut(epoch, &Cut::Silent),
                }
            }
        };
        let session = Session {
            epoch,
            outbox: outbox.clone(),
            endpoint: Arc::new(self.clone()),
            times: self.shared.config.times,
            tell_after: self.shared.config.limits.link / 4,
            heard: Arc::default(),
        };
        let Connection { sink, stream, .. } = connection;
        let silence = self.shared.config.times.silence;
        let writing = session.clone().write(sink, side);
        let mut writer = self.shared.tasks.spawn({
            let cancel = cancel.clone();
            async move { cancel.run_until_cancelled(writing).await.unwrap_or(Cut::Superseded) }
        });
        let reader = session.read(stream);
        tokio::pin!(reader);
        let cut = tokio::select! {
            () = cancel.cancelled() => Cut::Superseded,
            cut = &mut reader => cut,
            written = &mut writer => match written {
                Ok(Cut::Closed) => {
                    // Our side is done; the other may still have things to say, for a while.
                    let _ended = tokio::time::timeout(silence, &mut reader).await;
                    Cut::Closed
                }
                Ok(cut) => cut,
                Err(_) => Cut::Closed,
            },
        };
        cancel.cancel();
        self.on_cut(epoch, &cut);
    }

    /// The connection is gone: everything waits for the next one.
    fn on_cut(self: &Arc<Self>, epoch: Epoch, cut: &Cut) {
        metrics::counter!("dchan_link_cut_total", "peer" => self.id.to_string(), "reason" => cut.reason())
            .increment(1);
        let passage = self.passage.lock();
        let lanes = {
            let mut state = self.state.lock();
            if state.epoch != epoch || state.standing.take().is_none() {
                return;
            }
            state.ranks.fall();
            state.outs.values().cloned().collect::<Vec<_>>()
        };
        self.up.send_replace(0);
        self.outbox.store(None);
        match cut {
            Cut::Protocol(error) => warn!(peer = %self.id, %error, "link cut"),
            Cut::Closed | Cut::Superseded | Cut::Ended => {
                debug!(peer = %self.id, reason = %cut, "link cut")
            }
            _ => info!(peer = %self.id, reason = %cut, "link cut"),
        }
        for lane in lanes {
            lane.on_down();
            if let Some(owner) = lane.owner() {
                owner.recount(&lane);
            }
        }
        self.cut_incoming();
        self.asks.lock().on_down();
        self.publish();
        drop(passage);
        if !self.shared.stopping.is_cancelled() {
            self.dial_if_wanted();
            self.shared.tasks.spawn(self.clone().give_up_later(epoch));
        }
    }

    /// The one deadline of a link: if no connection comes in time, its lanes are given up.
    async fn give_up_later(self: Arc<Self>, epoch: Epoch) {
        let mut up = self.watch_up();
        let back = tokio::time::timeout(self.shared.config.times.lane, up.wait_for(|up| *up != 0));
        let came_back = tokio::select! {
            () = self.shared.stopping.cancelled() => return,
            back = back => back.is_ok(),
        };
        if came_back || self.state.lock().epoch != epoch {
            return;
        }
        warn!(peer = %self.id, "the peer was out of reach for too long: its lanes are given up");
        self.give_up();
    }

    /// Gives up all lanes: what was handed has an unknown fate.
    pub(crate) fn give_up(&self) {
        let lanes: Vec<_> = self.state.lock().outs.values().cloned().collect();
        for lane in lanes {
            let namespace = lane.look(|out| out.lane.namespace.clone());
            let most = self.shared.config.limits.lanes;
            let mut state = self.state.lock();
            if state.given_up.len() < most {
                state.given_up.insert(lane.id, (namespace, lane.receiver));
            }
            drop(state);
            self.lose(&lane);
        }
        self.lose_incoming();
    }

    pub(super) fn publish(&self) {
        let state = self.state.lock();
        let Some(hello) = &state.hello else { return };
        let link = LinkState {
            boot: hello.boot,
            alive: state.standing.is_some() && !state.suspect,
            version: state.heard.version,
            round_trip: state.heard.round_trip,
        };
        drop(state);
        self.shared.publish(self.id, link);
    }

    /// Someone in here is in the midst of a batch: look after it with the next heartbeat.
    pub(super) fn watch(&self, inbox: &Arc<Inbox>) {
        self.watched.lock().push(Arc::downgrade(inbox));
    }

    fn on_control(self: &Arc<Self>, epoch: Epoch, control: Control) -> Result<(), ProtocolError> {
        match control {
            Control::Beat(beat) => self.on_beat(&beat),
            Control::Received(total) => {
                if let Some(outbox) = self.outbox().filter(|outbox| outbox.epoch == epoch)
                    && !outbox.on_received(total)
                {
                    return Err(ProtocolError(format!(
                        "{total} bytes received: more than were sent"
                    )));
                }
            }
            Control::Credit(credit) => {
                self.on_out(credit.lane, |lane| lane.on_credit(epoch, &credit))?;
            }
            Control::Resumed(resumed) => {
                self.on_out(resumed.credit.lane, |lane| lane.on_resumed(epoch, &resumed))?;
            }
            Control::Reclaim(id) => self.on_out(id, |lane| {
                lane.on_reclaim(epoch);
                Ok(())
            })?,
            Control::Stop(id) => self.stop(id),
            Control::Closed(closed) => self.on_closed(&closed)?,
            Control::NotFound(id) => {
                if let Some(lane) = self.out(id) {
                    self.lose(&lane);
                }
            }
            Control::Bye => self.on_bye(),
            Control::Hello(_) | Control::Welcome(_) | Control::Refuse(..) => {
                return Err(ProtocolError("a handshake in the midst of a connection".into()));
            }
        }
        Ok(())
    }

    fn stop(&self, id: LaneId) {
        if let Some(lane) = self.out(id) {
            stop_lane(&lane);
        }
    }

    /// The process at the other end is done in good order: nothing is left that it could answer for.
    fn on_bye(&self) {
        debug!(peer = %self.id, "the peer said goodbye");
        let lanes: Vec<_> = self.state.lock().outs.values().cloned().collect();
        for lane in lanes {
            self.kill(&lane);
        }
        self.bury_incoming();
    }

    fn on_beat(&self, beat: &Beat) {
        let now = self.shared.now_micros();
        let mut state = self.state.lock();
        state.heard.version = beat.version;
        state.heard.last = Some((beat.sent, now));
        if let Some((sent, held)) = beat.echo {
            let micros = now.saturating_sub(sent).saturating_sub(held);
            let round_trip = Duration::from_micros(micros);
            state.heard.round_trip = Some(round_trip);
            metrics::histogram!("dchan_link_round_trip_seconds").record(round_trip);
        }
        drop(state);
        self.publish();
    }
}

/// Assigns nothing more to a lane; it ends when what was handed is settled.
pub(crate) fn stop_lane(lane: &Arc<OutLane>) {
    lane.take_back(&mut Outbound::stop, false);
}

pub(super) fn info_of(hello: &Hello) -> PeerInfo {
    let Hello { node: id, boot, incarnation, addr, cluster, .. } = hello.clone();
    PeerInfo { id, boot, incarnation, addr, cluster }
}

impl Endpoint for Arc<Peer> {
    fn on_frame(&self, epoch: Epoch, frame: Frame) -> Result<(), ProtocolError> {
        match frame.lane {
            LaneId::CONTROL => {
                let mut payload = frame.payload;
                while let Some(control) = Control::decode_next(&mut payload)? {
                    self.on_control(epoch, control)?;
                }
                Ok(())
            }
            LaneId::REQUESTS => self.on_request_frame(frame.payload),
            lane if lane.is_data() => self.on_lane_frame(epoch, lane, frame.payload),
            lane => Err(ProtocolError(format!("a frame of lane {lane}, which is not in use"))),
        }
    }

    fn on_verdict(&self, epoch: Epoch, verdict: Verdict) {
        let suspect = verdict != Verdict::Alive;
        let mut state = self.state.lock();
        if state.epoch == epoch && state.suspect != suspect {
            state.suspect = suspect;
            let lanes: Vec<_> = state.outs.values().cloned().collect();
            drop(state);
            for lane in lanes {
                lane.suspend(suspect);
                if let Some(owner) = lane.owner() {
                    owner.recount(&lane);
                }
            }
            self.publish();
        } else {
            drop(state);
        }
        let watched = std::mem::take(&mut *self.watched.lock());
        watched.iter().filter_map(Weak::upgrade).for_each(|inbox| inbox.look());
    }

    fn beat(&self) -> Beat {
        let now = self.shared.now_micros();
        let echo = self.state.lock().heard.last.map(|(sent, came)| (sent, now - came));
        Beat { sent: now, echo, version: self.shared.view.borrow().version }
    }

    fn credit(&self, epoch: Epoch, lanes: &[LaneId]) -> Vec<Control> {
        self.credit_of(epoch, lanes)
    }
}
