//! tokio's own channel.

use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use tokio::sync::mpsc;

use super::{Contender, Ready, Setup, Side};
use crate::Msg;

/// As many as a receiver of dchan has room for: by default, and in one process.
const CAPACITY: usize = 64 * 1024;

/// tokio's mpsc.
#[derive(Default)]
pub(super) struct Mpsc {
    /// The sender's end.
    other: Mutex<Option<Ends>>,
}

/// A channel there, and one back.
pub(super) struct Ends {
    out: mpsc::Sender<Msg>,
    incoming: mpsc::Receiver<Msg>,
}

impl Contender for Mpsc {
    type Side = Ends;

    fn name(&self) -> &'static str {
        "mpsc"
    }

    fn help(&self) -> &'static str {
        "tokio mpsc within one process, with the capacity that a channel of dchan has by default"
    }

    fn in_one_process(&self) -> bool {
        true
    }

    async fn listen(&self, _: &Setup, _: &[String], ready: Ready) -> anyhow::Result<Ends> {
        let (there, incoming) = mpsc::channel(CAPACITY);
        let (out, back) = mpsc::channel(CAPACITY);
        let other = Ends { out: there, incoming: back };
        *self.other.lock().unwrap_or_else(PoisonError::into_inner) = Some(other);
        ready.say("here");
        Ok(Ends { out, incoming })
    }

    async fn connect(&self, _: &Setup, _: &[String]) -> anyhow::Result<Ends> {
        let other = self.other.lock().unwrap_or_else(PoisonError::into_inner).take();
        other.context("there is no receiver")
    }
}

impl Side for Ends {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        self.out.send(message).await.ok().context("the receiver has gone")
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        Ok(self.incoming.recv().await)
    }

    async fn recv_while(
        &mut self,
        mut take: impl FnMut(Msg) -> anyhow::Result<bool> + Send,
    ) -> anyhow::Result<()> {
        while let Some(message) = self.incoming.recv().await {
            if !take(message)? {
                break;
            }
        }
        Ok(())
    }

    async fn end(self) -> anyhow::Result<()> {
        Ok(())
    }
}
