use std::{sync::Arc, time::Duration};

use super::*;
use crate::{MemoryNetwork, RecvError, StaticMembership};

pub(crate) async fn node(
    network: &MemoryNetwork,
    list: &Arc<StaticMembership>,
    name: &str,
) -> Node {
    let listen: Addr = name.parse().unwrap();
    let transport = network.transport(&listen);
    let mut options = NodeOptions::new(listen);
    options.config.seed = 7;
    Node::start(options, transport, list.member()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn messages_go_from_node_to_node_in_order() {
    let network = MemoryNetwork::new(1);
    let list = StaticMembership::new();
    let a = node(&network, &list, "a:1").await;
    let b = node(&network, &list, "b:1").await;
    let mut receiver = b.receiver::<u64>("n").await.unwrap();
    let sender = a.sender::<u64>("n").await.unwrap();
    let sending = tokio::spawn(async move {
        for n in 0..100_000u64 {
            sender.send(n).await.unwrap();
        }
        sender.flush().await.unwrap();
        sender
    });
    for n in 0..100_000u64 {
        assert_eq!(receiver.recv().await.unwrap(), Some(n));
    }
    // The last message counts as taken at once.
    let sender = sending.await.unwrap();
    let ledger = sender.ledger();
    assert_eq!((ledger.accepted, ledger.taken), (100_000, 100_000));
    assert!(ledger.balances());
    let receipt = sender.send_tracked(7).await.unwrap();
    assert_eq!(receipt.outcome(), None);
    assert_eq!(receiver.recv().await.unwrap(), Some(7));
    let mut receipt = receipt;
    receipt.taken_within(Duration::from_secs(1)).await.unwrap();
    drop((sender, receiver));
    a.clone().shutdown().await.unwrap();
    b.clone().shutdown().await.unwrap();
    assert_eq!((a.tasks(), b.tasks()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_taken_with_the_next_call_and_what_is_handed_back_goes_elsewhere() {
    let network = MemoryNetwork::new(1);
    let list = StaticMembership::new();
    let a = node(&network, &list, "a:1").await;
    let b = node(&network, &list, "b:1").await;
    // A receiver in another process, and one in the sender's.
    for at in [&b, &a] {
        let mut first = at.receiver::<u64>("n").settle_on_next().await.unwrap();
        let sender = a.sender::<u64>("n").await.unwrap();
        sender.wait_for_receivers(1).await.unwrap();
        for n in 0..10 {
            sender.send(n).await.unwrap();
        }
        let mut got = Vec::new();
        while got.len() < 4 {
            let want = 4 - got.len();
            first.recv_many(&mut got, want).await.unwrap();
        }
        assert_eq!(got, [0, 1, 2, 3]);
        let mut rest = Vec::new();
        while rest.len() < 6 {
            first.recv_many(&mut rest, 6).await.unwrap();
        }
        let second = b.receiver::<u64>("n");
        let mut second = second.await.unwrap();
        sender.wait_for_receivers(2).await.unwrap();
        // 4 to 6 were dealt with, 7 to 9 were not.
        first.hand_back_with(rest.split_off(3)).await;
        for n in 7..10 {
            let delivery = second.recv_delivery().await.unwrap().unwrap();
            assert_eq!((delivery.value, delivery.rerouted), (n, true));
        }
        sender.flush().await.unwrap();
        let ledger = sender.ledger();
        assert_eq!((ledger.taken, ledger.in_flight, ledger.rerouted), (10, 0, 3));
        second.hand_back().await;
        drop(sender);
        while a.ledger("n").accepted > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_decoded_is_told_after_those_before_it() {
    let network = MemoryNetwork::new(1);
    let list = StaticMembership::new();
    let a = node(&network, &list, "a:1").await;
    let b = node(&network, &list, "b:1").await;
    let mut receiver = b.receiver::<u8>("n").settle_on_next().await.unwrap();
    let sender = a.sender::<(u8, Option<u8>)>("n").await.unwrap();
    // An encoding of one byte is a u8, longer ones are not.
    let bytes = a.sender::<u8>("n").await.unwrap();
    bytes.send(1).await.unwrap();
    sender.send((2, Some(2))).await.unwrap();
    bytes.send(3).await.unwrap();
    let (mut got, mut broken) = (Vec::new(), 0);
    while got.len() + broken < 3 {
        match receiver.recv_many(&mut got, 10).await {
            Ok(count) => assert!(count > 0),
            Err(error) => {
                assert_eq!(
                    (error, got.as_slice()),
                    (RecvError::Undecodable { from: a.id() }, &[1][..])
                );
                broken += 1;
            }
        }
    }
    assert_eq!((got, broken), (vec![1, 3], 1));
    receiver.hand_back().await;
    let _astray = sender.flush().await;
    let ledger = sender.ledger();
    assert_eq!((ledger.taken, ledger.dropped.decode, ledger.in_flight), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn credit_that_rests_in_this_process_goes_to_a_sender_in_another() {
    let network = MemoryNetwork::new(1);
    let list = StaticMembership::new();
    let a = node(&network, &list, "a:1").await;
    let b = node(&network, &list, "b:1").await;
    let mut receiver = b.receiver::<u64>("n").capacity(4).await.unwrap();
    // It is granted everything, and does nothing with it.
    let resting = b.sender::<u64>("n").await.unwrap();
    let sender = a.sender::<u64>("n").await.unwrap();
    let in_time = Duration::from_secs(5);
    for n in 0..4 {
        let sent = tokio::time::timeout(in_time, sender.send(n)).await;
        sent.expect("there is room").unwrap();
    }
    for n in 0..4 {
        assert_eq!(receiver.recv().await.unwrap(), Some(n));
    }
    // What permits hold comes when they are dropped.
    let permits = [resting.reserve().await.unwrap(), resting.reserve().await.unwrap()];
    {
        let all = async {
            for n in 0..4 {
                sender.send(n).await.unwrap();
            }
        };
        tokio::pin!(all);
        assert!(tokio::time::timeout(in_time, &mut all).await.is_err(), "permits hold some room");
        drop(permits);
        tokio::time::timeout(in_time, all).await.expect("there is room");
    }
    for n in 0..4 {
        assert_eq!(receiver.recv().await.unwrap(), Some(n));
    }
    sender.close().await.unwrap();
    drop((resting, receiver));
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
}

/// Waits, in virtual time, until a node has no more tasks and no other links than these.
async fn rests(node: &Node, tasks: usize, links: usize) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while (node.tasks(), node.links().borrow().len()) != (tasks, links) {
        let found = (node.tasks(), node.links().borrow().clone());
        assert!(tokio::time::Instant::now() < deadline, "{found:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The tasks of a node without links: it listens, follows the list and mends it, lends what comes back
/// to the budget, and looks at its health.
const ALONE: usize = 5;

#[tokio::test(start_paused = true)]
async fn one_task_waits_for_the_last_message_however_often_senders_come_and_go() {
    let network = MemoryNetwork::new(1);
    let list = StaticMembership::new();
    let a = node(&network, &list, "a:1").await;
    let mut receiver = a.receiver::<u64>("n").await.unwrap();
    a.sender::<u64>("n").await.unwrap().send(1).await.unwrap();
    rests(&a, ALONE + 1, 0).await;
    for _ in 0..100 {
        drop(a.sender::<u64>("n").await.unwrap());
    }
    assert_eq!(a.tasks(), ALONE + 1);
    // Nor does it go before there is nobody else.
    let sender = a.sender::<u64>("n").await.unwrap();
    assert_eq!(receiver.recv().await.unwrap(), Some(1));
    rests(&a, ALONE, 0).await;
    sender.send(2).await.unwrap();
    drop(sender);
    rests(&a, ALONE + 1, 0).await;
    assert_eq!((receiver.recv().await.unwrap(), a.ledger("n").in_flight), (Some(2), 0));
    rests(&a, ALONE, 0).await;
    assert_eq!(a.ledger("n"), Ledger::default(), "the router is gone");
    a.clone().shutdown().await.unwrap();
    assert_eq!(a.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_no_heartbeat() {
    let network = MemoryNetwork::new(1);
    let list = StaticMembership::new();
    let mut nodes = Vec::new();
    for name in ["a:1", "b:1"] {
        let listen: Addr = name.parse().unwrap();
        let transport = network.transport(&listen);
        let mut options = NodeOptions::new(listen);
        let hour = Duration::from_secs(3600);
        let times = &mut options.config.times;
        (times.heartbeat, times.suspect, times.silence) = (hour, 2 * hour, 3 * hour);
        times.lane = 4 * hour;
        nodes.push(Node::start(options, transport, list.member()).await.unwrap());
    }
    let [a, b] = nodes.try_into().unwrap();
    // The first to stop has lanes in both directions.
    let mut receivers =
        [a.receiver::<u64>("up").await.unwrap(), b.receiver::<u64>("down").await.unwrap()];
    let senders = [b.sender::<u64>("up").await.unwrap(), a.sender::<u64>("down").await.unwrap()];
    for (sender, receiver) in senders.iter().zip(&mut receivers) {
        sender.send(1).await.unwrap();
        assert_eq!(receiver.recv().await.unwrap(), Some(1));
    }
    let begin = tokio::time::Instant::now();
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nobody_dials_for_a_lane_that_never_stood_and_has_ended() {
    let network = MemoryNetwork::new(1);
    let list = StaticMembership::new();
    let a = node(&network, &list, "a:1").await;
    let sender = a.sender::<u64>("n").await.unwrap();
    let (id, boot, incarnation) = (NodeId(99), Boot(5), Incarnation(1));
    let addr = "nobody:1".parse().unwrap();
    let entry = crate::NodeEntry { addr, boot, incarnation, tags: OrdMap::new() };
    let (namespace, receiver) = (sender.namespace().clone(), ReceiverId { boot, counter: 0 });
    let come = crate::Change::Receiver { namespace, id: receiver, node: id };
    list.change(&[crate::Change::Node { id, entry }, come]);
    sender.wait_for_receivers(1).await.unwrap();
    rests(&a, ALONE + 1, 0).await;
    list.change(&[crate::Change::NodeGone { id, incarnation }]);
    rests(&a, ALONE, 0).await;
    assert!(a.inner().peers.all().is_empty());
    drop(sender);
    a.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn peers_that_come_and_go_are_forgotten() {
    let network = MemoryNetwork::new(1);
    let list = StaticMembership::new();
    let a = node(&network, &list, "a:1").await;
    let mut receiver = a.receiver::<u64>("n").await.unwrap();
    for turn in 0..10 {
        // One that knows this node, which does not know it, and that sends and is gone without a word.
        let (others, name) = (StaticMembership::new(), format!("b{turn}:1"));
        let b = node(&network, &others, &name).await;
        let me = a.view().borrow().nodes[&a.id()].clone();
        let come = crate::Change::Receiver {
            namespace: Namespace::new("n").unwrap(),
            id: receiver.id(),
            node: a.id(),
        };
        others.change(&[crate::Change::Node { id: a.id(), entry: me }, come]);
        let sender = b.sender::<u64>("n").await.unwrap();
        sender.send(turn).await.unwrap();
        while a.metrics().namespaces[receiver.namespace()].queued == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if turn % 2 == 0 {
            assert_eq!(receiver.recv().await.unwrap(), Some(turn));
        }
        let weak = Arc::downgrade(&b.inner().shared);
        drop((sender, b));
        // The list does not change meanwhile. What has come is not lost with the one who sent it.
        if turn % 2 == 1 {
            rests(&a, ALONE, 1).await;
            assert_eq!(receiver.recv().await.unwrap(), Some(turn));
        }
        rests(&a, ALONE, 0).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(a.inner().peers.all().is_empty());
        assert!(weak.upgrade().is_none(), "nothing of the other node is left");
    }
    drop(receiver);
    a.shutdown().await.unwrap();
}
