//! A value to bytes and back.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use dchan_core::{decode, fuzzing::encode};

use crate::shared::{Msg, SIZES};

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let message = Msg::new(size);
        group.bench_function(format!("encode/{size}"), |b| {
            let mut buffer = Vec::new();
            b.iter(|| {
                buffer.clear();
                buffer = encode(black_box(&message), std::mem::take(&mut buffer));
            });
        });
        let bytes = encode(&message, Vec::new());
        group.bench_function(format!("decode/{size}"), |b| {
            b.iter(|| decode::<Msg>(black_box(&bytes)).expect("what was encoded"));
        });
    }
    group.finish();
}
