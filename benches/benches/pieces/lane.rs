//! Both ends of a lane, without a network: encoded into a frame, numbered, kept, checked, decoded, settled.

use std::hint::black_box;

use criterion::{Criterion, Throughput};

use crate::shared::{BATCH, Msg, SIZES, pair};

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("lane");
    group.throughput(Throughput::Elements(BATCH));
    for size in SIZES {
        let message = Msg::new(size);
        group.bench_function(format!("send/{size}"), |b| {
            let mut pair = pair();
            b.iter(|| {
                for _ in 0..BATCH {
                    assert!(pair.send(black_box(&message)), "there is credit");
                }
                assert_eq!(pair.hand_to_nobody(), BATCH);
            });
            assert!(pair.is_settled());
        });
        group.bench_function(format!("send and receive/{size}"), |b| {
            let mut pair = pair();
            b.iter(|| {
                for _ in 0..BATCH {
                    assert!(pair.send(black_box(&message)), "there is credit");
                }
                assert_eq!(pair.hand(), BATCH);
                let mut left = BATCH;
                while let Some(received) = pair.recv::<Msg>() {
                    black_box(received);
                    left -= 1;
                }
                assert_eq!(left, 0);
            });
            assert!(pair.is_settled());
        });
    }
    group.finish();
}
