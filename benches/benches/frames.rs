//! The frame scanner alone: what it costs to know where each message of a chunk begins.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use benches::exchange::frames;
use benches::traffic::Transaction;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// About as many rows of one small number as fit into a read of 64 KiB.
const ROWS: usize = 4000;

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    let chunks = [
        ("reply of simple", Transaction::simple().reply),
        ("request of extended", Transaction::extended().request),
        ("rows", Transaction::rows(ROWS).reply),
    ];
    for (name, chunk) in chunks {
        group.throughput(Throughput::Elements(frames(&chunk).count() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                frames(black_box(&chunk)).map(|frame| usize::from(frame.header.tag)).sum::<usize>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
