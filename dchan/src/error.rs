use dchan_core::{Addr, AddrError, ConfigError};

/// Why a node did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be one.
    #[error("{field}: {source}")]
    Addr {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        source: AddrError,
    },
    /// Whoever can reach that address could read and send everything.
    #[error(
        "{listen} can be reached from other machines, and nothing is encrypted (TLS is not available \
         yet): listen at a loopback address such as 127.0.0.1, or allow plain text with `insecure`"
    )]
    PlainText {
        /// Where the node was to listen.
        listen: Addr,
    },
    /// The feature `grpc` is off, and no other transport is given.
    #[error("there is no transport: enable the feature `grpc`, or give one with `transport`")]
    NoTransport,
    /// The feature `raft` is off, and no other membership is given.
    #[error("there is no membership: enable the feature `raft`, or give one with `membership`")]
    NoMembership,
    /// The data directory cannot be used.
    #[cfg(feature = "raft")]
    #[error(transparent)]
    DataDir(#[from] dchan_raft::DataDirError),
    /// Raft cannot be set up: a setting is out of its range, or what is stored cannot be read.
    #[cfg(feature = "raft")]
    #[error(transparent)]
    Raft(#[from] dchan_raft::NewError),
    /// It cannot listen, or cannot become part of the cluster.
    #[error(transparent)]
    Node(#[from] dchan_core::StartError),
}
