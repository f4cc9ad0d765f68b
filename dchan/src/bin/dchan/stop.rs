use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{exit::Exit, log::TARGET};

/// Says when to stop in good order.
#[derive(Clone, Debug)]
pub(crate) struct Stop(CancellationToken);

impl Stop {
    /// The first Ctrl-C or SIGTERM says so; the second ends the process.
    pub(crate) fn on_signals() -> std::io::Result<Self> {
        let mut signals = Signals::new()?;
        let token = CancellationToken::new();
        let stop = Self(token.clone());
        tokio::spawn(async move {
            signals.next().await;
            warn!(target: TARGET, "stopping; once more to stop at once");
            token.cancel();
            signals.next().await;
            std::process::exit(Exit::Interrupted as i32);
        });
        Ok(stop)
    }

    pub(crate) async fn requested(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
