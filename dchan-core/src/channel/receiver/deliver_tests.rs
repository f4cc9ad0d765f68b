use std::{pin::pin, task::Poll, time::Duration};

use futures::{future::join_all, poll};
use tokio::time::{sleep, timeout};

use crate::{
    Addr, MemoryNetwork, Node, NodeOptions, Receiver, RecvError, Sender, StaticMembership,
};

async fn nodes<const N: usize>(names: [&str; N]) -> [Node; N] {
    let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
    let start = async |name: &str| {
        let listen: Addr = name.parse().unwrap();
        let transport = network.transport(&listen);
        Node::start(NodeOptions::new(listen), transport, list.member()).await.unwrap()
    };
    join_all(names.map(start)).await.try_into().ok().unwrap()
}

/// A channel on which five messages were sent.
async fn with_five(from: &Node, to: &Node) -> (Sender<u64>, Receiver<u64>) {
    let receiver = to.receiver("n").await.unwrap();
    let sender = from.sender("n").await.unwrap();
    sender.wait_for_receivers(1).await.unwrap();
    for number in 0..5 {
        sender.send(number).await.unwrap();
    }
    (sender, receiver)
}

/// The account says so, and ends.
async fn all_five_are_taken(from: &Node, sender: Sender<u64>, receivers: [Receiver<u64>; 2]) {
    sender.flush().await.unwrap();
    let ledger = sender.ledger();
    assert_eq!((ledger.accepted, ledger.taken, ledger.in_flight), (5, 5, 0));
    for receiver in receivers {
        receiver.hand_back().await;
    }
    drop(sender);
    while from.ledger("n").accepted > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

/// As when the node stops on another thread, in the midst of a `recv_many`.
#[tokio::test(start_paused = true)]
async fn what_is_handed_back_between_two_messages_of_a_call_goes_elsewhere() {
    let [a, b] = nodes(["a:1", "b:1"]).await;
    // From a sender in this process, and from one in another.
    for from in [&a, &b] {
        let (sender, mut first) = with_five(from, &a).await;
        assert_eq!(first.recv().await.unwrap(), Some(0));
        let mut second = b.receiver::<u64>("n").await.unwrap();
        sender.wait_for_receivers(2).await.unwrap();
        first.inbox.hand_back_all();
        assert_eq!(first.next_of_batch(), None);
        for number in 1..5 {
            assert_eq!(second.recv().await.unwrap(), Some(number));
        }
        all_five_are_taken(from, sender, [first, second]).await;
    }
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
}

/// As when the node stops on another thread while the receiver is about to return a message. What counts as
/// taken is returned, however late the receiver hears of it: by then, everything may have been handed back
/// once more.
#[tokio::test(start_paused = true)]
async fn what_counted_as_taken_when_all_was_handed_back_is_returned() {
    let [a, b] = nodes(["a:1", "b:1"]).await;
    for from in [&a, &b] {
        let (sender, mut receiver) = with_five(from, &a).await;
        let inbox = receiver.inbox.clone();
        while inbox.queued().messages < 5 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(receiver.recv().await.unwrap(), Some(0));
        let mut other = b.receiver::<u64>("n").await.unwrap();
        sender.wait_for_receivers(2).await.unwrap();
        // The receiver has said that it returns one more, and not yet asked whether it may.
        let next = receiver.returned + 1;
        assert!(inbox.claim(next));
        let may_return = |count| inbox.with(|core| core.may_return(count));
        assert!(may_return(next), "whoever hands everything back will count it");
        for _ in 0..2 {
            inbox.hand_back_all();
            assert!(may_return(next), "it was counted");
            assert!(!may_return(next + 1), "it goes elsewhere");
        }
        assert_eq!(receiver.recv().await.unwrap(), Some(1));
        assert!(matches!(receiver.recv().await, Err(RecvError::NodeStopped)));
        for number in 2..5 {
            let came = timeout(Duration::from_secs(60), other.recv()).await.expect("it comes here");
            assert_eq!(came.unwrap(), Some(number));
        }
        all_five_are_taken(from, sender, [receiver, other]).await;
    }
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
}

/// A sender in this process may send more before the receiver looks again. One that sends a message now and
/// then has nothing more, and is not waited for.
#[tokio::test(start_paused = true)]
async fn who_has_caught_up_with_a_sender_in_this_process_lets_it_get_ahead() {
    let [a] = nodes(["a:1"]).await;
    let mut receiver = a.receiver::<u64>("n").await.unwrap();
    let sender = a.sender::<u64>("n").await.unwrap();
    sender.wait_for_receivers(1).await.unwrap();
    let send = async |count| {
        for number in 0..count {
            sender.send(number).await.unwrap();
        }
    };
    for _ in 0..3 {
        send(1).await;
        assert!(matches!(poll!(pin!(receiver.recv())), Poll::Ready(Ok(Some(0)))), "a lone one");
    }
    send(3).await;
    assert_eq!(receiver.recv().await.unwrap(), Some(0));
    // The next batch is here when the receiver is through with the first, and is small.
    send(2).await;
    for number in 1..3 {
        assert_eq!(receiver.recv().await.unwrap(), Some(number));
    }
    let mut first = Box::pin(receiver.recv());
    assert!(poll!(&mut first).is_pending(), "the sender has its turn");
    assert!(matches!(poll!(&mut first), Poll::Ready(Ok(Some(0)))), "once");
    drop(first);
    assert!(matches!(poll!(pin!(receiver.recv())), Poll::Ready(Ok(Some(1)))), "of the same batch");
    let ledger = sender.ledger();
    assert_eq!((ledger.accepted, ledger.taken), (8, 8), "{ledger}");
    drop((receiver, sender));
    a.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_of_values_is_filled_again_unless_it_is_large() {
    let [a] = nodes(["a:1"]).await;
    let mut receiver = a.receiver::<u64>("n").await.unwrap();
    let sender = a.sender::<u64>("n").await.unwrap();
    let other = a.sender::<String>("n").await.unwrap();
    sender.wait_for_receivers(1).await.unwrap();
    let inbox = receiver.inbox.clone();
    let has_spare = || inbox.with(|core| core.has_spare());
    for round in 0..3 {
        assert_eq!(has_spare(), round > 0);
        // One of another type has no use for it, and leaves none.
        if round == 2 {
            other.send("text".into()).await.unwrap();
        } else {
            sender.send(1).await.unwrap();
        }
        assert!(!has_spare(), "it is in use");
        sender.send(2).await.unwrap();
        let first = receiver.recv().await;
        assert_eq!(first.is_err(), round == 2, "{first:?}");
        assert_eq!(receiver.recv().await.unwrap(), Some(2));
    }
    assert!(has_spare());
    for number in 0..1000 {
        sender.send(number).await.unwrap();
    }
    for number in 0..1000 {
        assert_eq!(receiver.recv().await.unwrap(), Some(number));
    }
    assert!(!has_spare(), "nobody knows whether so much is needed again");
    let ledger = sender.ledger();
    assert_eq!((ledger.accepted, ledger.taken, ledger.dropped.decode), (1006, 1005, 1), "{ledger}");
    drop((receiver, sender, other));
    a.shutdown().await.unwrap();
}
