//! What a bad path does: to the latency of a channel while another one fills the path, to Raft, and to those
//! who open channels.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use dchan::{Builder, Node, Sender, ShutdownError};
use dchan_conformance::cluster::{Kind, PATIENCE};
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::Switch;

/// A message of the channel that fills the path, in bytes.
const BULK: usize = 60 * 1024;
/// How long it fills it before anything is measured.
const FILLING: Duration = Duration::from_secs(2);
/// How many pings are measured, and how long to wait between two.
const PINGS: u64 = 50;
const PAUSE: Duration = Duration::from_millis(50);

/// How a cluster of three fares, whose ways out all have the same queue.
#[derive(Debug)]
pub struct Measured {
    /// Pings on a path that is empty.
    pub alone: Pings,
    /// Pings while another channel between the same nodes fills the path.
    pub beside: Pings,
    /// What that channel carries meanwhile, in bytes for each second.
    pub rate: f64,
    /// How long it takes to open a receiver meanwhile.
    pub openings: Pings,
    /// How many elections there were meanwhile.
    pub elections: u64,
}

/// Times from sending a message until its application has taken it and the sender knows, in order.
#[derive(Debug)]
pub struct Pings(Vec<Duration>);

impl Pings {
    fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// So many of a hundred are not longer than this.
    pub fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }
}

impl fmt::Display for Pings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, all] = [50, 95, 100].map(|percent| self.percentile(percent));
        write!(f, "p50 {half:>7.1?}, p95 {most:>7.1?}, max {all:>7.1?}")
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  pings alone:        {}", self.alone)?;
        writeln!(f, "  beside {:5.2} MB/s:   {}", self.rate / 1e6, self.beside)?;
        write!(f, "  opening a receiver: {}; {} elections", self.openings, self.elections)
    }
}

/// Starts a cluster whose nodes are in network namespaces of their own, and measures it.
///
/// # Errors
///
/// There are no namespaces or no such queue here, or a node does not start.
pub fn measure(kind: Kind, queue: &str) -> anyhow::Result<Measured> {
    let mut switch = Switch::new()?;
    let hosts = [0, 1, 2];
    for port in hosts {
        switch.add()?;
        switch.shape(port, queue)?;
    }
    let addrs = hosts.map(|port| format!("{}:7001", switch.ip(port)));
    let starting = hosts.map(|port| {
        let builder = Node::builder(&addrs[port]).peers(&addrs).insecure();
        let builder = if kind == Kind::Quic { builder.quic() } else { builder.grpc() };
        Host::start(switch.namespace(port), builder)
    });
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let [a, b, c] = starting;
        let hosts = [a.started().await?, b.started().await?, c.started().await?];
        let measured = timeout(PATIENCE * 3, measure_between(&hosts)).await;
        for host in hosts {
            host.stop().await?;
        }
        measured.context("it takes too long")?
    })
}

async fn measure_between([a, b, c]: &[Host; 3]) -> anyhow::Result<Measured> {
    let taken = Arc::new(AtomicU64::new(0));
    let _taking = [b.take("bulk", taken.clone()).await?, b.take("ping", Arc::default()).await?];
    let (bulk, ping) = (a.sender("bulk").await?, a.sender("ping").await?);
    let alone = a.run(pings(ping.clone())).await?;

    let before = c.node.metrics().list.status.term;
    let filling = AbortOnDropHandle::new(a.runtime.spawn(fill(bulk.clone())));
    sleep(FILLING).await;
    let (bytes, since) = (taken.load(Relaxed), Instant::now());
    let opening = c.run(open(c.node.clone()));
    let (beside, openings) = tokio::try_join!(a.run(pings(ping.clone())), opening)?;
    let rate = (taken.load(Relaxed) - bytes) as f64 / since.elapsed().as_secs_f64();
    let elections = c.node.metrics().list.status.term - before;

    drop(filling);
    for (name, flushed) in [("bulk", bulk.flush().await), ("ping", ping.flush().await)] {
        let ledger = a.node.ledger(name);
        let settled = ledger.balances() && ledger.taken == ledger.accepted;
        ensure!(flushed.is_ok() && settled, "{name}: {ledger}");
    }
    Ok(Measured { alone, beside, rate, openings, elections })
}

async fn fill(sender: Sender<Bytes>) {
    let message = Bytes::from(vec![7; BULK]);
    // It goes on until it is aborted.
    while sender.send(message.clone()).await.is_ok() {}
}

async fn pings(sender: Sender<Bytes>) -> anyhow::Result<Pings> {
    let mut all = Vec::new();
    for nth in 0..PINGS {
        let start = Instant::now();
        let mut receipt = sender.send_tracked(nth.to_be_bytes().to_vec().into()).await?;
        receipt.taken_within(PATIENCE).await?;
        all.push(start.elapsed());
        sleep(PAUSE).await;
    }
    Ok(Pings::new(all))
}

/// Registers one receiver after the other.
async fn open(node: Node) -> anyhow::Result<Pings> {
    let mut all = Vec::new();
    for nth in 0..10 {
        let start = Instant::now();
        drop(node.receiver::<Bytes>(&format!("late {nth}")).await?);
        all.push(start.elapsed());
    }
    Ok(Pings::new(all))
}

/// A node, in a namespace and a thread of its own.
struct Host {
    node: Node,
    runtime: Handle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

/// One that is not part of the cluster yet.
struct Starting {
    started: oneshot::Receiver<(Node, Handle)>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Host {
    fn start(namespace: String, builder: Builder) -> Starting {
        let ((start, started), (stop, stopped)) = (oneshot::channel(), oneshot::channel());
        let thread = std::thread::spawn(move || {
            Switch::enter(&namespace)?;
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let node = builder.start().await?;
                // Who has given up waiting wants it stopped.
                let _given_up = start.send((node.clone(), Handle::current()));
                let _asked_or_given_up = stopped.await;
                match node.shutdown().await {
                    // The last ones have no quorum to leave by.
                    Ok(()) | Err(ShutdownError::Membership(_)) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            })
        });
        Starting { started, stop, thread }
    }

    /// Runs something in the node's thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        self.runtime.spawn(work).await?
    }

    async fn sender(&self, name: &'static str) -> anyhow::Result<Sender<Bytes>> {
        let node = self.node.clone();
        self.run(async move { Ok(node.sender::<Bytes>(name).await?) }).await
    }

    /// Takes all messages of a channel, and counts their bytes.
    async fn take(
        &self,
        name: &'static str,
        bytes: Arc<AtomicU64>,
    ) -> anyhow::Result<AbortOnDropHandle<()>> {
        let node = self.node.clone();
        let mut receiver = self.run(async move { Ok(node.receiver::<Bytes>(name).await?) }).await?;
        Ok(AbortOnDropHandle::new(self.runtime.spawn(async move {
            while let Ok(Some(message)) = receiver.recv().await {
                bytes.fetch_add(message.len() as u64, Relaxed);
            }
        })))
    }

    async fn stop(self) -> anyhow::Result<()> {
        drop((self.node, self.stop));
        let joined = spawn_blocking(|| self.thread.join()).await?;
        joined.map_err(|_| anyhow::anyhow!("a node has panicked"))?
    }
}

impl Starting {
    async fn started(self) -> anyhow::Result<Host> {
        let (node, runtime) =
            timeout(PATIENCE, self.started).await?.context("a node has not started")?;
        Ok(Host { node, runtime, stop: self.stop, thread: self.thread })
    }
}
