use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{Batch, Body, LocalSender, Source, Upstream};
use crate::{
    LaneId, NodeId,
    lane::{Amount, Delivery, Epoch, Inbound, LaneFault, Ledger, Message, SlotId, Window},
    wire::{Attach, Chunk, Closed, Credit, DataHeader, Records, Resumed, Want},
};

/// What the lock of an inbox holds.
pub(crate) struct Core {
    window: Window,
    lanes: BTreeMap<SlotId, InLane>,
    queue: VecDeque<Batch>,
    present: Option<Present>,
    counted: Option<u64>,
    state: State,
    max_message: u64,
    report_lost: bool,
    lost: VecDeque<NodeId>,
    /// Lanes from which messages were taken since their sender was told.
    untold: Vec<SlotId>,
    notices: Vec<Notice>,
    /// Somebody delivers notices: who has more leaves them to that one, so that they keep their order.
    telling: bool,
    wake: bool,
}

/// A lane that leads here.
struct InLane {
    source: Source,
    inbound: Inbound,
    /// Its sender is gone for good, or has said that nothing more comes.
    ended: bool,
    /// The sender was asked to be told how it ended.
    wants_end: bool,
}

/// The batch that the receiver works through.
struct Present {
    slot: SlotId,
    accounted: Amount,
    count: u64,
}

/// Whether messages may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// No new messages; what is on its way still comes.
    Closing,
    /// Nothing comes any more, and nothing is here.
    Closed,
    /// The node has stopped.
    Stopped,
}

/// What the receiver gets next.
pub(crate) enum Next {
    Batch(Batch),
    Lost(NodeId),
    Empty,
    Closed,
    Stopped,
}

/// What became of an attempt to attach.
#[derive(Debug, PartialEq)]
pub(crate) enum Attachment {
    Resumed(SlotId, Resumed),
    /// It is over, or will be as soon as what is here is taken: the answer comes then.
    Ending,
}

/// Something that others are told once the lock is free.
pub(crate) enum Notice {
    Owe(Arc<dyn Upstream>, LaneId),
    Reclaim(Arc<dyn Upstream>, LaneId),
    Stop(Arc<dyn Upstream>, LaneId),
    Closed(Arc<dyn Upstream>, Closed),
    Granted(Arc<dyn LocalSender>),
    StopLocal(Arc<dyn LocalSender>),
    Returned(Arc<dyn LocalSender>, Vec<Batch>),
    Settled(Arc<dyn LocalSender>, Ledger),
}

impl Notice {
    pub(crate) fn deliver(self) {
        match self {
            Self::Owe(upstream, lane) => upstream.owe(lane),
            Self::Reclaim(upstream, lane) => upstream.reclaim(lane),
            Self::Stop(upstream, lane) => upstream.stop(lane),
            Self::Closed(upstream, closed) => upstream.closed(closed),
            Self::Granted(sender) => sender.granted(),
            Self::StopLocal(sender) => sender.stop(),
            Self::Returned(sender, batches) => sender.returned(batches),
            Self::Settled(sender, ledger) => sender.settled(ledger),
        }
    }
}

impl Core {
    pub(crate) fn new(capacity: Amount, max_message: u64, report_lost: bool) -> Self {
        Self {
            window: Window::new(capacity).largest(max_message),
            lanes: BTreeMap::new(),
            queue: VecDeque::new(),
            present: None,
            counted: None,
            state: State::Open,
            max_message,
            report_lost,
            lost: VecDeque::new(),
            untold: Vec::new(),
            notices: Vec::new(),
            telling: false,
            wake: false,
        }
    }

    /// The notices to be delivered now, unless somebody else delivers them. Who gets some comes back
    /// for more with `again`, until there are none.
    pub(crate) fn take_notices(&mut self, again: bool) -> Vec<Notice> {
        if self.telling && !again {
            return Vec::new();
        }
        self.telling = !self.notices.is_empty();
        std::mem::take(&mut self.notices)
    }

