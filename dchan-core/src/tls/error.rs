use std::{error::Error, io, path::PathBuf};

/// Why a configuration of TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What should hold certificates or a key, in PEM, does not.
    #[error("{what}: expected {expected} in PEM: {reason}")]
    Pem {
        /// Which one.
        what: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// They do not go together, or not with TLS 1.3.
    #[error("{what} cannot be used")]
    Unusable {
        /// Which one.
        what: &'static str,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The node's certificate names no host.
    #[error("the certificate names no host: expected a DNS name or an IP address in it")]
    Nameless,
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A certificate is for somebody.
    #[error("no host to make a certificate for: expected at least one")]
    NoHost,
    /// What is not a host.
    #[error("{host:?} is not a host: expected a DNS name or an IP address, without a port")]
    Host {
        /// What was given.
        host: String,
    },
    /// The authority's certificate or key is none.
    #[error("the authority's {what} cannot be used")]
    Unusable {
        /// Which one.
        what: &'static str,
        /// Why.
        source: rcgen::Error,
    },
    /// Making it failed.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}
