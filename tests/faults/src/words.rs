//! What actors are told and what they tell: a line of words each.

use std::{collections::BTreeSet, fmt, str::FromStr};

use anyhow::{Context, bail};
use dchan_conformance::cluster::Entry;
use dchan_core::{Boot, Ledger, NodeId, ReceiverId, View};

/// What an actor is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Open a receiver, and receive from it.
    Receive {
        /// The channel.
        namespace: String,
        /// How many messages it has room for.
        capacity: usize,
        /// How long to wait after each message.
        pause_micros: u64,
    },
    /// Send messages.
    Send {
        /// The channel.
        namespace: String,
        /// Whose messages they are.
        handle: u32,
        /// How many, numbered from 0.
        count: u64,
        /// How long to wait after each message.
        pause_micros: u64,
    },
    /// Send no more.
    Halt {
        /// Whose messages they were.
        handle: u32,
    },
    /// Say what has become of the messages.
    Ledger {
        /// The channel.
        namespace: String,
    },
    /// Say how many messages have come in and were not received.
    Queued {
        /// The channel.
        namespace: String,
    },
}

/// What an actor tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The node is part of the cluster.
    Started(NodeId),
    /// A receiver is on the list.
    Opened(String, ReceiverId),
    /// `recv` returned a message. Said before it is called again.
    Received(Entry),
    /// `send` returned `Ok`.
    Accepted(u32, u64),
    /// Nothing more is sent by that handle.
    Halted(u32),
    /// What has become of the messages.
    Ledger(String, Ledger),
    /// How many messages of a channel have come in and were not received.
    Queued(String, u64),
    /// The list has changed, as the node sees it.
    View(Seen),
    /// The peers that the node has a connection to now, and hears from.
    Linked(BTreeSet<NodeId>),
    /// Something went wrong.
    Failed(String),
}

/// What a node sees of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Who is on the list.
    pub nodes: BTreeSet<NodeId>,
    /// The receivers on the list.
    pub receivers: BTreeSet<(String, ReceiverId)>,
}

impl From<&View> for Seen {
    fn from(view: &View) -> Self {
        let receivers = view.receivers.keys().map(|(name, id)| (name.to_string(), *id));
        Self {
            leader: view.leader,
            nodes: view.nodes.keys().copied().collect(),
            receivers: receivers.collect(),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receive { namespace, capacity, pause_micros } => {
                write!(f, "receive {namespace} {capacity} {pause_micros}")
            }
            Self::Send { namespace, handle, count, pause_micros } => {
                write!(f, "send {namespace} {handle} {count} {pause_micros}")
            }
            Self::Halt { handle } => write!(f, "halt {handle}"),
            Self::Ledger { namespace } => write!(f, "ledger {namespace}"),
            Self::Queued { namespace } => write!(f, "queued {namespace}"),
        }
    }
}

impl FromStr for Order {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let mut words = Words(line.split(' '));
        Ok(match words.word()? {
            "receive" => Self::Receive {
                namespace: words.parse()?,
                capacity: words.parse()?,
                pause_micros: words.parse()?,
            },
            "send" => Self::Send {
                namespace: words.parse()?,
                handle: words.parse()?,
                count: words.parse()?,
                pause_micros: words.parse()?,
            },
            "halt" => Self::Halt { handle: words.parse()? },
            "ledger" => Self::Ledger { namespace: words.parse()? },
            "queued" => Self::Queued { namespace: words.parse()? },
            other => bail!("an unknown order: {other}"),
        })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(id) => write!(f, "started {}", id.0),
            Self::Opened(namespace, id) => write!(f, "opened {namespace} {}", receiver(id)),
            Self::Received(Entry { handle, number, rerouted, redelivered }) => {
                write!(f, "received {handle} {number} {rerouted} {redelivered}")
            }
            Self::Accepted(handle, number) => write!(f, "accepted {handle} {number}"),
            Self::Halted(handle) => write!(f, "halted {handle}"),
            Self::Ledger(namespace, ledger) => {
                let Ledger { accepted, taken, unknown, dropped, in_flight, .. } = ledger;
                let (decode, no_receiver) = (dropped.decode, dropped.no_receiver);
                write!(
                    f,
                    "ledger {namespace} {accepted} {taken} {unknown} {decode} {no_receiver} {in_flight}"
                )
            }
            Self::Queued(namespace, count) => write!(f, "queued {namespace} {count}"),
            Self::View(Seen { leader, nodes, receivers }) => {
                write!(f, "view {} {}", leader.map_or(0, |id| id.0), nodes.len())?;
                nodes.iter().try_for_each(|id| write!(f, " {}", id.0))?;
                let mut receivers = receivers.iter();
                receivers.try_for_each(|(name, id)| write!(f, " {name} {}", receiver(id)))
            }
            Self::Linked(peers) => {
                write!(f, "linked")?;
                peers.iter().try_for_each(|id| write!(f, " {}", id.0))
            }
            Self::Failed(reason) => write!(f, "failed {}", reason.replace('\n', " ")),
        }
    }
}