    pub(crate) fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.wake)
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    // ---- lanes come, go on, and go ----

    /// A lane begins. `None` if nothing new may come.
    pub(crate) fn open(
        &mut self,
        source: Source,
        epoch: Epoch,
        attach: &Attach,
    ) -> Option<(SlotId, Resumed)> {
        if self.state != State::Open {
            return None;
        }
        let slot = self.window.add();
        let lane = InLane { source, inbound: Inbound::default(), ended: false, wants_end: true };
        self.lanes.insert(slot, lane);
        match self.attach(slot, epoch, attach) {
            Attachment::Resumed(slot, resumed) => Some((slot, resumed)),
            Attachment::Ending => None,
        }
    }

    /// A lane goes on in a new connection.
    pub(crate) fn attach(&mut self, slot: SlotId, epoch: Epoch, attach: &Attach) -> Attachment {
        let state = self.state;
        let Some(lane) = self.lanes.get_mut(&slot).filter(|lane| !lane.ended) else {
            self.end_if_drained(slot);
            return Attachment::Ending;
        };
        if !lane.inbound.attach(epoch, attach.taken) {
            // A connection that is history by now.
            return Attachment::Ending;
        }
        let id = match &lane.source {
            Source::Remote { lane: id, upstream, .. } => {
                if state != State::Open {
                    self.notices.push(Notice::Stop(upstream.clone(), *id));
                }
                *id
            }
            Source::Local { .. } => LaneId::CONTROL,
        };
        let next_frame = lane.inbound.next_frame();
        self.window.attach(slot, attach.wanting && state == State::Open);
        self.balance(Some(slot));
        let credit = self.credit_of(slot, id);
        Attachment::Resumed(slot, Resumed { next_frame, credit })
    }

    /// A sender in this process begins.
    pub(crate) fn open_local(
        &mut self,
        node: NodeId,
        sender: Arc<dyn LocalSender>,
    ) -> Option<SlotId> {
        if self.state != State::Open {
            return None;
        }
        let slot = self.window.add();
        let source = Source::Local { node, sender };
        let lane = InLane { source, inbound: Inbound::default(), ended: false, wants_end: false };
        self.lanes.insert(slot, lane);
        self.window.attach(slot, true);
        self.balance(None);
        Some(slot)
    }

    /// The connection of a lane is gone.
    pub(crate) fn cut(&mut self, slot: SlotId) {
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.inbound.cut();
            self.window.detach(slot);
            self.balance(None);
            self.settle_state();
        }
    }

    /// The sender says that nothing more comes.
    pub(crate) fn finish(&mut self, slot: SlotId, epoch: Epoch) {
        let Some(lane) = self.lanes.get_mut(&slot) else { return };
        lane.inbound.finish(epoch);
        if lane.inbound.is_finished() {
            self.end(slot);
        }
    }

    /// The sender is gone for good. What is here is delivered. `tell`: it may come back and ask.
    pub(crate) fn sender_lost(&mut self, slot: SlotId, tell: bool) {
        let Some(lane) = self.lanes.get_mut(&slot) else { return };
        lane.inbound.abandon();
        lane.wants_end &= tell;
        if self.report_lost && !lane.ended {
            self.lost.push_back(lane.source.node());
        }
        self.end(slot);
    }

    /// A sender in this process says that nothing more comes.
    pub(crate) fn finish_local(&mut self, slot: SlotId) {
        if self.lanes.contains_key(&slot) {
            self.end(slot);
        }
    }

    fn end(&mut self, slot: SlotId) {
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.ended = true;
        }
        self.window.detach(slot);
        self.end_if_drained(slot);
        self.balance(None);
        self.settle_state();
        self.wake = true;
    }

    fn end_if_drained(&mut self, slot: SlotId) {
        let Some(lane) = self.lanes.get(&slot) else { return };
        if !lane.ended || !lane.inbound.is_drained() {
            return;
        }
        if let (Source::Remote { lane: id, upstream, .. }, true) = (&lane.source, lane.wants_end) {
            let closed =
                Closed { lane: *id, taken: lane.inbound.taken(), skipped: lane.inbound.skipped() };
            self.notices.push(Notice::Closed(upstream.clone(), closed));
        }
        self.lanes.remove(&slot);
        self.window.remove(slot);
    }

    // ---- messages come ----

    /// Some messages have come in.
    pub(crate) fn data(
        &mut self,
        slot: SlotId,
        epoch: Epoch,
        header: &DataHeader,
        records: Records,
    ) -> Result<(), LaneFault> {
        let Some(lane) = self.lanes.get_mut(&slot) else { return Ok(()) };
        let Some((delivery, bytes)) = lane.inbound.data(epoch, header, records)? else {
            return Ok(());
        };
        self.window.received(slot, Amount::new(u64::from(header.count), bytes))?;
        self.deliver(slot, delivery, bytes);
        Ok(())
    }

    /// A part of a large message has come in.
    pub(crate) fn chunk(
        &mut self,
        slot: SlotId,
        epoch: Epoch,
        header: &DataHeader,
        chunk: Chunk,
    ) -> Result<(), LaneFault> {
        let Some(lane) = self.lanes.get_mut(&slot) else { return Ok(()) };
        let (part, total) = (chunk.body.len() as u64, chunk.total);
        let Some(done) = lane.inbound.chunk(epoch, header, chunk, self.max_message)? else {
            return Ok(());
        };
        self.window.received(slot, Amount::new(u64::from(header.count), part))?;
        if let Some(delivery) = done {
            self.deliver(slot, delivery, total);
        }
        Ok(())
    }

    fn deliver(&mut self, slot: SlotId, delivery: Delivery, bytes: u64) {
        let Some(lane) = self.lanes.get(&slot) else { return };
        let from = lane.source.node();
        let body = match delivery.message {
            Message::Records(records) => Body::Records(records),
            Message::Large { flags, pieces } => Body::Single { flags, pieces, receipt: None },
        };
        self.queue.push_back(Batch { slot, from, count: u64::from(delivery.count), bytes, body });
        self.wake = true;
    }

    /// Whether a sender in this process may put messages in.
    pub(crate) fn takes_local(&self, slot: SlotId) -> bool {
        self.lanes.get(&slot).is_some_and(|lane| !lane.ended)
    }

    /// A sender in this process puts a message in. `put` appends it to the last batch, or makes one.
    pub(crate) fn put_local(
        &mut self,
        slot: SlotId,
        bytes: u64,
        put: impl FnOnce(Option<&mut Body>) -> Option<Body>,
    ) {
        let Some(lane) = self.lanes.get_mut(&slot) else { return };
        lane.inbound.receive_local(1);
        let from = lane.source.node();
        self.window.put_in(slot, Amount::new(1, bytes));
        let last = self.queue.back_mut().filter(|batch| batch.slot == slot);
        match last {
            Some(batch) => match put(Some(&mut batch.body)) {
                None => {
                    batch.count += 1;
                    batch.bytes += bytes;
                }
                Some(body) => self.queue.push_back(Batch { slot, from, count: 1, bytes, body }),
            },
            None => {
                if let Some(body) = put(None) {
                    self.queue.push_back(Batch { slot, from, count: 1, bytes, body });
                }
            }
        }
        self.wake = true;
    }

    /// What the sender of a lane needs and gives back.
    pub(crate) fn want(
        &mut self,
        slot: SlotId,
        epoch: Epoch,
        want: &Want,
    ) -> Result<(), LaneFault> {
        if !self.lanes.get(&slot).is_some_and(|lane| lane.inbound.is_attached(epoch)) {
            return Ok(());
        }
        self.window.want(slot, want)?;
        self.balance(None);
        Ok(())
    }

    /// How many messages a sender in this process may put in.
    pub(crate) fn local_credit(&self, slot: SlotId) -> u64 {
        self.window.unused(slot)
    }

    // ---- messages are taken ----

    /// The receiver is so far in its batch. `answer`: tell the sender at once.
    pub(crate) fn sync(&mut self, so_far: Amount, answer: bool) {
        let Some(present) = &mut self.present else { return };
        let news = so_far.saturating_sub(present.accounted);
        let slot = present.slot;
        if news.messages > 0 {
            present.accounted = so_far;
            self.take(slot, news, Ledger { taken: news.messages, ..Ledger::default() });
        }
        if answer {
            self.owe(slot);
        }
    }

    /// The receiver is through with its batch. If that was all there is, then senders hear of it now.
    pub(crate) fn sync_end(&mut self, so_far: Amount) {
        self.sync(so_far, false);
        if self.queue.is_empty() {
            self.tell_all();
        }
    }

    fn tell_all(&mut self) {
        for slot in std::mem::take(&mut self.untold) {
            self.owe(slot);
        }
    }

    /// The next message of the batch is settled, but not taken.
    pub(crate) fn skip(&mut self, bytes: u64) {
        let Some(present) = &mut self.present else { return };
        present.accounted += Amount::new(1, bytes);
        let slot = present.slot;
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.inbound.note_skipped();
        }
        let mut ledger = Ledger::default();
        ledger.dropped.decode = 1;
        self.take(slot, Amount::new(1, bytes), ledger);
        self.owe(slot);
    }

    fn take(&mut self, slot: SlotId, amount: Amount, settled: Ledger) {
        let Some(lane) = self.lanes.get_mut(&slot) else { return };
        lane.inbound.take(amount.messages);
        if let Source::Local { sender, .. } = &lane.source {
            self.notices.push(Notice::Settled(sender.clone(), settled));
        } else if !self.untold.contains(&slot) {
            self.untold.push(slot);
        }
        self.window.taken(slot, amount);
        self.balance(None);
        self.end_if_drained(slot);
    }

    /// The next batch, if there is one.
    pub(crate) fn next(&mut self) -> Next {
        self.present = None;
        // What is here of a receiver that was stopped waits to be given back.
        let next = if self.state == State::Stopped { None } else { self.queue.pop_front() };
        if let Some(batch) = next {
            let (slot, count) = (batch.slot, batch.count);
            self.present = Some(Present { slot, accounted: Amount::default(), count });
            return Next::Batch(batch);
        }
        self.tell_all();
        if let Some(node) = self.lost.pop_front() {
            return Next::Lost(node);
        }
        self.settle_state();
        match self.state {
            State::Closed => Next::Closed,
            State::Stopped => Next::Stopped,
            State::Open | State::Closing => Next::Empty,
        }
    }

    /// The way back to the sender of a lane in another process.
    pub(crate) fn upstream(&self, slot: SlotId) -> Option<Arc<dyn Upstream>> {
        match &self.lanes.get(&slot)?.source {
            Source::Remote { upstream, .. } => Some(upstream.clone()),
            Source::Local { .. } => None,
        }
    }

    /// The same for the batch that the receiver is in the midst of.
    pub(crate) fn upstream_of_present(&self) -> Option<Arc<dyn Upstream>> {
        let present = self.present.as_ref()?;
        let midst = present.accounted.messages < present.count;
        midst.then(|| self.upstream(present.slot)).flatten()
    }

    // ---- the receiver closes ----

    /// No new messages. What is on its way still comes.
    pub(crate) fn close(&mut self) {
        if self.state != State::Open {
            return;
        }
        self.state = State::Closing;
        let mut local = Vec::new();
        for (&slot, lane) in &self.lanes {
            match &lane.source {
                Source::Remote { lane: id, upstream, .. } => {
                    self.notices.push(Notice::Stop(upstream.clone(), *id));
                }
                Source::Local { sender, .. } => {
                    self.notices.push(Notice::StopLocal(sender.clone()));
                    local.push(slot);
                }
            }
        }
        for slot in local {
            self.end(slot);
        }
        self.settle_state();
        self.wake = true;
    }

    /// Gives everything that was not taken back to its senders. `rest`: what is left of the batch that
    /// the receiver was in.
    ///
    /// Without it, the receiver may still hold values of a sender in this process, which nobody else
    /// has: their lane stays, and what is behind them too, until the receiver comes with the rest.
    pub(crate) fn hand_back(&mut self, rest: Option<Batch>, then: State) {
        let held = if rest.is_none() { self.held_by_receiver() } else { None };
        self.counted = self.present.take().map(|present| present.accounted.messages);
        let mut batches: Vec<Batch> = rest.into_iter().chain(self.queue.drain(..)).collect();
        for (slot, mut lane) in std::mem::take(&mut self.lanes) {
            match lane.source {
                Source::Local { ref sender, .. } if held == Some(slot) => {
                    self.notices.push(Notice::StopLocal(sender.clone()));
                    let (own, others): (Vec<_>, _) =
                        batches.into_iter().partition(|batch| batch.slot == slot);
                    (self.queue, batches) = (own.into(), others);
                    lane.ended = true;
                    self.lanes.insert(slot, lane);
                    self.window.detach(slot);
                    continue;
                }
                Source::Remote { lane: id, upstream, .. } if lane.wants_end => {
                    let (taken, skipped) = (lane.inbound.taken(), lane.inbound.skipped());
                    self.notices
                        .push(Notice::Closed(upstream, Closed { lane: id, taken, skipped }));
                }
                Source::Remote { .. } => {}
                Source::Local { sender, .. } => {
                    let (own, others) = batches.into_iter().partition(|batch| batch.slot == slot);
                    batches = others;
                    self.notices.push(Notice::StopLocal(sender.clone()));
                    self.notices.push(Notice::Returned(sender, own));
                }
            }
            self.window.remove(slot);
        }
        self.state = then;
        self.wake = true;
    }

    /// The lane of the batch that the receiver is in the midst of, if its values are nowhere else.
    fn held_by_receiver(&self) -> Option<SlotId> {
        let present = self.present.as_ref()?;
        let lane = self.lanes.get(&present.slot)?;
        let local = matches!(lane.source, Source::Local { .. });
        (local && present.accounted.messages < present.count).then_some(present.slot)
    }

    /// How many messages of the present batch were counted as taken when everything was handed back.
    pub(crate) fn handed_back_after(&self) -> Option<u64> {
        self.counted
    }

    /// Closed once nothing more can come: a lane without a connection brings nothing, and its sender
    /// hears how it ended when it comes back.
    fn settle_state(&mut self) {
        if self.state != State::Closing || !self.queue.is_empty() {
            return;
        }
        let waiting = |lane: &InLane| !lane.inbound.is_drained() || lane.inbound.has_connection();
        if !self.lanes.values().any(waiting) {
            self.hand_back(None, State::Closed);
        }
    }

    // ---- credit ----

    /// The credit of a lane, for its sender. `None` if the lane has no connection.
    pub(crate) fn credit(&mut self, slot: SlotId, id: LaneId, epoch: Epoch) -> Option<Credit> {
        let lane = self.lanes.get(&slot)?;
        lane.inbound.is_attached(epoch).then(|| self.credit_of(slot, id))
    }

    fn credit_of(&mut self, slot: SlotId, id: LaneId) -> Credit {
        let limit = self.window.limit(slot);
        let (taken, skipped) = match self.lanes.get(&slot) {
            Some(lane) => (lane.inbound.taken(), lane.inbound.skipped()),
            None => (0, Vec::new()),
        };
        let (limit_messages, limit_bytes) = (limit.messages, limit.bytes);
        Credit { lane: id, taken, limit_messages, limit_bytes, skipped }
    }

    fn owe(&mut self, slot: SlotId) {
        if self.window.owes(slot)
            && let Some(InLane { source: Source::Remote { lane, upstream, .. }, .. }) =
                self.lanes.get(&slot)
        {
            self.notices.push(Notice::Owe(upstream.clone(), *lane));
        }
    }

    /// Shares out what there is. The lane that is being answered anyway needs no notice.
    fn balance(&mut self, answered: Option<SlotId>) {
        let grants = self.window.balance();
        for slot in grants.granted {
            match self.lanes.get(&slot).map(|lane| &lane.source) {
                Some(Source::Remote { lane, upstream, .. }) if answered != Some(slot) => {
                    self.notices.push(Notice::Owe(upstream.clone(), *lane));
                }
                Some(Source::Local { sender, .. }) => {
                    self.notices.push(Notice::Granted(sender.clone()));
                }
                _ => {}
            }
        }
        for slot in grants.reclaim {
            match self.lanes.get(&slot).map(|lane| lane.source.clone()) {
                Some(Source::Remote { lane, upstream, .. }) => {
                    self.notices.push(Notice::Reclaim(upstream, lane));
                }
                Some(Source::Local { sender, .. }) => self.reclaim_local(slot, &sender),
                None => {}
            }
        }
    }

    /// A sender in this process answers at once: what it has not used and not promised is given back.
    fn reclaim_local(&mut self, slot: SlotId, sender: &Arc<dyn LocalSender>) {
        self.window.give_back(slot, sender.reserved());
        self.notices.push(Notice::Granted(sender.clone()));
    }

    /// A sender in this process waits for credit.
    pub(crate) fn ask_local(&mut self, slot: SlotId) {
        self.window.ask(slot);
        self.balance(None);
    }
}
