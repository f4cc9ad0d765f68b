use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use dchan_core::{MemoryNetwork, Node};
use tokio::sync::oneshot;

use super::{
    BACK, THERE,
    end::{End, Leave},
    sender,
};
use crate::{
    contender::{Contender, Ready, Setup},
    node,
};

/// A channel whose sender and receiver are on one node.
#[derive(Default)]
pub(in crate::contender) struct Local {
    /// What the sender's end takes over.
    other: Mutex<Option<(Node, Leave)>>,
}

impl Contender for Local {
    type Side = End;

    fn name(&self) -> &'static str {
        "local"
    }

    fn help(&self) -> &'static str {
        "dchan, sender and receiver on one node"
    }

    fn in_one_process(&self) -> bool {
        true
    }

    async fn listen(&self, setup: &Setup, _: &[String], ready: Ready) -> anyhow::Result<End> {
        let addr = node::free_addr()?;
        let node =
            node::start(MemoryNetwork::new(1).transport(&addr), &addr, [addr.clone()]).await?;
        let receiver = Some(node.receiver(THERE).await?);
        let (done, is_done) = oneshot::channel();
        *self.other.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((node.clone(), Leave::AfterTheOther(is_done)));
        ready.say(addr);
        let sender = match setup.both_ways {
            true => Some(sender(&node, BACK, 1).await?),
            false => None,
        };
        Ok(End { node, sender, receiver, stalled: None, leave: Leave::ToTheOther(done) })
    }

    async fn connect(&self, setup: &Setup, _: &[String]) -> anyhow::Result<End> {
        let other = self.other.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (node, leave) = other.context("there is no receiver")?;
        let receiver = match setup.both_ways {
            true => Some(node.receiver(BACK).await?),
            false => None,
        };
        let sender = Some(sender(&node, THERE, 1).await?);
        Ok(End { node, sender, receiver, stalled: None, leave })
    }
}
