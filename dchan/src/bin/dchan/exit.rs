use std::process::ExitCode;

/// How a command ended. `--help` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Done = 0,
    /// Not every line was taken.
    NotAllTaken = 1,
    // 2 is wrong usage, which clap says.
    /// The node did not start, or the channel did not open.
    Start = 3,
    /// Input or output failed, or the node stopped.
    Broken = 4,
    /// Stopped before it was part of the cluster, or at once.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not go on, and how it ends.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }
}
