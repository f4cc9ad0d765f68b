//! What is measured: what the processes of a run do.

pub(crate) mod memory;
mod msg;
pub(crate) mod namespaces;
mod order;
mod ping;
pub(crate) mod shape;
mod source;
mod throughput;
pub(crate) mod tracked;

use anyhow::Context;
use clap::ValueEnum;

use crate::{Point, Setup, Side, report::Report};

pub use msg::Msg;
use order::Order;
use source::Source;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// As many messages as go, one way.
    Throughput,
    /// One message at a time, there and back.
    Ping,
    /// One sender, four receivers: as many as go, and how evenly.
    FanOut,
    /// Sixteen senders, one receiver.
    FanIn,
    /// One sender, four receivers, and then the process of one of them is stopped: what the others get.
    Stopped,
    /// As many messages as go, in turn over one, 100 and 10,000 channels between two nodes.
    Namespaces,
    /// With receipts: none, each awaited before the next message, and 1,000 of them outstanding.
    Tracked,
    /// 10,000 receivers that are opened at one time on three nodes with a log on disk.
    Registrations,
    /// How long it takes to a first message, to a leader, and to another leader.
    Times,
    /// What links, channels and lanes take while nothing happens.
    Memory,
}

impl Workload {
    /// What it is called on the command line.
    pub(crate) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The variants of it that are measured side by side, each beside the first.
    pub(crate) fn cases(self) -> &'static [&'static str] {
        match self {
            Self::Stopped => &["all run", shape::ONE_STOPPED],
            Self::Namespaces => &["1", "100", "10000"],
            Self::Tracked => &["0", "1", "1000"],
            _ => &[""],
        }
    }

    /// The sizes of messages, in bytes, unless the command line says others.
    pub(crate) fn sizes(self) -> &'static [usize] {
        match self {
            Self::Throughput => &[16, 1 << 10, 64 << 10, 1 << 20],
            Self::Ping => &[16],
            Self::FanOut | Self::FanIn | Self::Stopped | Self::Namespaces | Self::Tracked => {
                &[1 << 10]
            }
            Self::Registrations | Self::Times | Self::Memory => &[],
        }
    }

    /// Whether messages have a size that matters.
    pub(crate) fn has_sizes(self) -> bool {
        !self.sizes().is_empty()
    }

    /// Whether it is about what only dchan has.
    pub(crate) fn is_of_dchan(self) -> bool {
        match self {
            Self::Throughput | Self::Ping | Self::FanOut | Self::FanIn | Self::Stopped => false,
            Self::Namespaces | Self::Tracked | Self::Registrations | Self::Times | Self::Memory => {
                true
            }
        }
    }

    /// What a contender is to be ready for.
    pub(crate) fn setup(self, size: usize) -> Setup {
        let (senders, receivers) = match self {
            Self::FanOut | Self::Stopped => (1, 4),
            Self::FanIn => (16, 1),
            _ => (1, 1),
        };
        Setup { senders, receivers, both_ways: self == Self::Ping, size }
    }
}

/// Sends to the end, as the sender of that number.
pub(crate) async fn send(
    point: &Point,
    mut side: impl Side,
    number: u64,
) -> anyhow::Result<Report> {
    let report = match point.workload {
        Workload::FanOut | Workload::FanIn | Workload::Stopped => {
            return shape::send(point, side, number).await;
        }
        Workload::Ping => ping::send(point, &mut side).await?,
        _ => throughput::send(point, &mut side).await?,
    };
    side.send(Msg::end()).await?;
    side.end().await?;
    Ok(report)
}

/// Receives to the end.
pub(crate) async fn receive(point: &Point, mut side: impl Side) -> anyhow::Result<Report> {
    let report = match point.workload {
        Workload::FanOut | Workload::FanIn | Workload::Stopped => {
            return shape::receive(point, side).await;
        }
        Workload::Ping => ping::receive(&mut side).await?,
        _ => throughput::receive(&mut side).await?,
    };
    side.end().await?;
    Ok(report)
}

/// The next message, of a sender that says when it ends.
async fn next(side: &mut impl Side) -> anyhow::Result<Msg> {
    side.recv().await?.context("the other side went away")
}
