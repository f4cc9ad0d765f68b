use crate::{ConfigError, DataDirError};

/// Why a [`RaftMembership`](crate::RaftMembership) could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewError {
    /// A setting is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory could not be used, or what is stored in it is damaged.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}
