//! As many messages as go, in turn over many channels between two nodes. A task for each receiver.

use std::{
    future::IntoFuture,
    sync::{Arc, OnceLock},
};

use dchan_core::{Node, Receiver, Sender};
use futures::future::try_join_all;
use tokio::task::JoinSet;

use super::{Order, Source};
use crate::{Msg, Point, Ready, clock, contender::Over, node, report::Report};

fn names(point: &Point) -> anyhow::Result<Vec<String>> {
    Ok((0..point.case.parse()?).map(|number: u32| format!("in.turn.{number}")).collect())
}

pub(crate) async fn receive(point: &Point, channel: &Over, ready: Ready) -> anyhow::Result<Report> {
    let addr = node::free_addr()?;
    let founder = channel.start(&addr, [addr.clone()]).await?;
    let names = names(point)?;
    let open = |name: &String| founder.receiver::<Msg>(name).into_future();
    let receivers = try_join_all(names.iter().map(open)).await?;
    ready.say(&addr);
    // When the first message came that is timed: all channels had carried one before.
    let began = Arc::new(OnceLock::new());
    let mut tasks = JoinSet::new();
    for receiver in receivers {
        tasks.spawn(take(receiver, began.clone()));
    }
    let mut count = 0;
    while let Some(taken) = tasks.join_next().await {
        count += taken??;
    }
    let ended = clock::now();
    let began = *began.get().unwrap_or(&ended);
    node::wait_until_alone(&founder).await?;
    founder.shutdown().await?;
    Ok(Report { count, secs: ended - began, began, ..Report::default() })
}

/// Takes the messages of one channel to the end, and counts those that are timed.
async fn take(mut receiver: Receiver<Msg>, began: Arc<OnceLock<f64>>) -> anyhow::Result<u64> {
    let mut order = Order::default();
    loop {
        let message = receiver.recv().await?;
        let Some(message) = message else { anyhow::bail!("the receiver was closed") };
        if !order.accept(&message)? {
            return Ok(order.next - 1);
        }
        if order.next == 2 {
            began.get_or_init(clock::now);
        }
    }
}

pub(crate) async fn send(point: &Point, channel: &Over, to: &[String]) -> anyhow::Result<Report> {
    let node = channel.join(to).await?;
    let names = names(point)?;
    let senders = try_join_all(names.iter().map(|name| open(&node, name))).await?;
    // The first one opens the lane.
    let first = || Msg { id: 0, body: vec![0; point.size] };
    try_join_all(senders.iter().map(|sender| send_one(sender, first()))).await?;
    try_join_all(senders.iter().map(Sender::flush)).await?;
    let (mut turn, mut round) = (senders.iter(), 1);
    for message in Source::new(point) {
        let sender = match turn.next() {
            Some(sender) => sender,
            None => {
                (turn, round) = (senders.iter(), round + 1);
                turn.next().unwrap_or(&senders[0])
            }
        };
        send_one(sender, Msg { id: round, ..message }).await?;
    }
    for sender in &senders {
        send_one(sender, Msg::end()).await?;
    }
    for sender in senders {
        sender.flush().await?;
        let ledger = sender.ledger();
        anyhow::ensure!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
    }
    node.shutdown().await?;
    Ok(Report::default())
}

async fn open(node: &Node, name: &str) -> anyhow::Result<Sender<Msg>> {
    let sender = node.sender(name).await?;
    sender.wait_for_receivers(1).await?;
    Ok(sender)
}

async fn send_one(sender: &Sender<Msg>, message: Msg) -> anyhow::Result<()> {
    sender.send(message).await.map_err(|error| error.without_value().into())
}
