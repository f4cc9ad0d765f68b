use std::io::Write;

use bytes::Bytes;
use dchan::{Node, SendError, Sender};
use tracing::{error, info};

use crate::{
    args::SendArgs,
    exit::{Exit, Failure},
    input::{Input, read_stdin},
    lines::Line,
    log::TARGET,
    node::{shut_down, start},
    progress::Progress,
    stop::Stop,
};

pub(crate) async fn run(args: SendArgs, stop: Stop) -> Result<Exit, Failure> {
    let node = start(&args.node, &stop).await?;
    let sender = match node.sender::<Bytes>(&args.namespace).await {
        Ok(sender) => sender,
        Err(error) => {
            shut_down(node).await;
            return Err(Failure::new(Exit::Start, error));
        }
    };
    info!(target: TARGET, addr = %node.addr(), namespace = %args.namespace, "ready");
    let mut sending = Sending { sender, number: 0, returned: 0, progress: Progress::new() };
    let limit = dchan::Config::default().limits.message;
    let copied = match read_stdin(limit) {
        Ok(input) => sending.copy(input, limit, &stop).await,
        Err(error) => Err(error.into()),
    };
    if let Ok(Read::All) = copied {
        tokio::select! {
            // What went astray is in the ledger.
            _astray = sending.sender.flush() => {}
            () = stop.requested() => {}
        }
    }
    Ok(sending.end(node, copied).await)
}

/// How much of the input was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    All,
    Part,
}

/// Sends lines, and keeps count.
struct Sending {
    sender: Sender<Bytes>,
    /// Of the line that was read last, from 1.
    number: u64,
    /// Lines that were read and not accepted.
    returned: u64,
    progress: Progress,
}

impl Sending {
    /// Sends all lines of the input, or those that come before it is told to stop.
    async fn copy(&mut self, mut input: Input, limit: u64, stop: &Stop) -> anyhow::Result<Read> {
        let stopped = stop.requested();
        tokio::pin!(stopped);
        loop {
            let lines = tokio::select! {
                biased;
                () = &mut stopped => return Ok(Read::Part),
                lines = input.recv() => lines,
            };
            let Some(lines) = lines else { return Ok(Read::All) };
            let lines =
                lines.map_err(|error| anyhow::Error::from(error).context("cannot read stdin"))?;
            for line in lines {
                self.number += 1;
                let line = match line {
                    Line::Whole(line) => line,
                    Line::TooLong(size) => {
                        self.refuse(size, limit);
                        continue;
                    }
                };
                let len = line.len() as u64 + 1;
                let sent = tokio::select! {
                    biased;
                    sent = self.sender.send(line) => sent,
                    () = &mut stopped => {
                        self.returned += 1;
                        return Ok(Read::Part);
                    }
                };
                match sent {
                    Ok(()) => self.progress.add(1, len),
                    Err(SendError::TooLarge { size, limit, .. }) => self.refuse(size, limit),
                    Err(error) => {
                        self.returned += 1;
                        return Err(error.without_value().into());
                    }
                }
            }
        }
    }

    fn refuse(&mut self, size: u64, limit: u64) {
        self.returned += 1;
        let number = self.number;
        error!(target: TARGET, "line {number} has {size} bytes: expected at most {limit}; it is not sent");
    }

    /// Stops the node, and says what has become of the lines.
    async fn end(self, node: Node, copied: anyhow::Result<Read>) -> Exit {
        drop(self.progress);
        shut_down(node).await;
        let ledger = self.sender.ledger();
        let all_taken = ledger.taken == ledger.accepted && self.returned == 0;
        let mut stderr = std::io::stderr().lock();
        let exit = match copied {
            Ok(Read::All) if all_taken => Exit::Done,
            Ok(_) => Exit::NotAllTaken,
            Err(error) => {
                let _gone = writeln!(stderr, "error: {error:#}");
                Exit::Broken
            }
        };
        let _gone = writeln!(stderr, "{ledger} returned={}", self.returned);
        exit
    }
}
