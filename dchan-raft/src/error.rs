use crate::{ConfigError, DataDirError};

/// Why a [`RaftMembership`](crate::RaftMembership) could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewError {
    /// A setting is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory could not be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What is stored could not be read.
    #[error("cannot read what is stored in the data directory")]
    Store(#[source] std::io::Error),
}
