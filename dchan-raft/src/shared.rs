//! What the tasks of one membership share.

use std::{sync::Arc, time::Duration};

use dchan_core::{
    Addr, ClusterId, Links, Me, MembershipError, NodeId, RequestError, Requests, Timers, View,
};
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tokio::sync::{Notify, SetOnce, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, Span};

use crate::{
    RaftConfig,
    leases::Leases,
    proposals::Proposal,
    reminder::Reminder,
    rpc::{Answer, Ask, AskError, Envelope, Life},
    runtime, sound,
    store::Store,
    telemetry::Telemetry,
    transfer::Assembly,
    types::{Metrics, Raft},
};

pub(crate) type Published = Arc<watch::Sender<Arc<View>>>;

/// What the tasks of one membership share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: RaftConfig,
    pub(crate) me: Me,
    pub(crate) peers: Peers,
    pub(crate) links: watch::Receiver<Links>,
    pub(crate) timers: Timers,
    pub(crate) store: Store,
    pub(crate) raft: SetOnce<Raft>,
    pub(crate) proposals: mpsc::Sender<Proposal>,
    pub(crate) room: Room,
}

/// What changes, each under a lock of its own that is never held across an await.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) leases: Mutex<Leases>,
    pub(crate) assembly: Mutex<Option<Assembly>>,
    pub(crate) chance: Mutex<fastrand::Rng>,
    guess: Mutex<Guess>,
    /// A founding was accepted that another node proposed.
    pub(crate) accepted: Notify,
    /// Why Raft has ended on this node, before the membership did.
    pub(crate) fault: SetOnce<String>,
    /// Why this node cannot be on the list, if that is so.
    pub(crate) refused: watch::Sender<Option<String>>,
    /// This node goes: it must not come back to the list.
    pub(crate) leaving: CancellationToken,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// That of the node.
    span: Span,
}

/// Who might lead, and who turned out not to.
#[derive(Debug, Default)]
struct Guess {
    /// What Raft said when the rest was noted: if it says something else, then that is newer.
    known: Option<NodeId>,
    hint: Option<(NodeId, Addr)>,
    silent: Option<NodeId>,
    next: usize,
}

/// Asks other nodes in the name of this one's cluster.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    pub(crate) requests: Requests,
    pub(crate) view: Published,
    pub(crate) store: Store,
    pub(crate) telemetry: Arc<Telemetry>,
}

impl Room {
    pub(crate) fn new(seed: u64, stop: CancellationToken, tasks: TaskTracker) -> Self {
        Self {
            leases: Mutex::default(),
            assembly: Mutex::default(),
            chance: Mutex::new(fastrand::Rng::with_seed(seed)),
            guess: Mutex::default(),
            accepted: Notify::new(),
            fault: SetOnce::new(),
            refused: watch::Sender::new(None),
            leaving: CancellationToken::new(),
            stop,
            tasks,
            span: Span::current(),
        }
    }
}

impl Peers {
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.store.belonging().cluster
    }

    /// Where a node is, as the list says: its address may have changed since Raft was told.
    pub(crate) fn addr_of(&self, id: NodeId) -> Option<Addr> {
        self.view.borrow().nodes.get(&id).map(|node| node.addr.clone())
    }

    pub(crate) async fn ask(
        &self,
        to: NodeId,
        at: &Addr,
        question: Ask,
        within: Duration,
    ) -> Result<Answer, AskError> {
        let body = Envelope { cluster: self.cluster(), question }.encode()?;
        let answer = self.requests.ask(to, at, body, within).await?;
        let answer = crate::types::decode(&answer).inspect_err(|error| {
            self.telemetry.malformed("answer", error);
        })?;
        if let Err(reason) = sound::answer(&answer) {
            self.telemetry.malformed("answer", &reason);
            return Err(AskError::Unexpected);
        }
        match answer {
            Answer::Refused(reason) => Err(AskError::Refused(reason)),
            answer => Ok(answer),
        }
    }
}

impl Shared {
    /// The process that this is, in its present life.
    pub(crate) fn life(&self) -> Life {
        Life { boot: self.me.boot, incarnation: self.store.dir().incarnation() }
    }

    pub(crate) fn telemetry(&self) -> &Arc<Telemetry> {
        &self.peers.telemetry
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.peers.view.borrow().clone()
    }

    /// What a human must look after: what only a restart ends goes before what may pass.
    pub(crate) fn fault(&self) -> Option<String> {
        self.room.fault.get().cloned().or_else(|| self.telemetry().fault())
    }

    pub(crate) fn metrics(&self) -> Option<Metrics> {
        Some(self.raft.get()?.metrics().borrow_watched().clone())
    }

    /// Raft, while it runs: openraft logs an error if it is asked when it has ended.
    pub(crate) fn running(&self) -> Option<&Raft> {
        let raft = self.raft.get()?;
        let ended = raft.metrics().borrow_watched().running_state.is_err();
        (!ended && !self.room.stop.is_cancelled()).then_some(raft)
    }

    pub(crate) fn is_founder(&self) -> bool {
        self.config.founders.contains(&self.me.addr)
    }

