//! From a sender to a receiver in one process, beside tokio's `mpsc` of the same capacity; and the whole
//! way from node to node over the network in memory.

use criterion::{Criterion, Throughput};
use tokio::sync::mpsc;

use crate::shared::{BATCH, Msg, Nodes, SIZES, batch, check, runtime};

/// As many messages as a receiver has room for unless it is told otherwise.
const CAPACITY: usize = 64 * 1024;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("path");
    group.throughput(Throughput::Elements(BATCH));
    for size in SIZES {
        let message = Msg::new(size);
        for (name, nodes) in [("one process", 1), ("memory", 2)] {
            group.bench_function(format!("{name}/{size}"), |b| {
                let runtime = runtime();
                let (nodes, sender, mut receiver) = runtime.block_on(async {
                    let nodes = Nodes::start(nodes).await;
                    let (sender, receiver) = nodes.channel().await;
                    (nodes, sender, receiver)
                });
                b.iter(|| runtime.block_on(batch(&sender, &mut receiver, &message)));
                runtime.block_on(async {
                    check(&sender).await;
                    drop((sender, receiver));
                    nodes.stop().await;
                });
            });
        }
        group.bench_function(format!("tokio mpsc/{size}"), |b| {
            let runtime = runtime();
            let (sender, mut receiver) = mpsc::channel(CAPACITY);
            b.iter(|| {
                runtime.block_on(async {
                    for _ in 0..BATCH {
                        sender.send(message.clone()).await.expect("sent");
                    }
                    for _ in 0..BATCH {
                        receiver.recv().await.expect("received");
                    }
                });
            });
        });
    }
    group.finish();
}
