//! Operations of all kinds, dropped by chance while everything is under load.
//!
//! Some thousand are dropped in each test while they wait; `DCHAN_CANCELLATIONS` sets another number,
//! and `DCHAN_TEST_SECS` how long that may take.

use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dchan_conformance::cluster::{
    Cluster, Entry, Impatience, Log, Message, Oracle, PATIENCE, Steps, after_polls, message, stop,
};
use dchan_core::{Node, Receiver, Sender};
use tokio::time::{Instant, sleep, timeout};

dchan_conformance::cluster_tests![cancellations_under_load];

/// What each receiver has room for.
const CAPACITY: usize = 8;
/// How long an operation is waited for at most, before it is dropped.
const LONGEST: Duration = Duration::from_millis(3);
const NAMES: [&str; 3] = ["n0", "n1", "n2"];

/// What all tasks of a storm share.
struct Storm {
    seed: u64,
    oracles: [Arc<Oracle>; NAMES.len()],
    tasks: AtomicU64,
    dropped: AtomicU64,
    wanted: u64,
}

impl Storm {
    fn new(cluster: &Cluster) -> Arc<Self> {
        let wanted = std::env::var("DCHAN_CANCELLATIONS").ok();
        let wanted = wanted.map(|wanted| wanted.parse().expect("a number of cancellations"));
        let wanted = wanted.unwrap_or_else(|| cluster.kind.scale(5000, 3000));
        let (tasks, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
        let oracles = NAMES.map(|_| Arc::new(Oracle::new()));
        Arc::new(Self { seed: cluster.seed, oracles, tasks, dropped, wanted })
    }

    fn impatience(&self) -> Impatience {
        let task = self.tasks.fetch_add(1, Ordering::Relaxed);
        Impatience::new(self.seed.wrapping_add(task << 32), LONGEST)
    }

    /// It goes on until enough was dropped, and enough was not: hardly anything is in time on a busy
    /// machine.
    fn is_over(&self) -> bool {
        let enough = |oracle: &Arc<Oracle>| oracle.accepted() > self.wanted / 100;
        self.dropped.load(Ordering::Relaxed) >= self.wanted && self.oracles.iter().all(enough)
    }

    /// Counts what was dropped since the last time, and rests now and then.
    async fn turn(&self, impatience: &mut Impatience) {
        self.dropped.fetch_add(impatience.take_dropped(), Ordering::Relaxed);
        if impatience.chance().u8(..8) == 0 {
            sleep(Duration::from_micros(impatience.chance().u64(..1000))).await;
        }
    }
}

/// One sender handle, whose operations are dropped.
struct Sending {
    storm: Arc<Storm>,
    oracle: Arc<Oracle>,
    sender: Sender<Message>,
    handle: u32,
    next: u64,
}

impl Sending {
    async fn run(mut self) {
        let mut impatience = self.storm.impatience();
        while !self.storm.is_over() {
            self.send(&mut impatience).await;
            if impatience.chance().u8(..4) == 0 {
                self.wait(&mut impatience).await;
            }
            self.storm.turn(&mut impatience).await;
        }
    }

