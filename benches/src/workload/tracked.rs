//! As many messages as go, each with a receipt, so many of which may be outstanding.

use std::collections::VecDeque;

use super::Source;
use crate::{Msg, Point, Side, contender::End, report::Report};

pub(crate) async fn send(point: &Point, mut side: End) -> anyhow::Result<Report> {
    let most: usize = point.case.parse()?;
    let mut outstanding = VecDeque::new();
    for message in Source::new(point) {
        if most == 0 {
            side.send(message).await?;
            continue;
        }
        if outstanding.len() == most
            && let Some(mut oldest) = outstanding.pop_front()
        {
            taken(&mut oldest).await?;
        }
        outstanding.push_back(side.send_tracked(message).await?);
    }
    for mut receipt in outstanding {
        taken(&mut receipt).await?;
    }
    side.send(Msg::end()).await?;
    side.end().await?;
    Ok(Report::default())
}

async fn taken(receipt: &mut dchan_core::Receipt) -> anyhow::Result<()> {
    Ok(receipt.taken().await?)
}
