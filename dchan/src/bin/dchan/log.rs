use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What the commands themselves have to say, which is said by default.
pub(crate) const TARGET: &str = "dchan::cli";

/// Logs to stderr.
pub(crate) fn init(verbose: u8) {
    let default = match verbose {
        0 => "error,dchan=warn,dchan::cli=info,dchan::health=info",
        1 => "warn,dchan=info",
        2 => "info,dchan=debug",
        _ => "debug,dchan=trace",
    };
    let filter = match EnvFilter::try_from_default_env() {
        Ok(filter) if verbose == 0 => filter,
        _ => EnvFilter::new(default),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
