//! A node that does what it is told, and tells what happens.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use dchan_conformance::cluster::{Entry, Message, message};
use dchan_core::{Node, NodeId, RecvError, Sender};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::words::{Order, Said, Seen};

/// Bytes of padding in a message.
const PADDING: usize = 40;

/// Whoever hears what an actor says.
pub type Say = Arc<dyn Fn(Said) + Send + Sync>;

/// Does what it is told until there are no more orders.
pub async fn perform(node: Node, mut orders: mpsc::Receiver<Order>, say: Say) {
    say(Said::Started(node.id()));
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(node.clone(), say.clone()));
    tasks.spawn(follow_links(node.clone(), say.clone()));
    let (mut senders, mut flows) = (HashMap::new(), HashMap::new());
    while let Some(order) = orders.recv().await {
        let done = match order {
            Order::Receive { namespace, capacity, pause_micros } => {
                let pause = Duration::from_micros(pause_micros);
                tasks.spawn(receive(node.clone(), namespace, capacity, pause, say.clone()));
                Ok(())
            }
            Order::Halt { handle } => {
                halt(flows.remove(&handle), handle, &say).await;
                Ok(())
            }
            Order::Ledger { namespace } => {
                say(Said::Ledger(namespace.clone(), node.ledger(&namespace)));
                Ok(())
            }
            Order::Queued { namespace } => {
                let metrics = node.metrics();
                let known = metrics.namespaces.iter().find(|(name, _)| name.as_str() == namespace);
                say(Said::Queued(namespace, known.map_or(0, |(_, known)| known.queued)));
                Ok(())
            }
            Order::Send { namespace, handle, count, pause_micros } => {
                sender(&node, &mut senders, &namespace).await.map(|sender| {
                    let pause = Duration::from_micros(pause_micros);
                    let flow = send(sender, handle, count, pause, say.clone());
                    flows.insert(handle, AbortOnDropHandle::new(tokio::spawn(flow)));
                })
            }
        };
        if let Err(error) = done {
            say(Said::Failed(format!("{error:#}")));
        }
    }
}

/// The sender of a namespace: the same one each time, whatever has happened meanwhile.
async fn sender(
    node: &Node,
    senders: &mut HashMap<String, Sender<Message>>,
    namespace: &str,
) -> anyhow::Result<Sender<Message>> {
    if let Some(known) = senders.get(namespace) {
        return Ok(known.clone());
    }
    let sender = node.sender::<Message>(namespace).await.context("open a sender")?;
    senders.insert(namespace.into(), sender.clone());
    Ok(sender)
}

async fn follow(node: Node, say: Say) {
    let mut view = node.view();
    // The membership lives as long as the node does.
    drop(node);
    loop {
        let seen = Seen::from(&**view.borrow_and_update());
        say(Said::View(seen));
        if view.changed().await.is_err() {
            return;
        }
    }
}

async fn follow_links(node: Node, say: Say) {
    let mut links = node.links();
    drop(node);
    let mut before = None;
    loop {
        let linked: BTreeSet<NodeId> = {
            let links = links.borrow_and_update();
            links.iter().filter(|(_, link)| link.alive).map(|(id, _)| *id).collect()
        };
        // Round trips change all the time.
        if before.as_ref() != Some(&linked) {
            say(Said::Linked(linked.clone()));
            before = Some(linked);
        }
        if links.changed().await.is_err() {
            return;
        }
    }
}

async fn receive(node: Node, namespace: String, capacity: usize, pause: Duration, say: Say) {
    // A message counts as taken when the next one is asked for: by then it was told.
    let opening = node.receiver::<Message>(&namespace).capacity(capacity).settle_on_next();
    let mut receiver = match opening.await {
        Ok(receiver) => receiver,
        Err(error) => return say(Said::Failed(format!("cannot open {namespace}: {error}"))),
    };
    say(Said::Opened(namespace, receiver.id()));
    loop {
        match receiver.recv_delivery().await {
            Ok(Some(delivery)) => say(Said::Received(Entry::of(&delivery))),
            Ok(None) | Err(RecvError::NodeStopped) => return,
            Err(error) => say(Said::Failed(format!("recv: {error}"))),
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}

async fn send(sender: Sender<Message>, handle: u32, count: u64, pause: Duration, say: Say) {
    for number in 0..count {
        if let Err(error) = sender.send(message(handle, number, PADDING)).await {
            return say(Said::Failed(format!("send: {}", error.without_value())));
        }
        // Nothing is awaited before this: what was accepted is told, also by a flow that is aborted.
        say(Said::Accepted(handle, number));
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}

async fn halt(flow: Option<AbortOnDropHandle<()>>, handle: u32, say: &Say) {
    if let Some(flow) = flow {
        flow.abort();
        // Over, or aborted: both are as asked.
        let _over = flow.await;
    }
    say(Said::Halted(handle));
}
