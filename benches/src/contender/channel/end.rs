use anyhow::Context;
use dchan_core::{Node, Receipt, Receiver, Sender, ShutdownError};
use tokio::sync::oneshot;

use crate::{Msg, Side, node};

/// One end of a channel: a node, and what it has opened.
pub(crate) struct End {
    pub(super) node: Node,
    pub(super) sender: Option<Sender<Msg>>,
    pub(super) receiver: Option<Receiver<Msg>>,
    pub(super) stalled: Option<Receiver<Msg>>,
    pub(super) leave: Leave,
}

/// How an end leaves its node.
pub(super) enum Leave {
    /// It stops it.
    AtOnce,
    /// It stops it when all others have gone: they need it to leave the list.
    Last,
    /// The other end is on the same node, and stops it when it hears that this one is done.
    ToTheOther(oneshot::Sender<()>),
    /// The other way round.
    AfterTheOther(oneshot::Receiver<()>),
}

impl End {
    /// Sends a message, and gives a receipt for it.
    pub(crate) async fn send_tracked(&mut self, message: Msg) -> anyhow::Result<Receipt> {
        let sender = self.sender.as_ref().context("this side does not send")?;
        sender.send_tracked(message).await.map_err(|error| error.without_value().into())
    }
}

impl Side for End {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        let sender = self.sender.as_ref().context("this side does not send")?;
        sender.send(message).await.map_err(|error| error.without_value().into())
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        let receiver = self.receiver.as_mut().context("this side does not receive")?;
        Ok(receiver.recv().await?)
    }

    async fn recv_while(
        &mut self,
        mut take: impl FnMut(Msg) -> anyhow::Result<bool> + Send,
    ) -> anyhow::Result<()> {
        let receiver = self.receiver.as_mut().context("this side does not receive")?;
        while let Some(message) = receiver.recv().await? {
            if !take(message)? {
                break;
            }
        }
        Ok(())
    }

    async fn end(self) -> anyhow::Result<()> {
        if let Some(sender) = self.sender {
            sender.flush().await?;
            let ledger = sender.ledger();
            anyhow::ensure!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
        }
        drop((self.receiver, self.stalled));
        match self.leave {
            Leave::AtOnce => {}
            Leave::Last => node::wait_until_alone(&self.node).await?,
            Leave::ToTheOther(done) => {
                return done.send(()).ok().context("the other end has failed");
            }
            Leave::AfterTheOther(done) => done.await.context("the other end has failed")?,
        }
        match self.node.shutdown().await {
            // What a stalled receiver hands back has no other: that is as it should be. Of the channel
            // that is measured, all was taken.
            Err(ShutdownError::Astray { unknown: 0, .. }) => Ok(()),
            ended => Ok(ended?),
        }
    }
}
