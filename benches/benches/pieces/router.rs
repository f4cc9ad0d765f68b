//! Which of several receivers takes the next message. They are in this process, so that the choice is
//! most of what there is to do.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use dchan_core::{Receiver, Sender};
use tokio::time::Instant;

use crate::shared::{Msg, Nodes, check, runtime};

/// Messages between two times that the receivers are emptied.
const ROUND: u64 = 1000;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("router");
    group.throughput(Throughput::Elements(1));
    for receivers in [1, 4, 100] {
        group.bench_function(format!("choose of {receivers}"), |b| {
            let runtime = runtime();
            let (nodes, sender, mut all) = runtime.block_on(open(receivers));
            b.iter_custom(|count| choose(&sender, &mut all, count));
            runtime.block_on(async {
                check(&sender).await;
                drop((sender, all));
                nodes.stop().await;
            });
        });
    }
    group.finish();
}

async fn open(receivers: usize) -> (Nodes, Sender<Msg>, Vec<Receiver<Msg>>) {
    let nodes = Nodes::start(1).await;
    let mut all = Vec::new();
    for _ in 0..receivers {
        all.push(nodes.first().receiver("pieces").await.expect("a receiver"));
    }
    let sender = nodes.first().sender("pieces").await.expect("a sender");
    sender.wait_for_receivers(receivers).await.expect("they are on the list");
    (nodes, sender, all)
}

/// Only sending is timed.
fn choose(sender: &Sender<Msg>, receivers: &mut [Receiver<Msg>], count: u64) -> Duration {
    let (mut left, mut took) = (count, Duration::ZERO);
    while left > 0 {
        let now = left.min(ROUND);
        let messages: Vec<Msg> = (0..now).map(|_| Msg::new(0)).collect();
        let began = Instant::now();
        for message in messages {
            sender.try_send(message).map_err(|error| error.without_value()).expect("room");
        }
        took += began.elapsed();
        let received = receivers
            .iter_mut()
            .flat_map(|receiver| std::iter::from_fn(|| receiver.try_recv().ok()));
        assert_eq!(received.count() as u64, now);
        left -= now;
    }
    took
}
