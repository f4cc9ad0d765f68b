//! Three founders as processes.

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::process::{Process, free_addresses, program};

/// Three founders, each with a directory of its own.
pub(crate) struct Founders {
    dir: TempDir,
    pub(crate) all: Vec<String>,
    started: std::cell::Cell<u32>,
}

impl Founders {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, all: free_addresses::<3>(), started: 0.into() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self, at: usize) -> PathBuf {
        self.path(&format!("data{at}"))
    }

    pub(crate) fn args(&self, at: usize, args: &[&str]) -> Vec<String> {
        let data = self.data(at);
        let more = ["--listen", &self.all[at], "--peers", &self.all.join(",")];
        let data = ["--data", data.to_str().unwrap()];
        [args, &more, &data].concat().into_iter().map(Into::into).collect()
    }

    /// A process with standard input and output of its own.
    pub(crate) fn spawn(&self, command: &mut Command, stdin: Stdio, stdout: Stdio) -> Process {
        let number = self.started.replace(self.started.get() + 1);
        let stderr = self.path(&format!("{number}.stderr"));
        command.stdin(stdin).stdout(stdout);
        let child = command.stderr(File::create(&stderr).unwrap()).spawn().unwrap();
        Process::new(child, stderr)
    }

    pub(crate) fn node(&self, at: usize) -> Process {
        let mut command = program(self.dir.path());
        self.spawn(command.args(self.args(at, &["node"])), Stdio::null(), Stdio::null())
    }

    /// A node that has no vote.
    pub(crate) fn joiner(&self, args: &[&str], stdin: Stdio, stdout: Stdio) -> Process {
        let mut command = program(self.dir.path());
        command.args(args).args(["--listen", "127.0.0.1:0", "--peers", &self.all.join(",")]);
        self.spawn(&mut command, stdin, stdout)
    }
}
