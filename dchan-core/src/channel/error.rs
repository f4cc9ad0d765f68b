//! An error for each operation: what was expected, what was there, and the value back.

use std::{fmt, time::Duration};

use crate::{MembershipError, NamespaceError, NodeId};

/// Why [`Sender::send`](crate::Sender::send) did not accept a message. Holds the message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T> {
    /// The node has stopped.
    Closed(T),
    /// The message is larger, encoded, than the node's limit.
    TooLarge {
        /// The message.
        value: T,
        /// Its size, encoded, in bytes.
        size: u64,
        /// The limit in bytes: [`Limits::message`](crate::Limits::message).
        limit: u64,
    },
    /// The message's `Serialize` failed.
    Encode {
        /// The message.
        value: T,
        /// What it said.
        reason: String,
    },
}

impl<T> SendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            Self::Closed(value) | Self::TooLarge { value, .. } | Self::Encode { value, .. } => {
                value
            }
        }
    }

    /// The error alone, which is `Send + Sync + 'static` whatever the message is.
    pub fn without_value(self) -> SendError<()> {
        match self {
            Self::Closed(_) => SendError::Closed(()),
            Self::TooLarge { size, limit, .. } => SendError::TooLarge { value: (), size, limit },
            Self::Encode { reason, .. } => SendError::Encode { value: (), reason },
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("the node has stopped"),
            Self::TooLarge { size, limit, .. } => {
                write!(f, "the message has {size} bytes: expected at most {limit}")
            }
            Self::Encode { reason, .. } => write!(f, "the message cannot be encoded: {reason}"),
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendError({self})")
    }
}

impl<T> std::error::Error for SendError<T> {}

/// Why [`Sender::try_send`](crate::Sender::try_send) did not accept a message. Holds the message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// There are receivers, but none has room now.
    Full(T),
    /// There is no receiver.
    NoReceiver(T),
    /// It will never be accepted.
    Never(SendError<T>),
}

impl<T> TrySendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::NoReceiver(value) => value,
            Self::Never(error) => error.into_inner(),
        }
    }

    /// The error alone, which is `Send + Sync + 'static` whatever the message is.
    pub fn without_value(self) -> TrySendError<()> {
        match self {
            Self::Full(_) => TrySendError::Full(()),
            Self::NoReceiver(_) => TrySendError::NoReceiver(()),
            Self::Never(error) => TrySendError::Never(error.without_value()),
        }
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("no receiver has room now"),
            Self::NoReceiver(_) => f.write_str("there is no receiver"),
            Self::Never(error) => error.fmt(f),
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrySendError({self})")
    }
}

impl<T> std::error::Error for TrySendError<T> {}

/// Why [`Sender::send_timeout`](crate::Sender::send_timeout) did not accept a message. Holds the
/// message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendTimeoutError<T> {
    /// No receiver had room in time.
    Timeout(T),
    /// It will never be accepted.
    Never(SendError<T>),
}

impl<T> SendTimeoutError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            Self::Timeout(value) => value,
            Self::Never(error) => error.into_inner(),
        }
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(_) => f.write_str("no receiver had room in time"),
            Self::Never(error) => error.fmt(f),
        }
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendTimeoutError({self})")
    }
}

impl<T> std::error::Error for SendTimeoutError<T> {}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermitError {
    /// The node has stopped.
    #[error("the node has stopped")]
    Closed,
}

/// Why a tracked message was not taken, or is not known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It had been handed to a receiver whose process is gone: it may have been taken or not.
    #[error("the receiver's process is gone: the message may have been taken or not")]
    Unknown,
    /// Its receiver could not decode it.
    #[error("the receiver could not decode the message")]
    Undecodable,
    /// The node stopped while there was no receiver for it.
    #[error("the node stopped while there was no receiver")]
    NoReceiver,
    /// It was not taken in time. It may still be: the receipt goes on.
    #[error("the message was not taken within {0:?}")]
    TimedOut(Duration),
}

/// What became of the messages that were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "since the last flush {unknown} messages may have been taken or not, and {dropped} were dropped"
)]
pub struct FlushError {
    /// Messages whose receiver's process is gone.
    pub unknown: u64,
    /// Messages that nobody took and nobody will.
    pub dropped: u64,
}

/// Why [`Receiver::recv`](crate::Receiver::recv) has no message, though more may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// A message is not a `T`. It is dropped, and its sender knows.
    #[error("a message of node {from} cannot be decoded")]
    Undecodable {
        /// Who sent it.
        from: NodeId,
    },
    /// A process that sent messages is gone without closing. Only reported if asked for.
    #[error("node {from} is gone: messages that it had not handed over are lost")]
    SenderLost {
        /// Which node it was.
        from: NodeId,
    },
    /// The node has stopped.
    #[error("the node has stopped")]
    NodeStopped,
}

/// Why [`Receiver::try_recv`](crate::Receiver::try_recv) has no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is none now.
    #[error("there is no message now")]
    Empty,
    /// The receiver is closed, and all messages are taken.
    #[error("the receiver is closed")]
    Closed,
    /// As [`Receiver::recv`](crate::Receiver::recv).
    #[error(transparent)]
    Recv(#[from] RecvError),
}

/// Why a channel cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NamespaceError),
    /// The receiver cannot be put on the list.
    #[error("the receiver cannot be put on the list")]
    Membership(#[from] MembershipError),
    /// The node has stopped.
    #[error("the node has stopped")]
    NodeStopped,
}
