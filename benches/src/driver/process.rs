use std::{
    io::{BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context;
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
}

impl Stage {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { files: tempfile::Builder::new().prefix("dchan-benches-").tempdir()? })
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
        let says = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Process { child, hears, says })
    }
}

/// A child that does not outlive the driver: see also [`die_with_parent`](crate::die_with_parent).
pub(super) struct Process {
    child: Child,
    hears: Option<ChildStdin>,
    says: BufReader<ChildStdout>,
}

impl Process {
    /// The rest of its next line, which is to begin with that word.
    pub(super) fn line(&mut self, word: &str) -> anyhow::Result<String> {
        report::line(&mut self.says, word)
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

    /// What it reports at its end, which is to be a good one.
    pub(super) fn end<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        self.hears = None;
        let report = serde_json::from_str(&self.line("done")?)?;
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
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
