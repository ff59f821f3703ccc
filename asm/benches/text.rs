//! Assembler and disassembler on a file of 10⁵ instructions, beside llvm-mc-22 and llvm-objdump-22 on the same file.
//!
//! LLVM's tools are run as processes, so their figures contain the start of a process (a few milliseconds).

#[path = "../tests/samples/mod.rs"]
mod samples;

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use asm::insn::{Code, Insn, Op};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const COUNT: usize = 100_000;

/// Operations that both assemblers write the same, jumps kept short.
fn operations() -> Vec<Op> {
    let near = |op: &Op| match *op {
        Op::Jump { off } | Op::JumpIf { off, .. } | Op::MayGoto { off } => (0..100).contains(&off),
        Op::JumpLong { off } => (0..100).contains(&off),
        Op::Call(_) => false,
        op => samples::llvm_text(op).is_some_and(|text| text == op.to_string()),
    };
    let some: Vec<Op> = samples::samples().into_iter().filter(near).collect();
    some.iter().copied().cycle().take(COUNT).collect()
}

fn llvm(args: &[&str], input: &Path) {
    let status = Command::new(args[0]).args(&args[1..]).arg(input).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{args:?}");
}

fn text(c: &mut Criterion) {
    let ops = operations();
    let insns: Vec<Insn> = ops.iter().flat_map(|op| op.encode().to_vec()).collect();
    let source: String = ops.iter().map(|op| format!("    {op}\n")).collect();
    let code = Code { insns, ..Code::default() };
    let mut group = c.benchmark_group("text");
    group.throughput(Throughput::Elements(COUNT as u64)).sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("assemble", |b| {
        b.iter(|| asm::text::assemble(black_box(&source)).map(|code| code.insns.len()))
    });
    group.bench_function("print", |b| b.iter(|| asm::text::print(black_box(&code)).len()));
    if samples::has_llvm() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (input, object) = (dir.path().join("in.s"), dir.path().join("out.o"));
        std::fs::write(&input, &source).expect("a file");
        let out = object.to_str().expect("a plain path");
        let mc = ["llvm-mc-22", "-triple=bpfel", "-mcpu=v4", "--filetype=obj", "-o", out];
        group.bench_function("llvm-mc-22", |b| b.iter(|| llvm(&mc, &input)));
        let dump = ["llvm-objdump-22", "-d", "--no-show-raw-insn", "--mcpu=v4"];
        group.bench_function("llvm-objdump-22", |b| b.iter(|| llvm(&dump, &object)));
    }
    group.finish();
}

criterion_group!(benches, text);
criterion_main!(benches);
