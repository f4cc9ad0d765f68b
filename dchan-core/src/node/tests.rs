use std::{sync::Arc, time::Duration};

use super::*;
use crate::{MemoryNetwork, StaticMembership};

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
