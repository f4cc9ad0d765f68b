//! The builder: who founds, who joins, and parts of one's own.

#![allow(clippy::unwrap_used)]
#![cfg(all(feature = "grpc", feature = "quic", feature = "raft"))]

use std::time::Duration;

use dchan::{Builder, MemoryNetwork, Node, StaticMembership};

#[tokio::test]
async fn a_node_without_peers_founds_alone_and_others_join_it() {
    let data = tempfile::tempdir().unwrap();
    let first = Node::builder("127.0.0.1:0").data_dir(data.path()).tag("zone", "a").start();
    let first = first.await.unwrap();
    let join = Node::builder("127.0.0.1:0").peers([first.addr()]).join();
    let second = join.start().await.unwrap();
    assert_eq!(second.view().borrow().nodes[&first.id()].tags["zone"], "a");
    let mut receiver = second.receiver::<String>("n").await.unwrap();
    let sender = first.sender::<String>("n").await.unwrap();
    let mut receipt = sender.send_tracked("hello".into()).await.unwrap();
    assert_eq!(receiver.recv().await.unwrap().as_deref(), Some("hello"));
    receipt.taken_within(Duration::from_secs(30)).await.unwrap();
    second.shutdown().await.unwrap();
    let id = first.id();
    drop((sender, receiver));
    first.shutdown_within(Duration::from_secs(5)).await.unwrap();
    // It comes back as the same node.
    let again = Node::builder("127.0.0.1:0").data_dir(data.path()).start().await.unwrap();
    assert_eq!(again.id(), id);
    again.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_node_is_known_by_the_name_that_it_listens_at() {
    for over in [Builder::grpc, Builder::quic] {
        let first = over(Node::builder("localhost:0")).start().await.unwrap();
        assert_eq!(first.addr().host(), "localhost");
        let join = over(Node::builder("localhost:0")).peers([first.addr()]).join();
        let second = join.start().await.unwrap();
        second.shutdown().await.unwrap();
        first.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_data_directory_is_for_one_node() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::builder("127.0.0.1:0").data_dir(data.path()).start().await.unwrap();
    let second = Node::builder("127.0.0.1:0").data_dir(data.path()).start().await;
    assert!(matches!(second, Err(dchan::StartError::DataDir(_))), "{second:?}");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_node_of_another_cluster_is_told_so() {
    let shop = Node::builder("127.0.0.1:0").cluster("shop").start().await.unwrap();
    let other = Node::builder("127.0.0.1:0").cluster("bank").peers([shop.addr()]).join().start();
    // It goes on trying: somebody may set the other right.
    let started = tokio::time::timeout(Duration::from_secs(1), other).await;
    assert!(!matches!(started, Ok(Ok(_))), "{started:?}");
    shop.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_transport_and_a_membership_of_ones_own() {
    let (network, list) = (MemoryNetwork::new(1), StaticMembership::new());
    let start = |at: &str| {
        let transport = network.transport(&at.parse().unwrap());
        Node::builder(at).transport(transport).membership(list.member()).start()
    };
    let (a, b) = (start("a:1").await.unwrap(), start("b:1").await.unwrap());
    let mut receiver = b.receiver::<u8>("n").await.unwrap();
    a.sender::<u8>("n").await.unwrap().send(7).await.unwrap();
    assert_eq!(receiver.recv().await.unwrap(), Some(7));
    drop(receiver);
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
}
