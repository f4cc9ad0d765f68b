//! Much waits for one connection.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::FutureExt;
use tokio::{task::yield_now, time::timeout};

use super::*;
use crate::{MemoryNetwork, Receiver, Sender, StaticMembership, TrySendError};

/// What may be on its way. Four times as much may wait while nobody knows how fast it leaves.
const LINK: u64 = 256 * 1024;
const SIZE: usize = 1024;

type Message = (u32, Vec<u8>);

/// Three nodes, and channels from the first to the second.
struct Three {
    network: MemoryNetwork,
    a: Node,
    b: Node,
    c: Node,
    senders: Vec<Sender<Message>>,
    receivers: Vec<Receiver<Message>>,
    sent: Vec<u32>,
}

impl Three {
    async fn start(channels: usize) -> Self {
        let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
        let start = async |name: &str| {
            let listen: Addr = name.parse().unwrap();
            let transport = network.transport(&listen);
            let mut options = NodeOptions::new(listen);
            options.config.limits.link = LINK;
            Node::start(options, transport, list.member()).await.unwrap()
        };
        let (a, b, c) = (start("a:1").await, start("b:1").await, start("c:1").await);
        let (senders, receivers, sent) = (Vec::new(), Vec::new(), Vec::new());
        let mut three = Self { network, a, b, c, senders, receivers, sent };
        for _ in 0..channels {
            three.open().await;
        }
        three
    }

    /// One more channel, with a message on it that is taken.
    async fn open(&mut self) {
        let name = format!("n{}", self.senders.len());
        let mut receiver = self.b.receiver(&name).await.unwrap();
        let sender = self.a.sender::<Message>(&name).await.unwrap();
        sender.send((0, Vec::new())).await.unwrap();
        receiver.recv().await.unwrap().unwrap();
        sender.flush().await.unwrap();
        self.receivers.push(receiver);
        self.senders.push(sender);
        self.sent.push(0);
    }

    /// The second one is out of reach, as nobody knows yet.
    fn part(&self) {
        self.network.partition(self.a.addr(), self.b.addr());
    }

    fn try_send(&mut self, at: usize) -> Result<(), TrySendError<Message>> {
        self.senders[at].try_send((self.sent[at] + 1, vec![0; SIZE]))?;
        self.sent[at] += 1;
        Ok(())
    }

    /// Sends through all channels in turn, until none takes a message. Returns how many messages there were.
    async fn fill(&mut self) -> u64 {
        let mut count = 0;
        loop {
            let before = count;
            for at in 0..self.senders.len() {
                match self.try_send(at) {
                    Ok(()) => count += 1,
                    Err(error) => assert!(matches!(error, TrySendError::Full(_)), "{error}"),
                }
            }
            if count == before {
                return count;
            }
            // So that the writer can do what it can.
            yield_now().await;
        }
    }

    fn waiting(&self) -> u64 {
        self.a.metrics().peers[&self.b.id()].queue.waiting
    }

    /// The second one is in reach again, and all messages arrive.
    async fn stop(mut self) {
        self.network.heal_all();
        for (receiver, sent) in self.receivers.iter_mut().zip(&self.sent) {
            for expected in 1..=*sent {
                assert_eq!(receiver.recv().await.unwrap().unwrap().0, expected);
            }
        }
        for sender in &self.senders {
            settle(sender).await;
        }
        assert_eq!(self.waiting(), 0);
        drop((self.senders, self.receivers));
        for node in [self.a, self.b, self.c] {
            node.shutdown().await.unwrap();
        }
    }
}

