//! A process's part in a run.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{
    Contender, Contenders, Point, Ready, Workload,
    args::Role,
    node,
    report::{self, Report},
    trial, workload,
};

/// Plays a part to its end, and tells the driver.
pub(crate) async fn play(contenders: Contenders, role: Role) -> anyhow::Result<()> {
    match role {
        Role::Receive { point, before } => {
            let ready = Ready::new(|addr| println!("ready {addr}"));
            receive(&contenders, &point, &before, ready).await?.with_usage()?.print()
        }
        Role::Send { point, to, number } => {
            send(&contenders, &point, &to, number).await?.with_usage()?.print()
        }
        Role::Both { point } => {
            let player = contenders.get(&point.contender)?.player();
            let [sent, received] = both(player, point).await?;
            sent.print()?;
            received.with_usage()?.print()
        }
        Role::Node { point, listen, founders } => {
            let channel = contenders.get(&point.contender)?.channel()?;
            node::obey(channel, &listen, founders).await?.with_usage()?.print()
        }
        Role::Memory { point } => {
            let channel = contenders.get(&point.contender)?.channel()?;
            report::print(&workload::memory::measure(channel, &point).await?)
        }
    }
}

async fn receive(
    contenders: &Contenders,
    point: &Point,
    before: &[String],
    ready: Ready,
) -> anyhow::Result<Report> {
    let known = contenders.get(&point.contender)?;
    match point.workload {
        Workload::Namespaces => workload::namespaces::receive(point, known.channel()?, ready).await,
        _ => known.player().receive(point, before, ready).await,
    }
}

async fn send(
    contenders: &Contenders,
    point: &Point,
    to: &[String],
    number: u64,
) -> anyhow::Result<Report> {
    let known = contenders.get(&point.contender)?;
    match point.workload {
        Workload::Namespaces => workload::namespaces::send(point, known.channel()?, to).await,
        Workload::Tracked => {
            let side = known.channel()?.connect(&point.setup(), to).await?;
            workload::tracked::send(point, side).await
        }
        _ => known.player().send(point, to, number).await,
    }
}

/// A sender and a receiver in one process, each in a task.
pub(crate) async fn both(player: Arc<dyn Player>, point: Point) -> anyhow::Result<[Report; 2]> {
    let (says, said) = oneshot::channel();
    // If nobody listens any more, then the other side has failed and tells why.
    let ready = Ready::new(|addr| drop(says.send(addr)));
    let (receiver, receivers_point) = (player.clone(), point.clone());
    let received =
        tokio::spawn(async move { receiver.receive(&receivers_point, &[], ready).await });
    let Ok(addr) = said.await else {
        return received.await?.and_then(|_| anyhow::bail!("the receiver was never ready"));
    };
    let sent = tokio::spawn(async move { player.send(&point, &[addr], 0).await });
    let (sent, received) = tokio::try_join!(sent, received)?;
    Ok([sent?, received?])
}

/// A [`Contender`] whose ends may be of any type.
#[async_trait]
pub(crate) trait Player: Send + Sync {
    /// Why it cannot run that, if it cannot.
    fn lacks(&self, point: &Point) -> Option<String>;
    /// Receives to the end.
    async fn receive(
        &self,
        point: &Point,
        before: &[String],
        ready: Ready,
    ) -> anyhow::Result<Report>;
    /// Sends to the end, as the sender of that number.
    async fn send(&self, point: &Point, to: &[String], number: u64) -> anyhow::Result<Report>;
    /// Carries some messages in each shape that it can have.
    async fn try_shapes(self: Arc<Self>) -> anyhow::Result<()>;
}

#[async_trait]
impl<C: Contender> Player for C {
    fn lacks(&self, point: &Point) -> Option<String> {
        Contender::lacks(self, &point.setup())
    }

    async fn receive(
        &self,
        point: &Point,
        before: &[String],
        ready: Ready,
    ) -> anyhow::Result<Report> {
        workload::receive(point, self.listen(&point.setup(), before, ready).await?).await
    }

    async fn send(&self, point: &Point, to: &[String], number: u64) -> anyhow::Result<Report> {
        workload::send(point, self.connect(&point.setup(), to).await?, number).await
    }

    async fn try_shapes(self: Arc<Self>) -> anyhow::Result<()> {
        trial::carry(self).await
    }
}
