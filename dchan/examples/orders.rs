//! Three nodes in one process found a cluster over loopback. One sends orders, the two others receive
//! them, and one of those is stopped on the way: no order is lost, and none is worked on twice.
//!
//!     cargo run --release --example orders

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::{net::TcpListener, time::Duration};

use dchan::{Node, Receiver, RecvError};
use serde::{Deserialize, Serialize};

type Error = Box<dyn std::error::Error + Send + Sync>;

const ORDERS: u64 = 100_000;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: u64,
    item: String,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // A cluster is founded by all its founders together: so they start together.
    let [a, b, c] = free_addresses()?;
    let founders = [a.as_str(), b.as_str(), c.as_str()];
    let start = |listen: &str| Node::builder(listen).cluster("shop").peers(founders).start();
    let (shop, store, depot) = tokio::try_join!(start(&a), start(&b), start(&c))?;
    println!("three nodes at {a}, {b} and {c}");

    let at_store = store.receiver::<Order>("orders").await?;
    let at_depot = depot.receiver::<Order>("orders").await?;
    let store_takes = tokio::spawn(work(at_store));
    let depot_takes = tokio::spawn(work(at_depot));

    let tx = shop.sender::<Order>("orders").await?;
    tx.wait_for_receivers(2).await?;
    let sender = tx.clone();
    let sending = tokio::spawn(async move {
        for id in 1..=ORDERS {
            // Ok: a receiver has room for it.
            sender.send(Order { id, item: "widget".into() }).await?;
        }
        Ok::<_, dchan::SendError<Order>>(())
    });

    // The depot closes in the midst of it. What it has not taken goes to the store.
    while tx.ledger().taken < ORDERS / 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    depot.shutdown().await?;
    let from_depot = depot_takes.await??;
    println!("the depot has closed after {} orders: {}", from_depot.len(), tx.ledger());

    sending.await??;
    let mut receipt = tx.send_tracked(Order { id: ORDERS + 1, item: "gadget".into() }).await?;
    // Ok: an application has taken it.
    receipt.taken_within(Duration::from_secs(30)).await?;
    tx.flush().await?;

    let ledger = tx.ledger();
    println!("all is delivered:  {ledger} rerouted={}", ledger.rerouted);
    assert!(ledger.balances() && ledger.taken == ORDERS + 1);

    store.shutdown().await?;
    let mut all = store_takes.await??;
    println!("the store has taken {} orders", all.len());
    all.extend(from_depot);
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=ORDERS + 1), "each order exactly once");
    println!("each order was taken exactly once");
    Ok(())
}

/// Takes orders until the node stops.
async fn work(mut orders: Receiver<Order>) -> Result<Vec<u64>, RecvError> {
    let mut taken = Vec::new();
    loop {
        match orders.recv().await {
            Ok(Some(order)) => taken.push(order.id),
            Ok(None) | Err(RecvError::NodeStopped) => return Ok(taken),
            Err(error) => return Err(error),
        }
    }
}

/// Addresses that nobody uses. Real nodes have fixed ones.
fn free_addresses() -> std::io::Result<[String; 3]> {
    let at = || TcpListener::bind("127.0.0.1:0");
    let sockets = [at()?, at()?, at()?];
    let [a, b, c] = sockets.each_ref().map(TcpListener::local_addr);
    Ok([a?.to_string(), b?.to_string(), c?.to_string()])
}