    async fn send(&mut self, impatience: &mut Impatience) {
        let size = match impatience.chance().u8(..50) {
            0 => 100_000,
            _ => impatience.chance().usize(..100),
        };
        let message = message(self.handle, self.next, size);
        let sender = &self.sender;
        let accepted = match impatience.chance().u8(..6) {
            0 => sender.try_send(message).is_ok(),
            1 => {
                let time = LONGEST.mul_f64(impatience.chance().f64());
                let sending = sender.send_timeout(message, time);
                impatience.run(sending).await.ready().is_some_and(|sent| sent.is_ok())
            }
            2 => match impatience.run(sender.reserve()).await.ready() {
                Some(permit) if impatience.chance().bool() => {
                    let _time_passes = impatience.run(std::future::pending::<()>()).await;
                    permit.unwrap().send(message).is_ok()
                }
                _ => false,
            },
            3 => match impatience.run(sender.clone().reserve_owned()).await.ready() {
                Some(permit) if impatience.chance().bool() => permit.unwrap().send(message).is_ok(),
                Some(permit) => {
                    drop(permit.unwrap().release());
                    false
                }
                None => false,
            },
            4 => match impatience.run(sender.send_tracked(message)).await.ready() {
                Some(receipt) => {
                    let mut receipt = receipt.unwrap();
                    let _soon = impatience.run(receipt.taken()).await;
                    let _later = impatience.run(receipt.taken_within(LONGEST)).await;
                    true
                }
                None => false,
            },
            _ => impatience.run(sender.send(message)).await.ready().is_some_and(|sent| {
                sent.unwrap();
                true
            }),
        };
        if accepted {
            self.oracle.note_accepted(self.handle, self.next);
            self.next += 1;
        }
    }

    async fn wait(&mut self, impatience: &mut Impatience) {
        let sender = &self.sender;
        match impatience.chance().u8(..4) {
            0 => {
                let _ended = impatience.run(sender.flush()).await;
            }
            1 => {
                let _ended = impatience.run(sender.clone().close()).await;
            }
            2 => {
                let _ended = impatience.run(sender.wait_for_receivers(3)).await;
            }
            _ => assert_eq!(impatience.run(sender.closed()).await, Steps::Dropped),
        }
    }
}

/// Where receivers come and go, or one stays, and what they do is dropped.
struct Receiving {
    storm: Arc<Storm>,
    oracle: Arc<Oracle>,
    node: Node,
    name: &'static str,
}

impl Receiving {
    /// One receiver that is there from the beginning to the end.
    async fn stay(self) -> (Receiver<Message>, Log) {
        let mut impatience = self.storm.impatience();
        let mut receiver = self.node.receiver(self.name).capacity(CAPACITY).await.unwrap();
        let log = self.oracle.log();
        while !self.storm.is_over() {
            receive(&mut receiver, &log, &mut impatience).await;
            self.storm.turn(&mut impatience).await;
        }
        (receiver, log)
    }

    /// Receivers that come and go.
    async fn come_and_go(self) {
        let mut impatience = self.storm.impatience();
        while !self.storm.is_over() {
            let opening = self.node.receiver(self.name).capacity(CAPACITY);
            let opening =
                if impatience.chance().bool() { opening.settle_on_next() } else { opening };
            if let Some(receiver) = impatience.run(opening.into_future()).await.ready() {
                self.use_up(receiver.unwrap(), &mut impatience).await;
            }
            self.storm.turn(&mut impatience).await;
        }
    }

