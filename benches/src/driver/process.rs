use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::{Point, node::Order, report};

/// Starts processes of one run. Their files are gone when it is.
pub(super) struct Stage {
    files: TempDir,
    /// Whether one of them has ended before its time: the others may wait for it for ever.
    failed: Arc<AtomicBool>,
}

impl Stage {
    pub(super) fn new() -> anyhow::Result<Self> {
        let files = tempfile::Builder::new().prefix("dchan-benches-").tempdir()?;
        Ok(Self { files, failed: Arc::default() })
    }

    /// Starts this program in another role.
    pub(super) fn start(
        &self,
        role: &str,
        point: &Point,
        more: &[&str],
    ) -> anyhow::Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(role).args(point.args()).args(more);
        // One that is killed leaves its data directory behind.
        command.env("TMPDIR", self.files.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let hears = child.stdin.take();
        let stdout = child.stdout.take().context("no output")?;
        let (says, said) = sync_channel(16);
        let (dismissed, failed) = (Arc::new(AtomicBool::new(false)), self.failed.clone());
        let expected = dismissed.clone();
        std::thread::spawn(move || {
            let done = pass_on(stdout, &says);
            if !done && !expected.load(SeqCst) {
                failed.store(true, SeqCst);
            }
        });
        Ok(Process { child, hears, said, dismissed, failed: self.failed.clone() })
    }
}

/// Passes on what a process says, to its end. Whether it was done.
fn pass_on(stdout: ChildStdout, says: &SyncSender<String>) -> bool {
    let mut done = false;
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        done |= line.starts_with(report::DONE);
        if says.send(line).is_err() {
            break;
        }
    }
    done
}

/// A child that does not outlive the driver: see also [`die_with_parent`](crate::die_with_parent).
pub(super) struct Process {
    child: Child,
    hears: Option<ChildStdin>,
    said: Receiver<String>,
    dismissed: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
}

impl Process {
    /// The rest of its next line, which is to begin with that word.
    pub(super) fn line(&mut self, word: &str) -> anyhow::Result<String> {
        loop {
            match self.said.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => return report::rest(&line, word),
                Err(RecvTimeoutError::Timeout) if self.failed.load(SeqCst) => {
                    bail!("another process of this run has failed")
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("expected {word:?}, but the process ended: {}", self.child.wait()?)
                }
            }
        }
    }

    /// Tells it something.
    pub(super) fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let hears = self.hears.as_mut().context("nothing more was to be said")?;
        Ok(writeln!(hears, "{line}")?)
    }

    /// Tells a node what to do.
    pub(super) fn order(&mut self, order: &Order) -> anyhow::Result<()> {
        self.tell(&serde_json::to_string(order)?)
    }

    /// What an order has come to.
    pub(super) fn told<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        Ok(serde_json::from_str(&self.line("told")?)?)
    }

    /// Tells a node what to do, and waits until it is done.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, order: &Order) -> anyhow::Result<T> {
        self.order(order)?;
        self.told()
    }

    /// What it reports.
    pub(super) fn report<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        Ok(serde_json::from_str(&self.line(report::DONE)?)?)
    }

    /// What it reports at its end, which is to be a good one.
    pub(super) fn end<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        self.hears = None;
        let report = self.report()?;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "a process ended with {status}");
        Ok(report)
    }

    /// Stops it from running, as if its machine had frozen.
    pub(super) fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it run on.
    pub(super) fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        // It was not waited for: the number is still its own.
        Ok(kill(Pid::from_raw(self.child.id().try_into()?), signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.dismissed.store(true, SeqCst);
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
