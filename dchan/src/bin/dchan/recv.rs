use anyhow::anyhow;
use bytes::Bytes;
use dchan::{Node, Receiver, RecvError};
use tracing::{error, info, warn};

use crate::{
    args::RecvArgs,
    exit::{Exit, Failure},
    log::TARGET,
    node::{shut_down, start},
    output::{Output, WriteError},
    progress::Progress,
    stop::Stop,
};

/// How many lines are written at once, at most: a frame of empty ones.
const BATCH: usize = 16 * 1024;

pub(crate) async fn run(args: RecvArgs, stop: Stop) -> Result<Exit, Failure> {
    let node = start(&args.node, &stop).await?;
    let receiver = open(&node, &args).await;
    let done = match receiver {
        Ok(receiver) => copy(receiver, args.count.unwrap_or(u64::MAX), &stop).await,
        Err(failure) => Err(failure),
    };
    shut_down(node).await;
    done
}

async fn open(node: &Node, args: &RecvArgs) -> Result<Receiver<Bytes>, Failure> {
    let mut opening = node.receiver(&args.namespace).settle_on_next();
    if let Some(capacity) = args.capacity {
        opening = opening.capacity(capacity as usize);
    }
    let receiver = opening.await.map_err(|error| Failure::new(Exit::Start, error))?;
    info!(target: TARGET, addr = %node.addr(), namespace = %args.namespace, "ready");
    Ok(receiver)
}

/// Writes messages to stdout until it is enough. What is not written goes to other receivers.
async fn copy(mut receiver: Receiver<Bytes>, mut left: u64, stop: &Stop) -> Result<Exit, Failure> {
    let (mut output, mut lines) = (Output::default(), Vec::new());
    let progress = Progress::new();
    let mut exit = Exit::Done;
    while left > 0 {
        let limit = usize::try_from(left).unwrap_or(BATCH).min(BATCH);
        lines.clear();
        let got = tokio::select! {
            biased;
            () = stop.requested() => break,
            got = receiver.recv_many(&mut lines, limit) => got,
        };
        match got {
            Ok(0) => break,
            Ok(count) => left -= count as u64,
            Err(error @ RecvError::Undecodable { .. }) => {
                warn!(target: TARGET, "{error}");
                exit = Exit::NotAllTaken;
                continue;
            }
            Err(error) => return Err(Failure::new(Exit::Broken, error)),
        }
        match output.write(&lines, stop).await {
            Ok(()) => {}
            Err(WriteError::Failed { written, error }) => {
                receiver.hand_back_with(lines.split_off(written)).await;
                let error = anyhow::Error::from(error).context("cannot write to stdout");
                return Err(Failure::new(Exit::Broken, error));
            }
            Err(WriteError::Stuck) => abandon(),
        }
        progress.add(lines.len() as u64, lines.iter().map(|line| line.len() as u64 + 1).sum());
    }
    receiver.hand_back().await;
    Ok(exit)
}

/// Some lines may be in the pipe or not. Only a process that is gone leaves their fate unknown, as it is.
fn abandon() -> ! {
    let reason = anyhow!("stdout takes nothing: what was being written has an unknown fate");
    error!(target: TARGET, "{reason}");
    std::process::exit(Exit::Broken as i32)
}