fn receiver(id: &ReceiverId) -> String {
    format!("{} {}", id.boot.0, id.counter)
}

impl FromStr for Said {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        if let Some(reason) = line.strip_prefix("failed ") {
            return Ok(Self::Failed(reason.into()));
        }
        let mut words = Words(line.split(' '));
        Ok(match words.word()? {
            "started" => Self::Started(NodeId(words.parse()?)),
            "opened" => Self::Opened(words.parse()?, words.receiver()?),
            "received" => Self::Received(Entry {
                handle: words.parse()?,
                number: words.parse()?,
                rerouted: words.parse()?,
                redelivered: words.parse()?,
            }),
            "accepted" => Self::Accepted(words.parse()?, words.parse()?),
            "halted" => Self::Halted(words.parse()?),
            "ledger" => {
                let (namespace, mut ledger) = (words.parse()?, Ledger::default());
                ledger.accepted = words.parse()?;
                ledger.taken = words.parse()?;
                ledger.unknown = words.parse()?;
                ledger.dropped.decode = words.parse()?;
                ledger.dropped.no_receiver = words.parse()?;
                ledger.in_flight = words.parse()?;
                Self::Ledger(namespace, ledger)
            }
            "queued" => Self::Queued(words.parse()?, words.parse()?),
            "view" => {
                let leader = Some(words.parse()?).filter(|id| *id != 0).map(NodeId);
                let count: usize = words.parse()?;
                let nodes = (0..count).map(|_| Ok(NodeId(words.parse()?)));
                let nodes = nodes.collect::<anyhow::Result<_>>()?;
                let mut receivers = BTreeSet::new();
                while let Ok(name) = words.parse() {
                    receivers.insert((name, words.receiver()?));
                }
                Self::View(Seen { leader, nodes, receivers })
            }
            "linked" => {
                let peers = words.0.map(|id| id.parse().map(NodeId));
                Self::Linked(peers.collect::<Result<_, _>>()?)
            }
            other => bail!("an unknown word: {other}"),
        })
    }
}

struct Words<'a>(std::str::Split<'a, char>);

impl<'a> Words<'a> {
    fn word(&mut self) -> anyhow::Result<&'a str> {
        self.0.next().context("a word is missing")
    }

    fn parse<T: FromStr<Err: Into<anyhow::Error>>>(&mut self) -> anyhow::Result<T> {
        self.word()?.parse().map_err(Into::into)
    }

    fn receiver(&mut self) -> anyhow::Result<ReceiverId> {
        Ok(ReceiverId { boot: Boot(self.parse()?), counter: self.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let namespace = || "n".to_owned();
        let orders = [
            Order::Receive { namespace: namespace(), capacity: 7, pause_micros: 8 },
            Order::Send { namespace: namespace(), handle: 1, count: 2, pause_micros: 3 },
            Order::Halt { handle: 1 },
            Order::Ledger { namespace: namespace() },
            Order::Queued { namespace: namespace() },
        ];
        for order in orders {
            assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
        }
        let id = ReceiverId { boot: Boot(5), counter: 6 };
        let mut ledger = Ledger::default();
        (ledger.accepted, ledger.taken, ledger.unknown, ledger.in_flight) = (16, 1, 2, 6);
        (ledger.dropped.decode, ledger.dropped.no_receiver) = (3, 4);
        let seen = Seen {
            leader: Some(NodeId(3)),
            nodes: [NodeId(1), NodeId(3)].into(),
            receivers: [("a".into(), id), ("b".into(), id)].into(),
        };
        let entry = Entry { handle: 1, number: 2, rerouted: true, redelivered: false };
        let all = [
            Said::Started(NodeId(9)),
            Said::Opened(namespace(), id),
            Said::Received(entry),
            Said::Accepted(1, 2),
            Said::Halted(3),
            Said::Ledger(namespace(), ledger),
            Said::Queued(namespace(), 7),
            Said::View(seen),
            Said::View(Seen::default()),
            Said::Linked([NodeId(1), NodeId(3)].into()),
            Said::Linked(BTreeSet::new()),
            Said::Failed("for a reason".into()),
        ];
        for said in all {
            assert_eq!(said.to_string().parse::<Said>().unwrap(), said);
        }
        assert!("ledger n 1".parse::<Said>().is_err());
    }
}
