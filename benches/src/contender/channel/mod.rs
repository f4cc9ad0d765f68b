//! A dchan channel, with all of its guarantees and the defaults that a user gets.

mod end;
mod local;
mod over;

use dchan_core::{Node, Sender};

use crate::Msg;

pub(crate) use end::End;
pub(super) use local::Local;
pub(crate) use over::Over;

/// The names of the channels there and back.
const THERE: &str = "there";
const BACK: &str = "back";

async fn sender(node: &Node, namespace: &str, receivers: usize) -> anyhow::Result<Sender<Msg>> {
    let sender = node.sender(namespace).await?;
    sender.wait_for_receivers(receivers).await?;
    Ok(sender)
}
