use std::{sync::Arc, time::Duration};

use super::*;
use crate::{MemoryNetwork, RecvError, StaticMembership};

async fn node(network: &MemoryNetwork, list: &Arc<StaticMembership>, name: &str) -> Node {
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
