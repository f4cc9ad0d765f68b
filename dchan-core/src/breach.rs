//! What others did that the protocol does not allow, by name: for counters and logs.

use std::fmt;

macro_rules! breaches {
    ($($(#[$doc:meta])* $kind:ident => $name:literal,)*) => {
        /// In which way somebody broke the protocol, or came with what cannot be linked.
        ///
        /// [`Metrics::breaches`](crate::Metrics::breaches) counts them; `docs/wire.md` has the rules.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Breach {
            $($(#[$doc])* $kind,)*
        }

        impl Breach {
            /// All kinds.
            pub const ALL: &'static [Breach] = &[$(Breach::$kind,)*];

            /// A word for metrics and logs.
            pub fn name(self) -> &'static str {
                match self {
                    $(Breach::$kind => $name,)*
                }
            }
        }
    };
}

breaches! {
    /// Bytes that are no frames, as the transport found.
    Malformed => "malformed",
    /// A connection that did not introduce itself in time.
    Late => "late",
    /// A connection that was turned away, as too many were in their handshake.
    Crowded => "crowded",
    /// A connection that ended in its handshake: strangers who hang up, or talk of something else.
    Unfinished => "unfinished",
    /// A first frame that is no handshake.
    Handshake => "handshake",
    /// Another version of the protocol.
    Version => "version",
    /// Another cluster, by its name or its id.
    Cluster => "cluster",
    /// Another transport.
    Transport => "transport",
    /// A certificate that is not for the host that its node advertises.
    Name => "name",
    /// This very node: an address on its list of others leads back to it.
    Oneself => "oneself",
    /// An older life of a node than the one that is linked.
    Outdated => "outdated",
    /// A second process with the id of a node that is linked.
    Duplicate => "duplicate",
    /// A node that is not on the list, when too many of those are linked.
    Stranger => "stranger",
    /// A frame that cannot be decoded.
    Undecodable => "undecodable",
    /// A frame of a lane that nobody opened, or word about one.
    UnknownLane => "unknown_lane",
    /// More lanes than one peer may open.
    TooManyLanes => "too_many_lanes",
    /// A frame or a message that is not the next one of its lane.
    Order => "order",
    /// More than there was credit for; credit that cannot be, or that goes backwards.
    Credit => "credit",
    /// Word of messages, or bytes, that were never sent.
    Future => "future",
    /// A part of a large message, or of a question, that does not fit.
    Part => "part",
    /// A message, or a question, above the limit.
    TooLarge => "too_large",
    /// Messages that could not be decoded, and a sender that never confirms that it knows of them.
    Unconfirmed => "unconfirmed",
    /// Something that may not be said at this time: data behind the end of a lane, a second handshake.
    Untimely => "untimely",
    /// Credit that was asked back and is not given back: others wait for it.
    Unanswered => "unanswered",
    /// Answers that pile up because they are not read.
    Unread => "unread",
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Breach::ALL.iter().map(|b| b.name()).collect();
        assert_eq!(names.len(), Breach::ALL.len());
    }
}
