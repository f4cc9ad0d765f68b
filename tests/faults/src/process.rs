//! An actor in a process of its own.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    thread::JoinHandle,
};

use crate::{
    player::Notes,
    words::{Order, Said},
};

/// An actor in a process of its own. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stderr: PathBuf,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a process. What it tells goes to the notes, what it logs to that file.
    pub(crate) fn start(mut command: Command, stderr: &Path, notes: Arc<Notes>) -> Self {
        let log = File::options().create(true).append(true).open(stderr).expect("a log file");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the actor starts");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = child.stdout.take().expect("a pipe");
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                // The last line of a process that is killed may be half a line.
                let Ok(said) = line.map_err(Into::into).and_then(|line| line.parse()) else {
                    continue;
                };
                notes.hear(said);
            }
            notes.hear(Said::Failed("its process has ended".into()));
        });
        Self { child, stdin, stderr: stderr.into(), reader: Some(reader) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn order(&mut self, order: &Order) {
        writeln!(self.stdin, "{order}").expect("the actor takes orders");
    }

    /// What all processes of that place have logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Stops the process from running, as if its machine had frozen.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it run on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        // What it told before it was killed counts.
        let _read = self.reader.take().map(JoinHandle::join);
    }
}