    async fn use_up(&self, mut receiver: Receiver<Message>, impatience: &mut Impatience) {
        let log = self.oracle.log();
        for _ in 0..impatience.chance().u8(..40) {
            receive(&mut receiver, &log, impatience).await;
            self.storm.turn(impatience).await;
        }
        match impatience.chance().u8(..3) {
            0 => drop(receiver),
            1 => {
                let _ended = impatience.run(receiver.hand_back()).await;
            }
            _ => {
                receiver.close();
                // Some wait for the end, and some don't.
                while impatience.chance().u8(..20) > 0 {
                    receive(&mut receiver, &log, impatience).await;
                }
            }
        }
    }
}

async fn receive(receiver: &mut Receiver<Message>, log: &Log, impatience: &mut Impatience) {
    if impatience.chance().bool() {
        if let Some(found) = impatience.run(receiver.recv_delivery()).await.ready()
            && let Some(delivery) = found.unwrap()
        {
            log.lock().push(Entry::of(&delivery));
        }
        return;
    }
    let mut found = Vec::new();
    let _count = impatience.run(receiver.recv_many(&mut found, 3)).await;
    // Whether they were rerouted is not told, so nothing is asked of their order.
    let entry =
        |(handle, number, _): Message| Entry { handle, number, rerouted: true, redelivered: false };
    log.lock().extend(found.into_iter().map(entry));
}

/// A sender that was not there before comes to have all the room that the receiver has, and no more,
/// once it is the only one that sends: lanes that rest are asked for theirs while it works.
async fn all_credit_is_back(fresh: &Node, name: &str, receiver: &mut Receiver<Message>) {
    let sender = fresh.sender::<Message>(name).await.unwrap();
    sender.wait_for_receivers(1).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut next = 0;
    loop {
        let mut permits = Vec::new();
        while let Steps::Ready(permit) = after_polls(100, sender.reserve()).await {
            permits.push(permit.unwrap());
        }
        assert!(permits.len() <= CAPACITY, "{} permits", permits.len());
        if permits.len() == CAPACITY {
            break;
        }
        assert!(Instant::now() < deadline, "no more than {} permits", permits.len());
        for permit in permits {
            permit.send(message(99, next, 0)).unwrap();
            assert_eq!(receiver.recv().await.unwrap().unwrap().1, next);
            next += 1;
        }
    }
    sender.close().await.unwrap();
}

async fn cancellations_under_load(cluster: Arc<Cluster>) {
    let storm = Storm::new(&cluster);
    let nodes = [cluster.node().await, cluster.node().await, cluster.node().await];
    let fresh = cluster.node().await;
    let oracles = &storm.oracles;
    let (mut held, mut tasks, mut staying) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (name, oracle)) in NAMES.into_iter().zip(oracles).enumerate() {
        let receiving = |node: &Node| {
            let (storm, oracle, node) = (storm.clone(), oracle.clone(), node.clone());
            Receiving { storm, oracle, node, name }
        };
        staying.push(tokio::spawn(receiving(&nodes[at]).stay()));
        for node in &nodes[..2] {
            tasks.push(tokio::spawn(receiving(node).come_and_go()));
        }
        for handle in 0..4 {
            // Two handles on each of two nodes.
            let sender = nodes[(handle as usize + at) % 2].sender(name).await.unwrap();
            held.push(sender.clone());
            let (storm, oracle) = (storm.clone(), oracle.clone());
            tasks.push(tokio::spawn(Sending { storm, oracle, sender, handle, next: 0 }.run()));
        }
    }
    let (mut chance, mut cuts, began) = (fastrand::Rng::with_seed(cluster.seed), 0, Instant::now());
    while !storm.is_over() {
        cuts += 1;
        sleep(Duration::from_millis(chance.u64(5..50))).await;
        let pair = chance.usize(..3);
        cluster.cut(pair, (pair + 1) % 3);
    }
    for task in tasks {
        timeout(PATIENCE, task).await.expect("nothing waits for ever").unwrap();
    }
    let lasted = began.elapsed();
    let (all, mut sums): (Vec<&Node>, _) = (nodes.iter().collect(), [0; 2]);
    for ((name, oracle), stayed) in NAMES.into_iter().zip(oracles).zip(staying) {
        let (mut receiver, log) = stayed.await.unwrap();
        let receive = async {
            loop {
                let delivery = receiver.recv_delivery().await.unwrap().unwrap();
                log.lock().push(Entry::of(&delivery));
            }
        };
        tokio::select! {
            () = receive => {}
            () = oracle.settle_all(&all, name) => {}
        }
        all_credit_is_back(&fresh, name, &mut receiver).await;
        sums = [sums[0] + oracle.accepted(), sums[1] + oracle.received()];
    }
    let ([sent, received], dropped) = (sums, storm.dropped.load(Ordering::Relaxed));
    assert!(dropped >= storm.wanted);
    let kind = cluster.kind;
    println!(
        "{kind:?}: {dropped} dropped in {lasted:.1?}, {cuts} cuts; {sent} sent, {received} received"
    );
    drop(held);
    stop(fresh).await;
    for node in nodes {
        stop(node).await;
    }
}
