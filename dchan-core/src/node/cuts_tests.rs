//! Connections come and go while receivers are in the midst of what they brought.

use std::time::Duration;

use fastrand::Rng;
use futures::FutureExt;
use tokio::time::{sleep, timeout};

use super::{tests::node as start, told_tests::settled, *};
use crate::{MemoryNetwork, Receiver, Sender, StaticMembership};

const NAMES: [&str; 3] = ["a:1", "b:1", "c:1"];
const CHANNELS: [&str; 2] = ["both", "one"];
const SEEDS: u64 = 300;
const STEPS: usize = 60;
/// More than the next connection and a heartbeat take.
const SOON: Duration = Duration::from_secs(10);

/// Two nodes send to a third one, through a channel that both of them share, and one that they don't.
struct Storm {
    network: MemoryNetwork,
    nodes: Vec<Node>,
    /// With the channel that each of them leads to.
    senders: Vec<(usize, Sender<u32>)>,
    receivers: Vec<Receiver<u32>>,
    /// How many messages of each channel were accepted and not taken.
    open: [u64; 2],
}

impl Storm {
    async fn start(seed: u64) -> Self {
        let (network, list) = (MemoryNetwork::new(seed), StaticMembership::new());
        let mut nodes = Vec::new();
        for name in NAMES {
            nodes.push(start(&network, &list, name).await);
        }
        let (mut receivers, mut senders) = (Vec::new(), Vec::new());
        for channel in CHANNELS {
            receivers.push(nodes[0].receiver(channel).await.unwrap());
        }
        for (channel, from) in [(0, 1), (0, 2), (1, 1)] {
            let sender = nodes[from].sender(CHANNELS[channel]).await.unwrap();
            sender.wait_for_receivers(1).await.unwrap();
            senders.push((channel, sender));
        }
        Self { network, nodes, senders, receivers, open: [0; 2] }
    }

    async fn step(&mut self, rng: &mut Rng) {
        match rng.u8(..10) {
            0..=2 => {
                let (channel, sender) = &self.senders[rng.usize(..self.senders.len())];
                for number in 0..rng.u32(1..6) {
                    self.open[*channel] += u64::from(sender.try_send(number).is_ok());
                }
            }
            3..=5 => {
                let channel = rng.usize(..self.receivers.len());
                for _ in 0..rng.u8(1..6) {
                    let taken = self.receivers[channel].recv().now_or_never();
                    self.open[channel] -= u64::from(taken.is_some());
                }
            }
            6 => self.network.cut(self.nodes[0].addr(), self.nodes[rng.usize(1..3)].addr()),
            7 => self.network.cut_all(),
            8 => sleep(Duration::from_millis(rng.u64(..300))).await,
            _ => {}
        }
        sleep(Duration::from_micros(rng.u64(..3000))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_is_told_in_the_end() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let (mut storm, mut rng) = (Storm::start(seed).await, Rng::with_seed(seed));
        for _ in 0..STEPS {
            storm.step(&mut rng).await;
        }
        // Nobody comes back for more.
        for (receiver, open) in storm.receivers.iter_mut().zip(storm.open) {
            for _ in 0..open {
                timeout(SOON, receiver.recv()).await.unwrap().unwrap().unwrap();
            }
        }
        for (_, sender) in &storm.senders {
            timeout(SOON, settled(sender)).await.unwrap();
            let ledger = sender.ledger();
            assert!(ledger.balances() && ledger.taken == ledger.accepted, "{ledger}");
        }
        drop((storm.senders, storm.receivers));
        for node in storm.nodes {
            node.shutdown().await.unwrap();
        }
    }
}
