//! Clusters whose processes are killed and whose networks are parted, and what becomes of their
//! messages.
//!
//! A [`Stage`] is a cluster of actors. An [actor](actor::perform) is a node that is told what to do
//! ([`Order`]) and tells what happens ([`Said`]): in this process, or in one of its own, which can be
//! killed. Each [`Scenario`] (of [`kills`] and [`partitions`]) plays on a stage and comes back with a
//! [`Score`]: what was lost, repeated, reordered and unknown, and how long it took to heal.

pub mod actor;
pub mod kills;
mod over;
pub mod partitions;
mod plan;
mod player;
mod process;
mod score;
mod sockets;
mod stage;
mod switch;
mod table;
mod words;

pub use over::{Ground, Over, Tempo, name, transport};
pub use plan::{Form, Needs, Play, Scenario, play};
pub use score::Score;
pub use stage::Stage;
pub use switch::Switch;
pub use table::Table;
pub use words::{Order, Said, Seen};

/// Logs to stderr what `RUST_LOG` asks for, or what goes wrong. It may be called again.
pub fn log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let logs = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
    // Another test of this process may have done it.
    let _before = logs.with_env_filter(filter).try_init();
}
