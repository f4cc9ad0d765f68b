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
    /// Whoever can reach that address, or stands on the way to it, could read and send everything.
    #[error(
        "{addr} is not a loopback address, and the node has no certificate: give it one with `tls` \
         (`dchan certs` makes them), or do without any proof with `insecure`"
    )]
    Unprotected {
        /// Where the node was to listen, where others were to reach it, or one of its peers.
        addr: Addr,
    },
    /// All peers would refuse the node, since its certificate is another's.
    #[error(
        "the certificate is for {}, and others reach this node at {host}: give it a certificate for that \
         host (`dchan certs issue {host}` makes one), or advertise a host that it is for",
        names.join(", ")
    )]
    Certificate {
        /// The hosts that it is for.
        names: Vec<String>,
        /// The host that the node advertises.
        host: String,
    },
    /// Certificates are given, and a transport of one's own, which does not know of them.
    #[error("`tls` is for the transports of dchan: give the certificates to your own one yourself")]
    TlsOfOwn,
    /// The features `grpc` and `quic` are off, and no other transport is given.
    #[error(
        "there is no transport: enable the feature `grpc` or `quic`, or give one with `transport`"
    )]
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
