//! The session machine alone: what one transaction costs between a read and a write.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use benches::exchange::Exchange;
use benches::traffic::Transaction;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// About as many rows of one small number as fit into a read of 64 KiB.
const ROWS: usize = 4000;

fn transactions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    for (name, transaction) in [
        ("simple", Transaction::simple()),
        ("extended", Transaction::extended()),
        ("prepared", Transaction::prepared()),
    ] {
        let mut exchange = Exchange::default();
        exchange.run(&Transaction::preparation());
        group.bench_function(name, |bencher| {
            bencher.iter(|| exchange.run(black_box(&transaction)));
        });
    }
    group.finish();
}

/// A result that streams past.
fn rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    let rows = Transaction::rows(ROWS);
    let mut exchange = Exchange::default();
    exchange.run(&rows);
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("rows", |bencher| {
        bencher.iter(|| exchange.reply(black_box(&rows.reply)));
    });
    group.finish();
}

criterion_group!(benches, transactions, rows);
criterion_main!(benches);
