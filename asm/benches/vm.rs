//! The interpreter beside rbpf's, on the same programs: `cargo bench -p asm --bench vm`.
//!
//! rbpf is the interpreter most Rust programs use. Both get the memory's address in `r1`; both results are compared before
//! anything is measured.

use std::hint::black_box;

use asm::insn::{Builder, Code, Cond, R0, R1, R3, R4, R10, Size};
use asm::vm::Vm;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Bytes of memory: a full frame.
const LENGTH: i32 = 1500;

/// A function that builds a program.
type Build = fn(&mut Builder);

fn code(build: Build) -> Code {
    let mut b = Builder::new();
    build(&mut b);
    b.finish().expect("the program is well-formed")
}

/// A thousand rounds of a xorshift generator: arithmetic and one jump.
fn arithmetic(p: &mut Builder) {
    p.imm64(R0, 0x9e37_79b9_7f4a_7c15);
    p.mov(R3, 1000);
    let top = p.label_here("top");
    for (left, by) in [(true, 13), (false, 7), (true, 17)] {
        p.mov(R4, R0);
        if left {
            p.lsh(R4, by)
        } else {
            p.rsh(R4, by)
        }
        p.xor(R0, R4);
    }
    p.sub(R3, 1);
    p.jmp_if(Cond::Ne, R3, 0, top);
    p.exit();
}

/// The internet checksum of the memory: a load, an addition and a jump for each two bytes.
fn checksum(p: &mut Builder) {
    let done = p.label("done");
    p.mov(R0, 0);
    p.mov(R3, R1);
    p.add(R3, LENGTH);
    let top = p.label_here("top");
    p.jmp_if(Cond::Ge, R1, R3, done);
    p.load(Size::H, R4, R1, 0);
    p.add(R0, R4);
    p.add(R1, 2);
    p.jmp(top);
    p.bind(done);
    for _ in 0..2 {
        p.mov(R4, R0);
        p.rsh(R4, 16);
        p.and(R0, 0xffff);
        p.add(R0, R4);
    }
    p.exit();
}

/// Fills and sums 64 stack slots: stores and loads.
fn stack(p: &mut Builder) {
    p.mov(R0, 0);
    p.mov(R3, 64);
    p.mov(R1, R10);
    let fill = p.label_here("fill");
    p.add(R1, -8);
    p.store(Size::Dw, R1, 0, R3);
    p.sub(R3, 1);
    p.jmp_if(Cond::Ne, R3, 0, fill);
    p.mov(R3, 64);
    let sum = p.label_here("sum");
    p.load(Size::Dw, R4, R1, 0);
    p.add(R0, R4);
    p.add(R1, 8);
    p.sub(R3, 1);
    p.jmp_if(Cond::Ne, R3, 0, sum);
    p.exit();
}

fn beside_rbpf(c: &mut Criterion) {
    let programs: [(&str, Build); 3] = [("arithmetic", arithmetic), ("checksum", checksum), ("stack", stack)];
    for (name, build) in programs {
        let insns = code(build).insns;
        let bytes: Vec<u8> = insns.iter().flat_map(|i| i.to_bytes()).collect();
        let mut memory: Vec<u8> = (0..=255).cycle().take(LENGTH as usize).collect();
        let mut ours = Vm::new(&insns).expect("a program");
        let theirs = rbpf::EbpfVmRaw::new(Some(&bytes)).expect("a program");
        let want = ours.run_on_bytes(&mut memory).expect("runs");
        assert_eq!(theirs.execute_program(&mut memory).expect("runs"), want, "{name}: both give the same");

        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(ours.steps()));
        group.bench_function("ours", |b| b.iter(|| ours.run_on_bytes(black_box(&mut memory))));
        group.bench_function("rbpf", |b| b.iter(|| theirs.execute_program(black_box(&mut memory))));
        group.finish();
    }
}

criterion_group!(benches, beside_rbpf);
criterion_main!(benches);
