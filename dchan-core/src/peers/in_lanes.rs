use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Breach, LaneId, ReceiverId,
    inbox::Inbox,
    lane::{Epoch, SlotId},
    link::ProtocolError,
    wire::Closed,
};

/// The most lanes that one peer may have to one receiver at a time. An honest one has a single lane
/// there, and some that are about to end: no peer can crowd the others out.
const TO_ONE: usize = 256;

/// The lanes that come in from a peer, and those that are over but not confirmed.
#[derive(Default)]
pub(super) struct InLanes {
    entries: BTreeMap<LaneId, InEntry>,
    /// How many are live, by where they lead.
    live: HashMap<ReceiverId, usize>,
    /// Lanes whose sender was asked for credit and has not answered: in which connection, and since when.
    asked: BTreeMap<LaneId, (Epoch, Instant)>,
}

pub(super) enum InEntry {
    Live(Arc<Inbox>, SlotId),
    /// How it ended. Kept until the sender confirms that it knows, or its process is gone.
    Over(Closed),
}

impl InLanes {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many are live, and how many are over.
    pub(super) fn count(&self) -> (usize, usize) {
        let live = self.live.values().sum();
        (live, self.entries.len() - live)
    }

    pub(super) fn get(&self, id: LaneId) -> Option<&InEntry> {
        self.entries.get(&id)
    }

    /// Whether there may be one more, of at most so many.
    pub(super) fn check_room(&self, to: ReceiverId, most: usize) -> Result<(), ProtocolError> {
        let (all, there) = (self.entries.len(), self.live.get(&to).copied().unwrap_or(0));
        if all < most && there < TO_ONE {
            return Ok(());
        }
        let what = format!(
            "a lane more than {all}, {there} of them to one receiver: expected at most {most}, and \
             {TO_ONE} to one receiver"
        );
        Err(ProtocolError::new(Breach::TooManyLanes, what))
    }

    pub(super) fn begin(&mut self, id: LaneId, inbox: Arc<Inbox>, slot: SlotId) {
        *self.live.entry(inbox.id).or_default() += 1;
        self.put(id, Some(InEntry::Live(inbox, slot)));
    }

    pub(super) fn end(&mut self, closed: Closed) {
        self.put(closed.lane, Some(InEntry::Over(closed)));
    }

    pub(super) fn forget(&mut self, id: LaneId) {
        self.put(id, None);
    }

    /// The sender knows how the lane ended.
    pub(super) fn confirm(&mut self, id: LaneId) {
        if let Some(InEntry::Over(_)) = self.entries.get(&id) {
            self.entries.remove(&id);
        }
    }

    /// The sender of a lane is asked for credit.
    pub(super) fn ask(&mut self, epoch: Epoch, id: LaneId) {
        if !self.entries.contains_key(&id) {
            return;
        }
        let now = (epoch, Instant::now());
        let asked = self.asked.entry(id).or_insert(now);
        if asked.0 < epoch {
            *asked = now;
        }
    }

    /// It has answered.
    pub(super) fn answered(&mut self, id: LaneId) {
        self.asked.remove(&id);
    }

    /// The connection is gone, and what was asked in it.
    pub(super) fn cut(&mut self) {
        self.asked.clear();
    }

    /// Whether all that were asked in that connection have answered in time: others wait for that credit.
    pub(super) fn check_answers(&self, epoch: Epoch, limit: Duration) -> Result<(), ProtocolError> {
        let mut asked = self.asked.iter().filter(|(_, (asked_in, _))| *asked_in == epoch);
        let late = asked.find(|(_, (_, since))| since.elapsed() > limit);
        late.map_or(Ok(()), |(id, _)| {
            let what = format!("lane {id}: credit that was asked back did not come in {limit:?}");
            Err(ProtocolError::new(Breach::Unanswered, what))
        })
    }

    pub(super) fn clear(&mut self) {
        self.asked.clear();
        self.entries.clear();
        self.live.clear();
    }

    pub(super) fn live(&self) -> Vec<(Arc<Inbox>, SlotId)> {
        let live = |entry: &InEntry| match entry {
            InEntry::Live(inbox, slot) => Some((inbox.clone(), *slot)),
            InEntry::Over(_) => None,
        };
        self.entries.values().filter_map(live).collect()
    }

    pub(super) fn tombstones(&self) -> Vec<Closed> {
        let over = |entry: &InEntry| match entry {
            InEntry::Live(..) => None,
            InEntry::Over(closed) => Some(closed.clone()),
        };
        self.entries.values().filter_map(over).collect()
    }

    fn put(&mut self, id: LaneId, entry: Option<InEntry>) {
        self.asked.remove(&id);
        let before = match entry {
            Some(entry) => self.entries.insert(id, entry),
            None => self.entries.remove(&id),
        };
        if let Some(InEntry::Live(inbox, _)) = before
            && let Some(live) = self.live.get_mut(&inbox.id)
        {
            *live -= 1;
            if *live == 0 {
                self.live.remove(&inbox.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_answers_in_that_connection_or_not_at_all() {
        let (mut lanes, id, limit) = (InLanes::default(), LaneId(17), Duration::from_secs(1));
        let closed = Closed { lane: id, taken: 0, skipped: Vec::new() };
        lanes.end(closed);
        lanes.ask(1, id);
        tokio::time::advance(2 * limit).await;
        lanes.check_answers(1, limit).unwrap_err();
        lanes.check_answers(2, limit).unwrap();
        // The second question has its own time.
        lanes.ask(2, id);
        lanes.check_answers(2, limit).unwrap();
        tokio::time::advance(2 * limit).await;
        lanes.ask(2, id);
        lanes.check_answers(2, limit).unwrap_err();
        lanes.answered(id);
        lanes.check_answers(2, limit).unwrap();
    }
}
