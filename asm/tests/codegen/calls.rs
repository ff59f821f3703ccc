//! Functions of the object: called, called back, with arguments that change places.

use asm::insn::{AluOp, Cond, helper};
use asm::ir::{Func, FuncBuilder, Region, Ty};
use asm::vm::Vm;

use super::{compiled, listing, profiles};

/// Five numbers as one: each counts in its place.
fn weigh() -> Func {
    let params = [("a", Ty::I64), ("b", Ty::I64), ("c", Ty::I64), ("d", Ty::I64), ("e", Ty::I64)];
    let mut b = FuncBuilder::subprog("weigh", &params, Some(Ty::I64));
    let ten = b.iconst(Ty::I64, 10);
    let mut sum = b.iconst(Ty::I64, 0);
    for place in 0..5 {
        let more = b.mul(sum, ten);
        sum = b.add(more, b.param(place));
    }
    b.ret(Some(sum));
    b.finish().expect("a whole function")
}

/// Runs functions on ten bytes, however they are compiled.
fn run(funcs: &[Func], want: u64) {
    for profile in profiles() {
        let done: Vec<_> = funcs.iter().map(|func| compiled(func, &profile)).collect();
        let parts: Vec<_> = done.iter().map(|one| (&*one.name, &one.code)).collect();
        let mut vm = Vm::link(&parts, Vec::new()).expect("all functions are there");
        let got = vm.run_on_bytes(&mut [0; 10]);
        assert_eq!(got, Ok(want), "{profile:?}\n{}\n{}", funcs[0], listing(&done[0].code));
    }
}

/// Every rotation of five values through the argument registers: cycles that one more register must break.
#[test]
fn arguments_change_places() {
    for shift in 0..5usize {
        let mut b = FuncBuilder::subprog("main", &[("mem", Ty::I64), ("len", Ty::I64)], Some(Ty::I64));
        let parts: Vec<_> = (1..=5)
            .map(|k| {
                let k = b.iconst(Ty::I64, k);
                let ten = b.iconst(Ty::I64, 10);
                // Not known when it is compiled: the length is ten.
                let known = b.sub(b.param(1), ten);
                b.add(known, k)
            })
            .collect();
        let first = b.call_fn("weigh", &parts, Some(Ty::I64)).expect("a number");
        let mut turned = parts.clone();
        turned.rotate_left(shift);
        let second = b.call_fn("weigh", &turned, Some(Ty::I64)).expect("a number");
        let both = b.sub(second, first);
        b.ret(Some(both));
        let digits = |parts: &[u64]| parts.iter().fold(0, |sum, part| sum * 10 + part);
        let mut order = [1, 2, 3, 4, 5];
        order.rotate_left(shift);
        run(&[b.finish().expect("a whole function"), weigh()], digits(&order).wrapping_sub(12345));
    }
}

/// `bpf_loop` with a callback that adds its index to a number on the caller's stack.
#[test]
fn a_function_is_called_back() {
    let mut b = FuncBuilder::subprog("main", &[("mem", Ty::I64), ("len", Ty::I64)], Some(Ty::I64));
    let sum = b.stack(8, 8);
    let zero = b.iconst(Ty::I64, 0);
    b.store(sum, 0, zero);
    let (times, step) = (b.param(1), b.func_addr("step"));
    b.call(helper::LOOP, &[times, step, sum, zero]);
    let total = b.load(Ty::I64, sum, 0);
    b.ret(Some(total));
    let main = b.finish().expect("a whole function");

    let params = [("index", Ty::I64), ("sum", Ty::Ptr(Region::Mem(8)))];
    let mut b = FuncBuilder::subprog("step", &params, Some(Ty::I64));
    let old = b.load(Ty::I64, b.param(1), 0);
    let new = b.alu(AluOp::Add, old, b.param(0));
    b.store(b.param(1), 0, new);
    let (go_on, stop, seven) = (b.block(), b.block(), b.iconst(Ty::I64, 7));
    b.branch(Cond::Lt, b.param(0), seven, go_on, stop);
    for (block, result) in [(go_on, 0), (stop, 1)] {
        b.switch_to(block);
        let result = b.iconst(Ty::I64, result);
        b.ret(Some(result));
    }
    run(&[main, b.finish().expect("a whole function")], 28);
}
