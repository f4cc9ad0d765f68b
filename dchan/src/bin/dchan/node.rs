use anyhow::anyhow;
use dchan::{Node, ShutdownError, StartError};
use tracing::{info, warn};

use crate::{
    args::NodeArgs,
    exit::{Exit, Failure},
    log::TARGET,
    stop::Stop,
};

pub(crate) async fn run(args: NodeArgs, stop: Stop) -> Result<Exit, Failure> {
    let node = start(&args, &stop).await?;
    info!(target: TARGET, addr = %node.addr(), "ready");
    stop.requested().await;
    shut_down(node).await;
    Ok(Exit::Done)
}

/// Starts the node of a command.
pub(crate) async fn start(args: &NodeArgs, stop: &Stop) -> Result<Node, Failure> {
    let builder = args.builder().map_err(|error| Failure::new(Exit::Start, error))?;
    tokio::select! {
        node = builder.start() => node.map_err(|error| Failure::new(Exit::Start, in_options(error))),
        () = stop.requested() => {
            Err(Failure::new(Exit::Interrupted, anyhow!("stopped before the node was part of the cluster")))
        }
    }
}

/// The error in the words of the command line.
fn in_options(error: StartError) -> anyhow::Error {
    match error {
        StartError::Unprotected { addr } => anyhow!(
            "{addr} is not a loopback address, and the node has no certificate: give it one with --ca, \
             --cert and --key (`dchan certs init` and `dchan certs issue HOST` make them), or do without \
             any proof with --insecure"
        ),
        error => error.into(),
    }
}

/// What became of messages is told by the ledger.
pub(crate) async fn shut_down(node: Node) {
    match node.shutdown().await {
        Ok(()) | Err(ShutdownError::Astray { .. }) => {}
        Err(error) => {
            let error = anyhow::Error::from(error);
            warn!(target: TARGET, "{error:#}");
        }
    }
}
