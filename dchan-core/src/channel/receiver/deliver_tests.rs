use std::sync::Arc;

use crate::{Addr, MemoryNetwork, Node, NodeOptions, StaticMembership, inbox::State};

async fn node(network: &MemoryNetwork, list: &Arc<StaticMembership>, name: &str) -> Node {
    let listen: Addr = name.parse().unwrap();
    let transport = network.transport(&listen);
    Node::start(NodeOptions::new(listen), transport, list.member()).await.unwrap()
}

/// As when the node stops on another thread, in the midst of a `recv_many`.
#[tokio::test(start_paused = true)]
async fn what_is_handed_back_between_two_messages_of_a_call_goes_elsewhere() {
    let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
    let (a, b) = (node(&network, &list, "a:1").await, node(&network, &list, "b:1").await);
    // From a sender in this process, and from one in another.
    for from in [&a, &b] {
        let mut first = a.receiver::<u64>("n").await.unwrap();
        let sender = from.sender::<u64>("n").await.unwrap();
        sender.wait_for_receivers(1).await.unwrap();
        for number in 0..5 {
            sender.send(number).await.unwrap();
        }
        assert_eq!(first.recv().await.unwrap(), Some(0));
        let mut second = b.receiver::<u64>("n").await.unwrap();
        sender.wait_for_receivers(2).await.unwrap();
        first.inbox.hand_back_all(State::Stopped);
        assert_eq!(first.next_of_batch(), None);
        for number in 1..5 {
            assert_eq!(second.recv().await.unwrap(), Some(number));
        }
        sender.flush().await.unwrap();
        let ledger = sender.ledger();
        assert_eq!((ledger.accepted, ledger.taken, ledger.in_flight), (5, 5, 0));
        first.hand_back().await;
        second.hand_back().await;
        drop(sender);
        while from.ledger("n").accepted > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
}