    /// Who leads and where that is, if it is known here.
    pub(crate) fn leader(&self) -> Option<(NodeId, Addr)> {
        let metrics = self.metrics()?;
        let id = metrics.current_leader?;
        if id == self.me.id.0 {
            return Some((self.me.id, self.me.addr.clone()));
        }
        let told = || {
            let node = metrics.membership_config.membership().get_node(&id)?;
            node.addr.parse().ok()
        };
        Some((NodeId(id), self.peers.addr_of(NodeId(id)).or_else(told)?))
    }

    /// Asks whoever leads. If that is not known, one attempt asks one founder, who may know.
    pub(crate) async fn ask_leader(&self, question: Ask) -> Result<Answer, AskError> {
        let (id, addr) = match self.guess() {
            Some(known) => known,
            None => self.next_founder().await?,
        };
        let within = self.config.times.request;
        let asked = async {
            if id == self.me.id {
                return Ok(crate::leader::answer(self, id, question).await);
            }
            self.peers.ask(id, &addr, question, within).await
        };
        // A dead leader never says that it leads no more: its successor does.
        let answer = tokio::select! {
            answer = asked => answer,
            () = self.other_leader(id) => Err(RequestError::Broken.into()),
        };
        let mut guess = self.room.guess.lock();
        match &answer {
            Ok(Answer::NotLeader(hint)) => {
                guess.silent = Some(id);
                guess.hint = hint.clone().filter(|(leader, _)| *leader != id);
            }
            // Worth asking first until Raft says something new.
            Ok(_) => (guess.hint, guess.silent) = (Some((id, addr)), None),
            Err(_) => (guess.hint, guess.silent) = (None, Some(id)),
        }
        answer
    }

    fn guess(&self) -> Option<(NodeId, Addr)> {
        let known = self.leader();
        let mut guess = self.room.guess.lock();
        let id = known.as_ref().map(|(id, _)| *id);
        if guess.known != id {
            *guess = Guess { known: id, next: guess.next, ..Guess::default() };
        }
        let silent = guess.silent;
        guess.hint.take().or_else(|| known.filter(|(id, _)| Some(*id) != silent))
    }

    async fn next_founder(&self) -> Result<(NodeId, Addr), AskError> {
        let others: Vec<&Addr> =
            self.config.founders.iter().filter(|addr| **addr != self.me.addr).collect();
        let turn = {
            let mut guess = self.room.guess.lock();
            // Whoever was silent may speak again by the next attempt.
            guess.silent = None;
            guess.next = guess.next.wrapping_add(1);
            guess.next
        };
        let addr = *others.get(turn % others.len().max(1)).ok_or(AskError::NoLeader)?;
        let info = self.peers.requests.identify(addr, self.config.times.request).await?;
        Ok((info.id, addr.clone()))
    }

    /// Returns when Raft says that another node leads than it said before, and than this one.
    async fn other_leader(&self, than: NodeId) {
        let mut metrics = self.raft.wait().await.metrics();
        let before = metrics.borrow_watched().current_leader;
        loop {
            let leader = metrics.borrow_watched().current_leader;
            if leader.is_some_and(|id| id != than.0 && Some(id) != before) {
                return;
            }
            if metrics.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Waits, unless the membership stops.
    pub(crate) async fn pause(&self, pause: Duration) -> Result<(), MembershipError> {
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.room.stop.cancelled() => Err(MembershipError::Stopped),
        }
    }

    /// Waits, but not for longer than until another leader is known.
    pub(crate) async fn pause_for_leader(&self, pause: Duration) {
        let before = self.view().leader;
        let mut view = self.peers.view.subscribe();
        let other = view.wait_for(|view| view.leader.is_some() && view.leader != before);
        // Either way it is time for another attempt.
        let _ = tokio::time::timeout(pause, other).await;
    }

    /// For those who wait for a leader: an election is over before the first one is due.
    pub(crate) fn reminder(&self) -> Reminder {
        Reminder::new(self.config.times.election_max * 3)
    }

    /// Says what it is that waits for a leader, if that is to be said now.
    pub(crate) fn say_waits(&self, reminder: &mut Reminder, what: &str) {
        let Some(time) = reminder.due() else { return };
        let founders = &self.config.founders;
        tracing::warn!(?founders, ?time, "{what} waits for a majority of the founders");
    }

    /// Something from half of a time to one and a half of it.
    pub(crate) fn jittered(&self, time: Duration) -> Duration {
        time.mul_f64(0.5 + self.room.chance.lock().f64())
    }

    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.room.stop.clone();
        let until_stopped = async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        };
        let span = self.room.span.clone();
        self.room.tasks.spawn(self.scope(until_stopped).instrument(span));
    }

    /// Runs what calls Raft.
    pub(crate) fn scope<F: Future>(
        &self,
        calls_raft: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let seed = self.room.chance.lock().u64(..);
        runtime::scope(seed, self.timers.clone(), calls_raft)
    }
}

/// Pauses that double, up to a limit.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(max: Duration) -> Self {
        Self { next: Duration::from_millis(10), max }
    }

    pub(crate) fn step(&mut self, shared: &Shared) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.max);
        shared.jittered(now)
    }
}
