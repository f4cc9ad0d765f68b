//! Two-sided accounts: what receivers really returned, against what senders say became of it.

use std::{collections::HashMap, collections::HashSet, sync::Arc};

use bytes::Bytes;
use dchan_core::{Delivery, Ledger, Node, Receiver, RecvError, Sender};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::until;

/// A message of a test: which sender handle it is of, its number there, and padding.
pub type Message = (u32, u64, Bytes);

/// A message with so many bytes of padding.
pub fn message(handle: u32, number: u64, len: usize) -> Message {
    (handle, number, Bytes::from(vec![number as u8; len]))
}

/// A message as `recv` returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sender handle.
    pub handle: u32,
    /// Its number there.
    pub number: u64,
    /// The flags of its delivery.
    pub rerouted: bool,
    /// The flags of its delivery.
    pub redelivered: bool,
}

impl Entry {
    /// What is to be noted of a delivery.
    pub fn of(delivery: &Delivery<Message>) -> Self {
        let Delivery { value: (handle, number, padding), rerouted, redelivered, .. } = delivery;
        let mut ends = padding.first().into_iter().chain(padding.last());
        assert!(ends.all(|byte| *byte == *number as u8), "the padding is as it was");
        let (rerouted, redelivered) = (*rerouted, *redelivered);
        Self { handle: *handle, number: *number, rerouted, redelivered }
    }
}

/// What one receiver returned, in order.
pub type Log = Arc<Mutex<Vec<Entry>>>;

/// Knows what was accepted and what was received.
#[derive(Debug, Default)]
pub struct Oracle {
    logs: Mutex<Vec<Log>>,
    accepted: Arc<Mutex<HashMap<u32, u64>>>,
    orphans: Mutex<HashSet<u32>>,
}

impl Oracle {
    /// One that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A log for one more receiver.
    pub fn log(&self) -> Log {
        let log = Log::default();
        self.logs.lock().push(log.clone());
        log
    }

    /// Receives in the background until the receiver is closed, or its node has stopped. Aborted, it
    /// drops the receiver.
    pub fn receive(&self, mut receiver: Receiver<Message>) -> JoinHandle<Receiver<Message>> {
        let log = self.log();
        tokio::spawn(async move {
            loop {
                match receiver.recv_delivery().await {
                    Ok(Some(delivery)) => log.lock().push(Entry::of(&delivery)),
                    Ok(None) | Err(RecvError::NodeStopped) => return receiver,
                    Err(error) => panic!("a receiver got {error}"),
                }
            }
        })
    }

    /// Receives just so many messages.
    pub async fn take(&self, receiver: &mut Receiver<Message>, count: u64) -> Log {
        let log = self.log();
        for _ in 0..count {
            let delivery = receiver.recv_delivery().await.expect("a message");
            log.lock().push(Entry::of(&delivery.expect("a message")));
        }
        log
    }

    /// Sends the messages with these numbers in the background.
    pub fn send(
        &self,
        sender: &Sender<Message>,
        handle: u32,
        numbers: std::ops::Range<u64>,
        len: impl Fn(u64) -> usize + Send + 'static,
    ) -> JoinHandle<()> {
        let (sender, accepted) = (sender.clone(), self.accepted.clone());
        tokio::spawn(async move {
            for number in numbers {
                let sent = sender.send(message(handle, number, len(number))).await;
                if sent.is_err() {
                    return;
                }
                accepted.lock().insert(handle, number + 1);
            }
        })
    }

    /// A message was accepted by other means.
    pub fn note_accepted(&self, handle: u32, number: u64) {
        self.accepted.lock().insert(handle, number + 1);
    }

