//! What must hold at any time, and what must hold when nothing is left to do.

use super::{Rules, World};
use crate::wire::CHUNK;

impl World {
    /// What must hold after every step.
    pub(super) fn check(&mut self, rules: &Rules) {
        for s in 0..self.senders.len() {
            if let Err(what) = self.check_ledger(rules, s) {
                self.fail(what);
            }
        }
        for r in 0..self.receivers.len() {
            if let Err(what) = self.check_room(rules, r) {
                self.fail(what);
            }
        }
    }

    /// The two-sided ledger: what the sender believes, and what applications really took.
    fn check_ledger(&self, rules: &Rules, s: usize) -> Result<(), String> {
        let sender = &self.senders[s];
        if !sender.alive {
            return Ok(());
        }
        let ledger = sender.ledger();
        if !ledger.balances() || ledger.accepted != sender.next as u64 {
            return Err(format!("the ledger of sender {s} does not balance: {ledger}"));
        }
        let really = self.took.keys().filter(|(from, _)| *from == s).count() as u64;
        let most = ledger.taken + ledger.unknown + ledger.in_flight;
        if ledger.taken > really || really > most {
            return Err(format!("{really} taken from sender {s}, whose ledger says {ledger}"));
        }
        let skipped = self.skipped.keys().filter(|(from, _)| *from == s).count() as u64;
        if ledger.dropped.decode > skipped {
            return Err(format!("{skipped} skipped of sender {s}, whose ledger says {ledger}"));
        }
        let broken = rules.faults.receiver_deaths > 0 || rules.faults.timeouts > 0;
        if ledger.unknown > 0 && !broken {
            return Err(format!("unknown although no process died: {ledger}"));
        }
        if !sender.lanes.values().all(|lane| lane.out.holds_what_it_says()) {
            return Err(format!("a lane of sender {s} miscounts what it holds"));
        }
        for (id, cell) in &sender.receipts {
            use super::super::Outcome::*;
            let really = match cell.outcome() {
                Some(Taken) => self.took.contains_key(&(s, *id)),
                Some(Undecodable) => self.skipped.contains_key(&(s, *id)),
                _ => true,
            };
            if !really {
                return Err(format!("receipt {id} says {:?}, which is not so", cell.outcome()));
            }
        }
        Ok(())
    }

    /// Receivers hold no more than they have room for.
    fn check_room(&self, rules: &Rules, r: usize) -> Result<(), String> {
        let receiver = &self.receivers[r];
        let (used, lanes) = (receiver.window.used(), receiver.most_lanes);
        let messages = rules.capacity.messages.max(lanes);
        let largest = rules.script.iter().map(|kind| kind.size as u64).max().unwrap_or(0);
        let bytes = rules.capacity.bytes.max(lanes) + lanes * CHUNK as u64 + largest;
        if used.messages > messages || used.bytes > bytes {
            return Err(format!("receiver {r} promises {used:?} of {:?}", rules.capacity));
        }
        let stored: u64 = receiver.inbox.iter().map(|entry| entry.len).sum();
        if receiver.inbox.len() as u64 > messages || stored > bytes {
            let len = receiver.inbox.len();
            return Err(format!("receiver {r} holds {len} messages of {stored} bytes"));
        }
        Ok(())
    }

    /// What must hold when nothing can happen any more.
    pub(super) fn check_rest(&mut self, rules: &Rules) {
        let some_open = self.receivers.iter().any(super::Receiver::is_open);
        for s in 0..self.senders.len() {
            let sender = &self.senders[s];
            let ledger = sender.ledger();
            let stuck = ledger.in_flight - sender.homeless.len() as u64;
            let waits = some_open && sender.waits(rules);
            let stubs = sender.lanes.values().filter(|lane| lane.stub).count();
            let permits = sender.lanes.values().any(|lane| !lane.permits.is_empty());
            let open = |cell: &std::sync::Arc<super::super::ReceiptCell>| cell.outcome().is_none();
            let waiting = sender.receipts.values().filter(|cell| open(cell)).count();
            if sender.alive && (stuck > 0 || (waits && !permits) || stubs > 0) {
                self.fail(format!("sender {s} stands still: {ledger}, {stubs} stubs"));
            } else if sender.alive && waiting > sender.homeless.len() {
                self.fail(format!("{waiting} receipts of sender {s} are not settled"));
            }
        }
    }
}
