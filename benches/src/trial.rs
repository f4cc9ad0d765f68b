//! A contender's own test: some messages in each shape that it can have, all in this process.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
    time::timeout,
};

use crate::{Contender, Msg, Ready, Setup, Side};

/// How many messages each sender has.
const MESSAGES: u64 = 1000;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Sends from one to one, to four, and from four, as far as the contender can.
pub(crate) async fn carry(contender: Arc<impl Contender>) -> anyhow::Result<()> {
    for (senders, receivers) in [(1, 1), (1, 4), (4, 1)] {
        let setup = Setup { senders, receivers, both_ways: false, size: 100 };
        let alone = contender.in_one_process() && (senders, receivers) != (1, 1);
        if !alone && contender.lacks(&setup).is_none() {
            let done = timeout(LIMIT, shape(contender.clone(), setup)).await;
            done.with_context(|| format!("{setup:?} takes too long"))?
                .with_context(|| format!("{setup:?}"))?;
        }
    }
    Ok(())
}

async fn shape(contender: Arc<impl Contender>, setup: Setup) -> anyhow::Result<()> {
    let all = Arc::new(Count {
        left: AtomicU64::new(setup.senders as u64 * MESSAGES),
        none: Notify::new(),
    });
    let (mut ends, mut addrs) = (JoinSet::new(), Vec::new());
    for _ in 0..setup.receivers {
        let (says, said) = oneshot::channel();
        let (contender, before, all) = (contender.clone(), addrs.clone(), all.clone());
        ends.spawn(async move {
            let ready = Ready::new(|addr| drop(says.send(addr)));
            receive(contender.listen(&setup, &before, ready).await?, &all).await
        });
        match said.await {
            Ok(addr) => addrs.push(addr),
            Err(_) => break,
        }
    }
    for sender in 0..setup.senders {
        let (contender, addrs) = (contender.clone(), addrs.clone());
        ends.spawn(async move {
            let mut side = contender.connect(&setup, &addrs).await?;
            for id in 0..MESSAGES {
                side.send(Msg { id, body: vec![sender as u8; setup.size] }).await?;
            }
            side.end().await
        });
    }
    while let Some(ended) = ends.join_next().await {
        ended??;
    }
    let left = all.left.load(SeqCst);
    anyhow::ensure!(left == 0, "{left} messages are missing");
    Ok(())
}

/// The messages that are yet to come, to any receiver.
struct Count {
    left: AtomicU64,
    none: Notify,
}

/// Receives until all have what they were sent. Messages of a sender come in order.
async fn receive(mut side: impl Side, all: &Count) -> anyhow::Result<()> {
    let mut next = BTreeMap::new();
    loop {
        let none = all.none.notified();
        if all.left.load(SeqCst) == 0 {
            return side.end().await;
        }
        let message = tokio::select! {
            message = side.recv() => message?,
            () = none => continue,
        };
        let Some(Msg { id, body }) = message else { return side.end().await };
        let sender = *body.first().context("an empty message")?;
        let next = next.entry(sender).or_insert(0);
        anyhow::ensure!(id >= *next, "{id} of {sender} came late: {next} was next");
        *next = id + 1;
        if all.left.fetch_sub(1, SeqCst) == 1 {
            all.none.notify_waiters();
        }
    }
}