    /// How many messages were accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.lock().values().sum()
    }

    /// How many messages were received.
    pub fn received(&self) -> u64 {
        self.logs.lock().iter().map(|log| log.lock().len() as u64).sum()
    }

    /// Everything that was received, receiver by receiver.
    pub fn logs(&self) -> Vec<Vec<Entry>> {
        self.logs.lock().iter().map(|log| log.lock().clone()).collect()
    }

    /// Waits until every message is received, taken, and accounted for: nothing is lost, repeated, out
    /// of order, unknown or dropped.
    pub async fn settle(&self, node: &Node, namespace: &str) {
        self.settle_all(&[node], namespace).await;
    }

    /// The same, where several nodes have sent.
    pub async fn settle_all(&self, nodes: &[&Node], namespace: &str) {
        let ledgers = || nodes.iter().map(|node| node.ledger(namespace)).collect::<Vec<_>>();
        until("all is in", || self.received() >= self.accepted()).await;
        until("all is settled", || ledgers().iter().all(|ledger| ledger.in_flight == 0)).await;
        let ledgers = ledgers();
        let accepted: u64 = ledgers.iter().map(|ledger| ledger.accepted).sum();
        let astray: u64 =
            ledgers.iter().map(|ledger| ledger.unknown + ledger.dropped.total()).sum();
        assert_eq!(astray, 0, "{ledgers:?}");
        assert_eq!(accepted, self.accepted(), "{ledgers:?}");
        assert_eq!(self.received(), self.accepted(), "{ledgers:?}");
        self.check(&ledgers).await;
    }

    /// A message of that handle was accepted by a process that is gone, and its account with it: only
    /// repeats and the order can be checked.
    pub fn note_orphan(&self, handle: u32) {
        self.orphans.lock().insert(handle);
    }

    /// Checks what must hold at any time when nobody sends: the two sides agree, nothing is repeated,
    /// and what one handle sent to one receiver is in order. `ledgers`: of all nodes that sent.
    pub async fn check(&self, ledgers: &[Ledger]) {
        for ledger in ledgers {
            assert!(ledger.balances(), "{ledger}");
        }
        // A sender may know that a message was taken before the one who took it has written it down.
        let written = format!("all that counts as taken was received: {ledgers:?}");
        until(&written, || self.judge(ledgers).lost() == 0).await;
        self.judge(ledgers).check();
    }

    /// Holds what receivers returned against what senders say, when nobody sends. `ledgers`: of all
    /// nodes that sent and are there still.
    pub fn judge(&self, ledgers: &[Ledger]) -> Verdict {
        let mut verdict = Verdict::default();
        for ledger in ledgers {
            verdict.sent += *ledger;
        }
        let (accepted, orphans) = (self.accepted.lock().clone(), self.orphans.lock().clone());
        let mut seen = HashSet::new();
        for log in &self.logs() {
            let mut last: HashMap<u32, u64> = HashMap::new();
            for entry in log {
                let Entry { handle, number, rerouted, redelivered } = *entry;
                // The last one may have come before its sender noted it.
                if number > accepted.get(&handle).copied().unwrap_or_default() {
                    verdict.strangers.push(entry.clone());
                }
                let new = seen.insert((handle, number));
                if !new && !redelivered {
                    verdict.repeated.push(entry.clone());
                }
                verdict.received += u64::from(new && !orphans.contains(&handle));
                if rerouted || redelivered {
                    continue;
                }
                let before = last.insert(handle, number);
                if before.is_some_and(|before| before > number) {
                    verdict.reordered.push(entry.clone());
                }
            }
        }
        verdict
    }
}

/// What comes of holding the two sides against each other.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What the senders say.
    pub sent: Ledger,
    /// How many messages of those senders were received, each counted once.
    pub received: u64,
    /// Messages that were never accepted.
    pub strangers: Vec<Entry>,
    /// Messages that came once more, and not for a reason that they name.
    pub repeated: Vec<Entry>,
    /// Messages that came after later ones, and not for a reason that they name.
    pub reordered: Vec<Entry>,
}

impl Verdict {
    /// Messages that count as taken and were not received.
    pub fn lost(&self) -> u64 {
        self.sent.taken.saturating_sub(self.received)
    }

    /// Checks that the two sides agree.
    pub fn check(&self) {
        let Self { sent, received, .. } = self;
        let wrong = [&self.strangers, &self.repeated, &self.reordered];
        assert!(wrong.iter().all(|entries| entries.is_empty()), "{self:?}");
        assert_eq!(self.lost(), 0, "{sent}, but {received} were received");
        let most = sent.taken + sent.unknown + sent.in_flight;
        assert!(*received <= most, "{sent}, but {received} were received");
    }
}