/// All that was sent is taken, and the account balances.
async fn settle(sender: &Sender<Message>) {
    sender.flush().await.unwrap();
    let ledger = sender.ledger();
    assert!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_connection_is_bounded_however_many_lanes_there_are() {
    let mut three = Three::start(20).await;
    three.part();
    let bytes = three.fill().await * SIZE as u64;
    // All of them have credit for far more. Each may hold some that it has not told of.
    assert!((4 * LINK..7 * LINK).contains(&bytes), "{bytes} bytes");
    assert!((2 * LINK..6 * LINK).contains(&three.waiting()), "{} bytes", three.waiting());
    three.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_gets_it() {
    let mut three = Three::start(20).await;
    three.part();
    three.fill().await;
    let (senders, sent) = (three.senders.clone(), three.sent.clone());
    let mut waiting: Vec<_> = senders
        .iter()
        .zip(&sent)
        .map(|(sender, sent)| Box::pin(sender.send((sent + 1, vec![0; SIZE]))))
        .collect();
    for sending in &mut waiting {
        assert!(sending.now_or_never().is_none(), "there is no room");
    }
    // One that gives up takes nothing with it.
    drop(waiting.remove(3));
    three.network.heal_all();
    for (at, sending) in waiting.into_iter().enumerate() {
        sending.await.unwrap();
        three.sent[if at < 3 { at } else { at + 1 }] += 1;
    }
    drop(senders);
    three.stop().await;
}

#[tokio::test]
async fn who_finds_no_room_hears_of_it_though_it_comes_meanwhile() {
    let three = Three::start(1).await;
    let outbox = three.a.inner().peers.peer(three.b.id(), None).outbox().unwrap();
    let (full, router) = (outbox.full(), three.a.inner().all_routers().remove(0));
    full.crowd();
    let is_over = AtomicBool::new(false);
    // Others fill the connection, and it empties: between any two looks.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                full.note(0, 8 * LINK);
                full.note(8 * LINK, 0);
            }
        });
        let hears = (0..200_000).all(|_| router.would_hear(|| {}));
        is_over.store(true, Ordering::Relaxed);
        assert!(hears, "neither was there credit, nor would it be told of");
    });
    assert!(router.would_hear(|| full.note(0, 8 * LINK)), "what was on offer was not taken off");
    full.note(8 * LINK, 0);
    three.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_message_finds_room() {
    let mut three = Three::start(20).await;
    three.open().await;
    let sender = three.senders.pop().unwrap();
    three.part();
    three.fill().await;
    three.senders.push(sender);
    three.try_send(20).unwrap();
    three.stop().await;
}

#[tokio::test(start_paused = true)]
async fn other_peers_are_sent_to_meanwhile() {
    let mut three = Three::start(20).await;
    // One of the channels has a receiver on the third node, too.
    let mut other = three.c.receiver::<Message>("n7").await.unwrap();
    three.senders[7].wait_for_receivers(2).await.unwrap();
    three.part();
    let sender = three.senders.remove(7);
    let sent = three.sent.remove(7);
    three.fill().await;
    for number in 1..=500 {
        sender.send((sent + number, vec![0; SIZE])).await.unwrap();
    }
    let mut taken = 0;
    while let Ok(message) = timeout(Duration::from_millis(100), other.recv()).await {
        message.unwrap().unwrap();
        taken += 1;
    }
    assert!(taken > 480, "{taken}");
    other.hand_back().await;
    three.network.heal_all();
    let mut receiver = three.receivers.remove(7);
    while taken < 500 {
        receiver.recv().await.unwrap().unwrap();
        taken += 1;
    }
    settle(&sender).await;
    three.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_anew_has_room() {
    let mut three = Three::start(20).await;
    three.part();
    three.fill().await;
    let sender = three.senders[0].clone();
    let waits = sender.send((three.sent[0] + 1, vec![0; SIZE]));
    let mut waits = Box::pin(waits);
    assert!(waits.as_mut().now_or_never().is_none());
    // Long enough for both to notice.
    let silence = three.a.inner().shared.config.times.silence;
    tokio::time::sleep(2 * silence).await;
    assert!(!three.a.metrics().peers[&three.b.id()].up);
    three.network.heal_all();
    waits.await.unwrap();
    three.sent[0] += 1;
    drop(sender);
    three.stop().await;
}
