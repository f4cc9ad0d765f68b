//! When messages leave: at once, or together with others.

use super::*;
use crate::{MemoryNetwork, Receiver, Sender, StaticMembership, metrics::Traffic};

/// Two nodes, and a channel from the first to the second.
pub(super) struct Two {
    pub(super) network: MemoryNetwork,
    pub(super) a: Node,
    pub(super) b: Node,
    pub(super) sender: Sender<Vec<u8>>,
    pub(super) receiver: Receiver<Vec<u8>>,
}

impl Two {
    pub(super) async fn start() -> Self {
        let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
        let start = async |name: &str| {
            let listen: Addr = name.parse().unwrap();
            let transport = network.transport(&listen);
            Node::start(NodeOptions::new(listen), transport, list.member()).await.unwrap()
        };
        let (a, b) = (start("a:1").await, start("b:1").await);
        let receiver = b.receiver("n").await.unwrap();
        let sender = a.sender("n").await.unwrap();
        let mut two = Self { network, a, b, sender, receiver };
        // The lane stands, and nothing is on its way.
        two.sender.send(vec![0]).await.unwrap();
        two.take(1).await;
        two.sender.flush().await.unwrap();
        two
    }

    pub(super) async fn take(&mut self, count: usize) {
        for _ in 0..count {
            self.receiver.recv().await.unwrap().unwrap();
        }
    }

    /// What the first node has sent to the second.
    fn there(&self) -> Traffic {
        self.a.metrics().peers[&self.b.id()].sent
    }

    /// The other way round.
    pub(super) fn back(&self) -> Traffic {
        self.b.metrics().peers[&self.a.id()].sent
    }

    pub(super) async fn stop(self) {
        self.sender.flush().await.unwrap();
        let ledger = self.sender.ledger();
        assert!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
        drop((self.sender, self.receiver));
        self.a.shutdown().await.unwrap();
        self.b.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_message_has_left_when_send_returns() {
    let mut two = Two::start().await;
    for round in 0..10 {
        let before = two.there().messages;
        two.sender.send(vec![round; 16]).await.unwrap();
        // No other task has had a turn since.
        assert_eq!(two.there().messages, before + 1, "round {round}");
        two.take(1).await;
        two.sender.flush().await.unwrap();
    }
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_in_a_row_leaves_together() {
    let mut two = Two::start().await;
    let before = two.there();
    for n in 0..100 {
        two.sender.send(vec![n; 16]).await.unwrap();
    }
    two.take(100).await;
    let after = two.there();
    assert_eq!(after.messages - before.messages, 100);
    // The first one by itself, the others in one frame, and some control messages.
    assert!(after.frames - before.frames <= 4, "{before:?} {after:?}");
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_need_not_wait_lets_its_messages_leave() {
    let mut two = Two::start().await;
    let before = two.there().messages;
    // Half of what the receiver has room for: there is no credit to wait for.
    let count = 2048;
    for n in 0..count {
        two.sender.send(vec![0; 1024]).await.unwrap();
        let left = two.there().messages - before;
        // It has its turn after two blocks, and what they hold leaves after two more at the latest.
        assert!(left + 384 > n, "{left} of {n} have left");
    }
    two.take(count as usize).await;
    two.stop().await;
}

#[tokio::test]
async fn lone_messages_on_many_lanes_leave_together() {
    let two = Two::start().await;
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for n in 0..200 {
        let name = format!("n{n}");
        receivers.push(two.b.receiver::<u32>(&name).await.unwrap());
        senders.push(two.a.sender::<u32>(&name).await.unwrap());
    }
    for round in 0..3 {
        for sender in &senders {
            sender.wait_for_receivers(1).await.unwrap();
            sender.flush().await.unwrap();
        }
        let before = two.there().messages;
        for sender in &senders {
            sender.send(round).await.unwrap();
        }
        if round > 0 {
            // The first one by itself. The peer has not been heard from since, and so the others wait for this
            // task to stop, but not for ever.
            assert_eq!(two.there().messages, before + 1 + 128);
        }
        for receiver in &mut receivers {
            assert_eq!(receiver.recv().await.unwrap(), Some(round));
        }
    }
    drop((senders, receivers));
    two.stop().await;
}

#[tokio::test]
async fn a_thread_without_a_runtime_sends_lone_messages_too() {
    let mut two = Two::start().await;
    for n in 0..10 {
        let sender = two.sender.clone();
        let sent = std::thread::spawn(move || sender.blocking_send(vec![n]));
        two.take(1).await;
        sent.join().unwrap().unwrap();
        two.sender.flush().await.unwrap();
    }
    two.stop().await;
}
