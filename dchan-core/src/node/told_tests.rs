//! When senders hear of what was taken: at once, or together with others.

use std::time::Duration;

use tokio::time::timeout;

use super::{turns_tests::Two, *};
use crate::{MemoryNetwork, Sender, StaticMembership, lane::UNTOLD};

/// No heartbeat comes in such a time.
const AT_ONCE: Duration = Duration::from_millis(10);
/// In this time there is one, and its way.
const HEARTBEAT: Duration = Duration::from_millis(300);

pub(super) async fn settled<T: Send + 'static>(sender: &Sender<T>) {
    while sender.ledger().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Two {
    /// So many messages are sent and taken.
    async fn pass(&mut self, count: u64) {
        for _ in 0..count {
            self.sender.send(vec![1]).await.unwrap();
        }
        self.take(count as usize).await;
    }

    /// The application comes for more.
    fn comes_back(&mut self) {
        assert!(self.receiver.try_recv().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn what_little_is_taken_is_told_with_the_next_heartbeat() {
    let mut two = Two::start().await;
    let before = two.back().frames;
    for _ in 1..UNTOLD.messages {
        two.pass(1).await;
        two.comes_back();
    }
    timeout(AT_ONCE, settled(&two.sender)).await.unwrap_err();
    assert_eq!(two.back().frames, before);
    timeout(HEARTBEAT, settled(&two.sender)).await.unwrap();
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn much_is_told_when_the_application_comes_back() {
    let mut two = Two::start().await;
    for large in [false, true] {
        if large {
            two.sender.send(vec![0; UNTOLD.bytes as usize]).await.unwrap();
            two.take(1).await;
        } else {
            two.pass(UNTOLD.messages).await;
        }
        let before = two.back().frames;
        timeout(AT_ONCE, settled(&two.sender)).await.unwrap_err();
        assert_eq!(two.back().frames, before, "it may be about to answer");
        two.comes_back();
        timeout(AT_ONCE, settled(&two.sender)).await.unwrap();
    }
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_may_be_sent_again_is_told_when_the_application_comes_back() {
    let mut two = Two::start().await;
    let sender = two.a.sender::<Vec<u8>>("n").at_least_once().await.unwrap();
    sender.send(vec![1]).await.unwrap();
    two.take(1).await;
    timeout(AT_ONCE, settled(&sender)).await.unwrap_err();
    two.comes_back();
    timeout(AT_ONCE, settled(&sender)).await.unwrap();
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_receipt_is_told_at_once() {
    let mut two = Two::start().await;
    let mut receipt = two.sender.send_tracked(vec![2]).await.unwrap();
    two.take(1).await;
    timeout(AT_ONCE, receipt.taken()).await.unwrap().unwrap();
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_no_heartbeat() {
    let mut two = Two::start().await;
    // What is taken already, though the application does not come back.
    two.pass(1).await;
    timeout(AT_ONCE, two.sender.flush()).await.unwrap().unwrap();
    // The same in the midst of a batch.
    for _ in 0..3 {
        two.sender.send(vec![1]).await.unwrap();
    }
    two.take(2).await;
    let sender = two.sender.clone();
    let mut flush = tokio::spawn(async move { sender.flush().await });
    timeout(AT_ONCE, &mut flush).await.unwrap_err();
    assert_eq!(two.sender.ledger().in_flight, 1);
    // What is taken meanwhile.
    two.take(1).await;
    timeout(AT_ONCE, flush).await.unwrap().unwrap().unwrap();
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_when_the_next_connection_stands_is_told_there() {
    let mut two = Two::start().await;
    for _ in 0..3 {
        two.sender.send(vec![1]).await.unwrap();
    }
    two.take(1).await;
    // In the midst of a batch, and there is nobody who could be told.
    two.network.cut_all();
    let resumed = async {
        while two.sender.ledger().in_flight > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(5), resumed).await.unwrap();
    two.take(2).await;
    timeout(HEARTBEAT, settled(&two.sender)).await.unwrap();
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_no_heartbeat_of_a_receiver() {
    let mut two = Two::start().await;
    two.pass(1).await;
    let Two { a, b, sender, receiver, .. } = two;
    timeout(AT_ONCE, a.shutdown()).await.unwrap().unwrap();
    let ledger = sender.ledger();
    assert!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
    drop(receiver);
    b.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_goes_keeps_nobody_from_hearing() {
    let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
    let addr = |name: &str| name.parse::<Addr>().unwrap();
    let start = async |name: &str| {
        let transport = network.transport(&addr(name));
        Node::start(NodeOptions::new(addr(name)), transport, list.member()).await.unwrap()
    };
    let (a, b, c) = (start("a:1").await, start("b:1").await, start("c:1").await);
    let mut receiver = b.receiver::<u32>("n").await.unwrap();
    let (goes, stays) = (a.sender::<u32>("n").await.unwrap(), c.sender::<u32>("n").await.unwrap());
    let namespace = receiver.namespace().clone();
    let queued = || b.metrics().namespaces[&namespace].queued;
    for before in [true, false] {
        goes.send(1).await.unwrap();
        while queued() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // While the receiver works through what that peer has sent, or before it does.
        for begins in [true, false] {
            if begins == before {
                assert_eq!(receiver.recv().await.unwrap(), Some(1));
            } else {
                network.partition(&addr("a:1"), &addr("b:1"));
                network.cut(&addr("a:1"), &addr("b:1"));
                while b.metrics().peers[&a.id()].up {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
        // The first one may be told with the credit that is free now.
        for number in [2, 3] {
            stays.send(number).await.unwrap();
            assert_eq!(receiver.recv().await.unwrap(), Some(number));
            timeout(HEARTBEAT, settled(&stays)).await.unwrap();
        }
        network.heal_all();
        goes.flush().await.unwrap();
    }
    for ledger in [goes.ledger(), stays.ledger()] {
        assert!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
    }
    drop((receiver, goes, stays));
    for node in [a, c, b] {
        node.shutdown().await.unwrap();
    }
}
