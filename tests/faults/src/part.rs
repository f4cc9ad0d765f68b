//! An actor in a process of its own.

use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use dchan_core::Addr;
use dchan_faults::{Order, Said, Tempo, actor, transport};
use tokio::{runtime::Builder, sync::mpsc};

/// Orders come by stdin, and what it tells goes to stdout, a line each. Logs go to stderr. It ends
/// abruptly when stdin does.
#[derive(Debug, clap::Args)]
pub(crate) struct Actor {
    #[arg(long)]
    transport: String,
    #[arg(long)]
    listen: Addr,
    #[arg(long, value_delimiter = ',')]
    founders: Vec<Addr>,
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    lane_millis: u64,
}

impl Actor {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        dchan_faults::log("info,openraft=error");
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.context("start the runtime")?.block_on(self.live())
    }

    async fn live(self) -> anyhow::Result<()> {
        let (orders, taken) = mpsc::channel(64);
        std::thread::spawn(move || {
            for line in std::io::stdin().lines() {
                let order = line.map_err(Into::into).and_then(|line| line.parse::<Order>());
                match order {
                    Ok(order) => drop(orders.blocking_send(order)),
                    Err(error) => say(&Said::Failed(error.to_string())),
                }
            }
            std::process::exit(0);
        });
        let node = self.builder()?.start().await?;
        actor::perform((*node).clone(), taken, Arc::new(|said| say(&said))).await;
        Ok(())
    }

    fn builder(&self) -> anyhow::Result<dchan::Builder> {
        let tempo = Tempo { lane: Duration::from_millis(self.lane_millis) };
        let builder = dchan::Node::builder(&self.listen)
            .peers(&self.founders)
            .data_dir(&self.data)
            .transport(transport(&self.transport).context("an unknown transport")?)
            .config(|config| tempo.of_node(config))
            .raft(|config| tempo.of_raft(config));
        Ok(if self.founders.contains(&self.listen) { builder } else { builder.join() })
    }
}

/// In one write: it is out, or it is not, whenever the process is killed.
fn say(said: &Said) {
    let line = format!("{said}\n");
    if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
        // Nobody hears what it tells.
        std::process::exit(1);
    }
}
