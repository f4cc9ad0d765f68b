//! A dchan channel: the receiver's node founds a cluster alone, the sender's joins it.

use std::sync::Arc;

use anyhow::Context;
use dchan_conformance::tcp::TcpTransport;
use dchan_core::{Addr, Node, NodeOptions, Transport};
use dchan_raft::{DataDir, RaftConfig, RaftMembership};
use dchan_transport_grpc::GrpcTransport;
use dchan_transport_quic::QuicTransport;

use crate::{
    Contender, Point,
    workload::{Msg, Sink, Source, cpu},
};

const NAMESPACE: &str = "bench";
/// A channel whose receiver takes nothing, while its sender pushes.
const STALLED: &str = "stalled";

async fn node(contender: Contender, listen: &Addr, founder: &Addr) -> anyhow::Result<Node> {
    let dir = DataDir::temporary()?;
    let mut options = NodeOptions::new(listen.clone());
    (options.id, options.incarnation) = (dir.node_id(), dir.incarnation());
    let membership = RaftMembership::new(dir, RaftConfig::new("dchan", [founder.clone()]))?;
    let transport: Arc<dyn Transport> = match contender {
        Contender::Grpc | Contender::GrpcStalled => Arc::new(GrpcTransport::new()),
        Contender::Quic => Arc::new(QuicTransport::new()),
        Contender::Tcp | Contender::Bare => Arc::new(TcpTransport),
    };
    Ok(Node::start(options, transport, Arc::new(membership)).await?)
}

pub(crate) async fn receive(point: &Point) -> anyhow::Result<()> {
    // A founder is known by its address before it listens: find a free port first.
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let addr = Addr::from(free);
    let node = node(point.contender, &addr, &addr).await?;
    let mut receiver = node.receiver::<Msg>(NAMESPACE).await?;
    let stalled = match point.contender {
        Contender::GrpcStalled => Some(node.receiver::<Msg>(STALLED).await?),
        _ => None,
    };
    println!("ready {addr}");
    let mut sink = Sink::default();
    while sink.accept(&receiver.recv().await?.context("the receiver was closed")?)? {}
    println!("done {}", sink.report()?);
    drop((receiver, stalled));
    // What the stalled receiver hands back has no other: that is as it should be.
    let _dropped = node.shutdown().await;
    Ok(())
}

pub(crate) async fn send(point: &Point, to: &str) -> anyhow::Result<()> {
    let node = node(point.contender, &"127.0.0.1:0".parse()?, &to.parse()?).await?;
    let sender = node.sender::<Msg>(NAMESPACE).await?;
    sender.wait_for_receivers(1).await?;
    let pushing = match point.contender {
        Contender::GrpcStalled => Some(push(&node, point).await?),
        _ => None,
    };
    for message in Source::new(point) {
        sender.send(message).await.map_err(|error| error.without_value())?;
    }
    sender.send(Msg::end()).await.map_err(|error| error.without_value())?;
    sender.flush().await?;
    let ledger = sender.ledger();
    anyhow::ensure!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
    println!("done {}", cpu()?);
    if let Some(pushing) = pushing {
        pushing.abort();
    }
    drop(sender);
    let _dropped = node.shutdown().await;
    Ok(())
}

/// Pushes into the stalled channel until it is full, and goes on waiting there.
async fn push(node: &Node, point: &Point) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let sender = node.sender::<Msg>(STALLED).await?;
    sender.wait_for_receivers(1).await?;
    let (full, is_full) = tokio::sync::oneshot::channel();
    let size = point.size;
    let pushing = tokio::spawn(async move {
        let message = || Msg { id: 0, body: vec![0; size] };
        while sender.send_timeout(message(), std::time::Duration::from_millis(200)).await.is_ok() {}
        let _waiting = full.send(());
        let _stopped = sender.send(message()).await;
    });
    is_full.await?;
    Ok(pushing)
}
