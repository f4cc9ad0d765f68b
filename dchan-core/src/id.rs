//! Names of things: plain values, cheap to copy, ordered, and printed the same way everywhere.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $int:ty, $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[derive(Default)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(", $format, ")"), self.0)
            }
        }
    };
}

number!(
    /// A node of the cluster: 64 random bits, drawn when its data directory is created and kept there.
    NodeId, u64, "{:016x}"
);
number!(
    /// One run of one process: 64 random bits, drawn at every start and never kept.
    ///
    /// A new boot of a node proves that the process of the boot before it is gone.
    Boot, u64, "{:016x}"
);
number!(
    /// How many lives a node has had: kept in its data directory, raised at every start and whenever
    /// the node finds itself taken off the list. Only membership looks at it.
    Incarnation, u64, "{}"
);
number!(
    /// A cluster: 128 random bits, drawn when it is founded.
    ClusterId, u128, "{:032x}"
);
number!(
    /// A lane, numbered by the node that sends on it. Never used again within a [`Boot`].
    LaneId, u64, "{}"
);

impl LaneId {
    /// Carries heartbeats, credit and whatever else a link says about itself.
    pub const CONTROL: LaneId = LaneId(0);
    /// Carries questions and answers: the road that Raft takes.
    pub const REQUESTS: LaneId = LaneId(1);
    /// The first lane that carries messages.
    pub const FIRST: LaneId = LaneId(16);

    /// Whether this lane carries messages of a namespace.
    pub fn is_data(self) -> bool {
        self >= Self::FIRST
    }
}

/// A receiver: the process that opened it and that process's counter. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReceiverId {
    /// The process that opened it.
    pub boot: Boot,
    /// The how-manieth receiver of that process it is.
    pub counter: u64,
}

impl fmt::Display for ReceiverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.boot, self.counter)
    }
}

/// The name that a channel's senders and receivers meet under.
///
/// From 1 to [`Namespace::MAX`] bytes of UTF-8; `*` and `>` are reserved.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The length of the longest name, in bytes.
    pub const MAX: usize = 255;

    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NamespaceError> {
        match name.len() {
            0 => return Err(NamespaceError::Empty),
            n if n > Self::MAX => return Err(NamespaceError::TooLong { len: n }),
            _ => {}
        }
        match name.chars().find(|c| matches!(c, '*' | '>')) {
            Some(found) => Err(NamespaceError::Reserved { name: name.into(), found }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a name cannot be that of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// The name is empty.
    #[error("the name of a namespace is empty: expected 1 to {} bytes", Namespace::MAX)]
    Empty,
    /// The name is longer than [`Namespace::MAX`] bytes.
    #[error("the name of a namespace has {len} bytes: expected 1 to {}", Namespace::MAX)]
    TooLong {
        /// How long it is, in bytes.
        len: usize,
    },
    /// The name holds a character that is kept for patterns.
    #[error("the namespace {name:?} holds {found:?}, which is reserved")]
    Reserved {
        /// The name as it was given.
        name: String,
        /// The character.
        found: char,
    },
}

impl TryFrom<String> for Namespace {
    type Error = NamespaceError;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl From<Namespace> for String {
    fn from(name: Namespace) -> Self {
        name.0.as_ref().into()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(Namespace::new("orders.eu").is_ok());
        assert!(Namespace::new(&"x".repeat(255)).is_ok());
        assert_eq!(Namespace::new(""), Err(NamespaceError::Empty));
        assert_eq!(Namespace::new(&"x".repeat(256)), Err(NamespaceError::TooLong { len: 256 }));
        assert!(matches!(
            Namespace::new("orders.*"),
            Err(NamespaceError::Reserved { found: '*', .. })
        ));
    }
}
