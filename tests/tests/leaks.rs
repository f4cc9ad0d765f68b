//! Nothing grows. Rounds in which channels are opened, used, cut, cancelled and closed, and a node comes
//! and goes, leave tasks, file descriptors and heap as they were.
//!
//! Counts are of the whole process, so this is its only test. It takes some seconds;
//! `DCHAN_SOAK_SECS` makes it run for so long, a quarter over each transport.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{alloc::System, future::IntoFuture, sync::Arc, time::Duration};

use cap::Cap;
use dchan_conformance::{
    cluster::{
        Cluster, Entry, Impatience, Kind, Message, Oracle, PATIENCE, Spot, Usage, message, stop,
        until,
    },
    tcp::TcpTransport,
};
use dchan_core::{Change, Config, Incarnation, Node, NodeId, Receiver, Sender};
use dchan_transport_grpc::GrpcTransport;
use dchan_transport_quic::QuicTransport;
use tokio::{runtime::Builder, time::sleep};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Rounds after which everything has the size that it will have.
const WARM_UP: usize = 3;

/// Bytes of heap that may be there at the end of one round and not of another. A leak of a few bytes a
/// round is more than that, over the rounds. QUIC's tables double now and then, to be as large as the most
/// that was in them: there it is a connection that would be noticed, which has megabytes.
fn slack(kind: Kind) -> usize {
    if kind == Kind::Quic { 64 << 10 } else { 2048 }
}

/// How long nothing must have happened at first, before all counts as at rest. A QUIC connection drains
/// in silence.
fn quiet(kind: Kind) -> Duration {
    Duration::from_millis(if kind == Kind::Quic { 4000 } else { 600 })
}

#[test]
fn nothing_grows() {
    let secs = std::env::var("DCHAN_SOAK_SECS").ok();
    let secs: u64 = secs.map_or(0, |secs| secs.parse().expect("a number of seconds"));
    let time = Duration::from_secs(secs) / 4;
    let paused = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    paused.block_on(soak(Cluster::new(Kind::Memory, Arc::new(TcpTransport)), time));
    drop(paused);
    let threads = || Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    threads().block_on(soak(Cluster::new(Kind::Tcp, Arc::new(TcpTransport)), time));
    threads().block_on(soak(Cluster::new(Kind::Grpc, Arc::new(GrpcTransport::new())), time));
    threads().block_on(soak(Cluster::new(Kind::Quic, Arc::new(QuicTransport::new())), time));
}

/// What is used at the end of a round.
#[derive(Clone, Copy, Debug)]
struct Sample {
    usage: Usage,
    heap: usize,
}

async fn soak(cluster: Cluster, time: Duration) {
    #[allow(clippy::disallowed_methods, reason = "a soak lasts for so long in real time")]
    let started = std::time::Instant::now();
    let (kind, mut samples) = (cluster.kind, Vec::with_capacity(1 << 16));
    println!("{kind:?}, DCHAN_SEED={}", cluster.seed);
    let mut world = World::new(cluster).await;
    let rounds = kind.scale(40, 6) as usize;
    // What seems to have grown may be there still for a moment: a leak grows on.
    while samples.len() < WARM_UP + rounds
        || started.elapsed() < time
        || (samples.len() < WARM_UP + 4 * rounds && has_grown(kind, &samples[WARM_UP..]))
    {
        world.round(samples.len() as u64).await;
        world.rest().await;
        samples.push(Sample { usage: Usage::now(), heap: HEAP.allocated() });
    }
    world.end().await;
    until("no task is left", || Usage::now().tasks == 0).await;
    judge(kind, &samples[WARM_UP..]);
}

/// The least of what was used in the beginning, and in the end: it is there for good.
fn least<T: Ord>(samples: &[Sample], of: fn(&Sample) -> T) -> [T; 2] {
    let third = samples.len() / 3;
    [&samples[..third], &samples[samples.len() - third..]]
        .map(|samples| samples.iter().map(of).min().unwrap())
}

/// The heap in the beginning and in the end, and open files.
fn compare(samples: &[Sample]) -> ([usize; 2], [Option<usize>; 2]) {
    (least(samples, |sample| sample.heap), least(samples, |sample| sample.usage.files))
}

fn has_grown(kind: Kind, samples: &[Sample]) -> bool {
    let ([before, after], [open, still_open]) = compare(samples);
    after > before + slack(kind) || still_open > open
}

fn judge(kind: Kind, samples: &[Sample]) {
    let ([before, after], [open, still_open]) = compare(samples);
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    println!("{} rounds; after the first: {}, heap {before}", samples.len(), first.usage);
    println!("after the last: {}, heap {after}", last.usage);
    assert!(still_open <= open, "{open:?} files were open, and {still_open:?} are");
    assert!(!has_grown(kind, samples), "heap grew from {before} to {after} bytes");
}

