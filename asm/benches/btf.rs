//! How long types and objects take: reading the running kernel's, finding a name, writing an object.

use std::hint::black_box;

use asm::btf::{Btf, BtfBuilder, Kind};
use asm::insn::{Builder, Code, R0};
use asm::object::{MapDef, MapType, Object, ProgDef};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The running kernel's types; nothing is measured where there are none.
fn vmlinux(c: &mut Criterion) {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
    let Ok(btf) = Btf::parse(&bytes) else { return };
    let mut group = c.benchmark_group("vmlinux");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("index", |b| b.iter(|| Btf::parse(black_box(&bytes))));
    group.bench_function("first find", |b| {
        b.iter(|| Btf::parse(black_box(&bytes)).ok()?.find("task_struct", Kind::STRUCT));
    });
    group.bench_function("find", |b| b.iter(|| btf.find(black_box("task_struct"), Kind::STRUCT)));
    group.bench_function("decode all", |b| b.iter(|| btf.types().filter(Result::is_ok).count()));
    group.bench_function("encode all", |b| {
        b.iter(|| {
            let mut builder = BtfBuilder::new();
            for (_, ty) in btf.types().flatten() {
                builder.push(ty);
            }
            builder.encode()
        });
    });
    group.finish();
}

/// Code of `n` instructions.
fn code(n: usize) -> Code {
    let mut b = Builder::new();
    (1..n).for_each(|_| b.mov(R0, 2));
    b.exit();
    b.finish().unwrap_or_default()
}

/// A small object, and one with a hundred programs.
fn write(c: &mut Criterion) {
    let object = |progs: usize| {
        let map = MapDef::new("hits", MapType::HASH).key_of::<u32>().value_of::<u64>().max_entries(16);
        (0..progs).fold(Object::new("GPL").map(map), |o, n| o.prog(ProgDef::new("xdp", &format!("p{n}"), code(500))))
    };
    let (small, large) = (object(1), object(100));
    c.bench_function("object of 1 program", |b| b.iter(|| small.write()));
    c.bench_function("object of 100 programs", |b| b.iter(|| large.write()));
}

criterion_group!(benches, vmlinux, write);
criterion_main!(benches);
