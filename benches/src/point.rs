use std::fmt;

use crate::{Setup, Workload};

/// One point of the table.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct Point {
    #[arg(long)]
    pub(crate) workload: Workload,
    /// Which of the workload's variants.
    #[arg(long)]
    pub(crate) case: String,
    #[arg(long)]
    pub(crate) contender: String,
    /// Of messages, in bytes.
    #[arg(long)]
    pub(crate) size: usize,
    #[arg(long)]
    pub(crate) secs: f64,
}

impl Point {
    /// What its contender is to be ready for.
    pub(crate) fn setup(&self) -> Setup {
        self.workload.setup(self.size)
    }

    /// The command line that it is read from again.
    pub(crate) fn args(&self) -> Vec<String> {
        let Self { workload, case, contender, size, secs } = self;
        [
            ("workload", workload.word()),
            ("case", case.clone()),
            ("contender", contender.clone()),
            ("size", size.to_string()),
            ("secs", secs.to_string()),
        ]
        .map(|(name, value)| format!("--{name}={value}"))
        .to_vec()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, case, contender, size, .. } = self;
        f.write_str(&workload.word())?;
        if !case.is_empty() {
            write!(f, " {case}")?;
        }
        write!(f, ", {contender}")?;
        if workload.has_sizes() { write!(f, ", {size} bytes") } else { Ok(()) }
    }
}