/// Two nodes that stay, with a channel each way, and a place where one comes and goes.
struct World {
    cluster: Cluster,
    stay: [Node; 2],
    channels: Vec<(Sender<Message>, Receiver<Message>)>,
    /// How many tasks there are when nothing goes on.
    at_rest: Option<usize>,
    place: Spot,
    impatience: Impatience,
    incarnation: u64,
}

/// A channel that is used in one round.
struct Channel {
    name: String,
    oracle: Oracle,
    senders: Vec<(Node, Sender<Message>)>,
    /// How many messages each of them has sent.
    sent: [u64; 2],
}

fn set(config: &mut Config) {
    config.times.heartbeat = Duration::from_millis(20);
    config.times.suspect = Duration::from_millis(200);
    config.times.silence = Duration::from_millis(400);
    // Long enough for a new link, however often the one before is cut while it is made.
    config.times.lane = Duration::from_secs(1);
    config.times.redial = (Duration::from_millis(10), Duration::from_millis(50));
}

impl World {
    async fn new(cluster: Cluster) -> Self {
        let stay = [cluster.node_with(set).await, cluster.node_with(set).await];
        let impatience = Impatience::new(cluster.seed, Duration::from_millis(2));
        let mut channels = Vec::new();
        for (from, to, name) in [(0, 1, "there"), (1, 0, "back")] {
            let receiver = stay[to].receiver(name).await.unwrap();
            channels.push((stay[from].sender(name).await.unwrap(), receiver));
        }
        let (place, at_rest, incarnation) = (cluster.spot(), None, 0);
        // All roads are there from the beginning.
        (0..place.index).for_each(|at| cluster.cut(at, place.index));
        Self { cluster, stay, channels, at_rest, place, impatience, incarnation }
    }

    async fn round(&mut self, round: u64) {
        self.incarnation += 1;
        // The same node again, or another one that nobody knows.
        let id = if round.is_multiple_of(2) { NodeId(9) } else { NodeId(1000 + round) };
        let incarnation = Incarnation(self.incarnation);
        let list = self.cluster.list.member();
        let guest = self.cluster.start(&self.place, (id, incarnation), list, set).await.unwrap();
        // Names that are never used again, and one that always is.
        let mut channels = Vec::new();
        for name in [format!("a{round}"), format!("b{round}"), "n".into()] {
            channels.push(self.use_channel(name, &guest).await);
        }
        if round % 4 < 2 {
            self.leave_in_good_order(channels, guest).await;
        } else {
            self.die(channels, guest, id, incarnation).await;
        }
    }

    /// Everything that can be done with a channel, some of it dropped.
    async fn use_channel(&mut self, name: String, guest: &Node) -> Channel {
        let nodes = [self.stay[0].clone(), self.stay[1].clone(), guest.clone()];
        let mut senders = Vec::new();
        for node in [&nodes[0], &nodes[2]] {
            senders.push((node.clone(), node.sender(&name).await.unwrap()));
        }
        let mut channel = Channel { name, oracle: Oracle::new(), senders, sent: [0; 2] };
        for node in &nodes {
            let mut receiver = channel.receiver(node).await;
            channel.send(4, &mut self.impatience).await;
            self.cluster.cut(0, 1);
            self.cluster.cut(1, self.place.index);
            channel.receive(&mut receiver, &mut self.impatience).await;
            for _ in 0..4 {
                let opening = node.receiver::<Message>(&channel.name).into_future();
                drop(self.impatience.run(opening).await);
            }
            if self.impatience.chance().bool() {
                let _dropped = self.impatience.run(receiver.hand_back()).await;
            }
        }
        channel
    }

    async fn leave_in_good_order(&mut self, channels: Vec<Channel>, guest: Node) {
        for mut channel in channels {
            let mut receiver = channel.receiver(&self.stay[1]).await;
            channel.send(4, &mut self.impatience).await;
            let receiving = channel.oracle.receive(receiver);
            let in_time = self.settle(&channel).await;
            receiving.abort();
            receiver = channel.receiver(&self.stay[0]).await;
            receiver.close();
            assert_eq!(receiver.recv().await.unwrap(), None);
            for (_, sender) in channel.senders {
                let closed = sender.close().await;
                assert!(closed.is_ok() || !in_time, "{closed:?}");
            }
        }
        stop(guest).await;
    }

    /// Waits until all is received and accounted for. Returns whether all links were there in time: lanes
    /// are given up soon here, which leaves messages unknown on a busy machine.
    async fn settle(&self, channel: &Channel) -> bool {
        let nodes: Vec<&Node> = channel.senders.iter().map(|(node, _)| node).collect();
        let ledgers = || nodes.iter().map(|node| node.ledger(&channel.name)).collect::<Vec<_>>();
        until("all is settled", || ledgers().iter().all(|ledger| ledger.in_flight == 0)).await;
        let given_up = |node: &&Node| node.metrics().peers.values().any(|peer| peer.given_up > 0);
        let in_time = !nodes.iter().any(given_up);
        if in_time {
            channel.oracle.settle_all(&nodes, &channel.name).await;
        } else {
            channel.oracle.check(&ledgers()).await;
        }
        in_time
    }

