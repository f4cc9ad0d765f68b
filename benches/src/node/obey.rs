//! A node in a process of its own, which does what the driver says.

use std::{
    future::IntoFuture,
    io::{BufRead, stdin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use dchan_core::{Addr, Node, NodeId, Receiver, Sender, ShutdownError};
use futures::future::try_join_all;
use serde::Serialize;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::timeout,
};

use super::{Order, PATIENCE};
use crate::{Msg, clock, contender::Over, report::Report, usage};

/// How many channels the receivers are of.
const CHANNELS: usize = 100;

/// Starts a node, and does what is said on stdin until that ends.
pub(crate) async fn obey(
    channel: &Over,
    listen: &Addr,
    founders: Vec<Addr>,
) -> anyhow::Result<Report> {
    let mut orders = orders();
    let node = channel.start(listen, founders).await?;
    println!("ready {}", node.addr());
    let (leader, receivers, senders) = (Leader::watch(&node), Vec::new(), Vec::new());
    let mut servant = Servant { node, leader, receivers, senders };
    while let Some(order) = orders.recv().await {
        servant.obey(order?).await?;
    }
    servant.end().await?;
    Ok(Report::default())
}

/// What is said, line by line.
fn orders() -> mpsc::Receiver<anyhow::Result<Order>> {
    let (says, said) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in stdin().lock().lines() {
            let order = line.map_err(Into::into).and_then(|line| Ok(serde_json::from_str(&line)?));
            if says.blocking_send(order).is_err() {
                return;
            }
        }
    });
    said
}

struct Servant {
    node: Node,
    leader: Leader,
    receivers: Vec<Receiver<Msg>>,
    senders: Vec<Sender<Msg>>,
}

impl Servant {
    async fn obey(&mut self, order: Order) -> anyhow::Result<()> {
        match order {
            Order::Id => tell(&self.node.id().0),
            Order::Leader => tell(&self.leader.get().await?),
            Order::Open(count) => {
                let began = clock::now();
                let name = |at| format!("some.{}", at % CHANNELS);
                let open = |at| self.node.receiver(&name(at)).into_future();
                let opened = try_join_all((0..count).map(open)).await?;
                let ended = clock::now();
                self.receivers.extend(opened);
                tell(&(began, ended))
            }
            Order::See(count) => {
                let mut view = self.node.view();
                let all = view.wait_for(|view| view.receivers.len() == count);
                timeout(PATIENCE, all).await.context("some receivers are not on the list")??;
                tell(&())
            }
            Order::Greet => {
                let sender = self.node.sender("some.0").await?;
                let message = Msg { id: 0, body: Vec::new() };
                sender.send(message).await.map_err(|error| error.without_value())?;
                sender.flush().await?;
                let ledger = sender.ledger();
                anyhow::ensure!(ledger.balances() && ledger.taken == 1, "{ledger}");
                self.senders.push(sender);
                tell(&())
            }
            Order::Take => {
                let receiver = self.receivers.first_mut().context("no receiver is open")?;
                receiver.recv().await?.context("the receiver was closed")?;
                tell(&())
            }
            Order::WakeUps => tell(&usage::wake_ups()?),
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        self.leader.watching.abort();
        drop((self.receivers, self.senders));
        // Founders stop at the same time: the last ones have nobody left who could take them off the list.
        match self.node.shutdown_within(PATIENCE / 5).await {
            Ok(()) | Err(ShutdownError::Membership(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What an order has come to.
fn tell(answer: &impl Serialize) -> anyhow::Result<()> {
    println!("told {}", serde_json::to_string(answer)?);
    Ok(())
}

/// Who leads, and how often it was another one.
struct Leader {
    now: watch::Receiver<Option<(NodeId, f64)>>,
    changes: Arc<AtomicU64>,
    watching: AbortHandle,
}

impl Leader {
    fn watch(node: &Node) -> Self {
        let (mut view, (says, now)) = (node.view(), watch::channel(None));
        let changes = Arc::new(AtomicU64::new(0));
        let counted = changes.clone();
        let watching = tokio::spawn(async move {
            let mut known = None;
            loop {
                let leader = view.borrow_and_update().leader;
                if leader.is_some() && leader != known {
                    counted.fetch_add(u64::from(known.is_some()), Ordering::Relaxed);
                    known = leader;
                    says.send_replace(leader.map(|leader| (leader, clock::now())));
                }
                if view.changed().await.is_err() {
                    return;
                }
            }
        });
        Self { now, changes, watching: watching.abort_handle() }
    }

    async fn get(&mut self) -> anyhow::Result<(u64, u64, f64)> {
        let known = timeout(PATIENCE, self.now.wait_for(Option::is_some)).await;
        let known = *known.context("there is no leader")??;
        let (leader, since) = known.context("there is no leader")?;
        Ok((leader.0, self.changes.load(Ordering::Relaxed), since))
    }
}