    /// A process ends, in effect, and the membership takes it off the list when it misses it.
    async fn die(
        &mut self,
        mut channels: Vec<Channel>,
        guest: Node,
        id: NodeId,
        incarnation: Incarnation,
    ) {
        let (mut receivers, mut ledgers) = (Vec::new(), Vec::new());
        for channel in &mut channels {
            receivers.push(channel.receiver(&guest).await);
            channel.send(4, &mut self.impatience).await;
            ledgers.push(guest.ledger(&channel.name));
        }
        for channel in &mut channels {
            drop(channel.senders.pop());
        }
        drop(guest);
        drop(receivers);
        self.cluster.list.change(&[Change::NodeGone { id, incarnation }]);
        for (channel, ledger) in channels.into_iter().zip(ledgers) {
            let receiving = channel.oracle.receive(channel.receiver(&self.stay[1]).await);
            let (node, sender) = &channel.senders[0];
            let _astray = sender.flush().await;
            receiving.abort();
            let _aborted = receiving.await;
            channel.oracle.check(&[node.ledger(&channel.name), ledger]).await;
        }
    }

    /// Waits until nothing is left of the round.
    async fn rest(&mut self) {
        // A connection keeps buffers as large as what went through it: at rest there is a new one.
        self.cluster.cut(0, 1);
        self.talk().await;
        // The nodes that stay are linked, and nothing else goes on: they listen, follow the list and mend
        // it, lend what comes back to the budget, look at their health, read, write, call the writer, and watch over
        // the link.
        let rests = |node: &Node| node.tasks() == 9 && node.links().borrow().len() == 1;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let (mut since, mut tasks) = (tokio::time::Instant::now(), Usage::now().tasks);
        loop {
            sleep(Duration::from_millis(5)).await;
            let now = Usage::now().tasks;
            if std::mem::replace(&mut tasks, now) != now || !self.stay.iter().all(rests) {
                since = tokio::time::Instant::now();
            }
            let enough = match self.at_rest {
                Some(before) => now <= before,
                // At first, who knows: when nothing happens any more.
                None => since.elapsed() > quiet(self.cluster.kind),
            };
            if enough && self.stay.iter().all(rests) {
                self.at_rest = Some(now);
                return;
            }
            let state =
                self.stay.each_ref().map(|node| (node.tasks(), node.links().borrow().len()));
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late, "{:?} tasks before, {now} now; nodes have {state:?}", self.at_rest);
        }
    }

    /// One message each way, once more if it had no link for too long.
    async fn talk(&mut self) {
        for (sender, receiver) in &mut self.channels {
            loop {
                let mut receipt = sender.send_tracked(message(0, 0, 10)).await.unwrap();
                let receiving = async {
                    loop {
                        assert_eq!(receiver.recv().await.unwrap(), Some(message(0, 0, 10)));
                    }
                };
                let taken = tokio::select! {
                    taken = receipt.taken() => taken,
                    () = receiving => unreachable!("it never ends"),
                };
                if taken.is_ok() {
                    break;
                }
            }
        }
    }

    async fn end(self) {
        drop(self.channels);
        for node in self.stay {
            stop(node).await;
        }
    }
}

impl Channel {
    async fn receiver(&self, node: &Node) -> Receiver<Message> {
        node.receiver(&self.name).capacity(8).await.unwrap()
    }

    /// Sends some messages through each of the senders. Those that are dropped are not sent.
    async fn send(&mut self, count: u64, impatience: &mut Impatience) {
        for (handle, (_, sender)) in self.senders.iter().enumerate() {
            for turn in 0..count {
                let size = if turn == 3 { 100_000 } else { impatience.chance().usize(..200) };
                let message = message(handle as u32, self.sent[handle], size);
                let accepted = match turn % 3 {
                    0 => impatience.run(sender.send(message)).await.ready().is_some(),
                    1 => match impatience.run(sender.send_tracked(message)).await.ready() {
                        Some(receipt) => {
                            let _soon = impatience.run(receipt.unwrap().taken()).await;
                            true
                        }
                        None => false,
                    },
                    _ => match impatience.run(sender.reserve()).await.ready() {
                        Some(permit) if impatience.chance().bool() => {
                            permit.unwrap().send(message).is_ok()
                        }
                        _ => false,
                    },
                };
                if accepted {
                    self.oracle.note_accepted(handle as u32, self.sent[handle]);
                    self.sent[handle] += 1;
                }
            }
        }
    }

    async fn receive(&self, receiver: &mut Receiver<Message>, impatience: &mut Impatience) {
        let log = self.oracle.log();
        for _ in 0..4 {
            if let Some(found) = impatience.run(receiver.recv_delivery()).await.ready() {
                log.lock().push(Entry::of(&found.unwrap().unwrap()));
            }
        }
    }
}
