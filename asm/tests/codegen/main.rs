//! From IR to instructions, run in the interpreter.

mod author;
mod calls;
mod matrix;
mod random;
mod rules;
mod text;

use asm::codegen::{Allocation, Compiled, Profile, compile_func};
use asm::insn::{AtomicOp, Code, Cond, Size, helper};
use asm::ir::{Func, FuncBuilder, Ty};
use asm::object::MapType;
use asm::vm::{MapSpec, Vm, Xdp};
use author::counters;

/// Every way to compile: passes on and off, registers given out well, badly, not at all.
fn profiles() -> Vec<Profile> {
    let mut all = Vec::new();
    for base in [Profile::linux_6_1(), Profile::newest()] {
        for passes in [true, false] {
            for allocation in [Allocation::Best, Allocation::FewRegisters, Allocation::SpillAll] {
                all.push(Profile { passes, allocation, ..base });
            }
        }
    }
    all
}

fn compiled(func: &Func, profile: &Profile) -> Compiled {
    compile_func(func, &[], profile).unwrap_or_else(|error| panic!("{error}\n{func}"))
}

fn listing(code: &Code) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < code.insns.len() {
        let (op, slots) = asm::insn::Op::decode_lenient(&code.insns[at..]).expect("whole instructions");
        text += &format!("{at}: {op}\n");
        at += slots;
    }
    text
}

/// Counts packets of at least 14 bytes under their first byte modulo four.
fn count() -> Func {
    let mut b = FuncBuilder::prog("xdp", "count");
    let pass = b.block();
    let (data, end) = (b.packet(), b.packet_end());
    b.check(data, 14, end, pass);
    let first = b.load(Ty::I8, data, 0);
    let three = b.iconst(Ty::I8, 3);
    let index = b.and(first, three);
    let index = b.zext(index, Ty::I32);
    let key = b.stack(4, 4);
    b.store(key, 0, index);
    let map = b.map(&counters());
    let value = b.call(helper::MAP_LOOKUP_ELEM, &[map, key]).expect("a lookup gives a pointer");
    let value = b.non_null(value, pass);
    let one = b.iconst(Ty::I64, 1);
    b.atomic(AtomicOp::Add, value, 0, one);
    let drop = b.iconst(Ty::I32, 1);
    b.ret(Some(drop));
    b.switch_to(pass);
    let two = b.iconst(Ty::I32, 2);
    b.ret(Some(two));
    b.finish().expect("a whole function")
}

#[test]
fn a_packet_program_counts_however_it_is_compiled() {
    for profile in profiles() {
        let compiled = compiled(&count(), &profile);
        let spec =
            MapSpec { name: "counters".into(), map_type: MapType::ARRAY, key_size: 4, value_size: 8, max_entries: 4 };
        let mut vm = Vm::link(&[("count", &compiled.code)], vec![spec]).unwrap();
        let mut packet = [0u8; 14];
        packet[0] = 6;
        for (packet, verdict) in [(&packet[..], 1), (&packet[..13], 2), (&packet[..], 1)] {
            let run = vm.run_xdp(packet, Xdp::default()).unwrap_or_else(|e| panic!("{e}\n{}", listing(&compiled.code)));
            assert_eq!(run.verdict, verdict, "{profile:?}\n{}", listing(&compiled.code));
        }
        let (map, memory) = vm.map("counters").unwrap();
        let address = map.lookup(&2u32.to_le_bytes(), 0).unwrap();
        assert_eq!(memory.array(address).map(u64::from_le_bytes), Ok(2), "{profile:?}");
    }
}

/// Where jumps are long, conditional ones go by way of them; where they are not, the author is told the line.
#[test]
fn jumps_reach_over_any_distance_or_name_their_line() {
    let mut b = FuncBuilder::subprog("long", &[("mem", Ty::I64), ("n", Ty::I64)], Some(Ty::I64));
    let (n, stack, one) = (b.param(1), b.stack(8, 8), b.iconst(Ty::I64, 1));
    let (mut ways, mut line) = (Vec::new(), 0);
    for cond in [Cond::Gt, Cond::Set] {
        let (near, out) = (b.block(), b.block());
        let limit = b.iconst(Ty::I64, 8);
        line = line!() + 1;
        b.branch(cond, n, limit, out, near);
        ways.push(out);
        b.switch_to(near);
    }
    for _ in 0..33_000 {
        b.store(stack, 0, one);
    }
    b.ret(Some(one));
    for (result, out) in (2..).zip(ways) {
        b.switch_to(out);
        let result = b.iconst(Ty::I64, result);
        b.ret(Some(result));
    }
    let func = b.finish().unwrap();
    let plain = |base| Profile { passes: false, ..base };
    let error = compile_func(&func, &[], &plain(Profile::linux_5_10())).unwrap_err().to_string();
    assert!(error.contains(&format!("tests/codegen/main.rs:{line}:")) && error.contains("32,767"), "{error}");
    let code = compile_func(&func, &[], &plain(Profile::newest())).unwrap().code;
    let mut vm = Vm::new(&code.insns).unwrap();
    for (n, want) in [(3, 1), (9, 2), (8, 3), (0, 1)] {
        assert_eq!(vm.run_on_bytes(&mut vec![0; n]), Ok(want), "{n}");
    }
}

/// Shift amounts are taken modulo the width; a verifier that sees a larger one in a register knows nothing of the result.
#[test]
fn a_constant_shift_is_by_less_than_the_width() {
    for (profile, by) in profiles().into_iter().flat_map(|p| [(p, 0x1fff_ffff_ffff_fffe), (p, 126), (p, 62)]) {
        let mut b = FuncBuilder::subprog("shift", &[("mem", Ty::I64), ("n", Ty::I64)], Some(Ty::I64));
        let amount = b.iconst(Ty::I64, by);
        let minus = b.iconst(Ty::I64, 3 << 62);
        let shifted = b.shr(minus, amount);
        let n = b.param(1);
        let other = b.shr(n, amount);
        let sum = b.add(shifted, other);
        b.ret(Some(sum));
        let compiled = compiled(&b.finish().unwrap(), &profile);
        assert!(!listing(&compiled.code).contains(">>= r"), "{profile:?}\n{}", listing(&compiled.code));
        assert_eq!(Vm::new(&compiled.code.insns).unwrap().run_on_bytes(&mut [0; 10]), Ok(3));
    }
}

/// A swap in a loop: the classic trap of leaving SSA.
#[test]
fn values_change_places_in_a_loop() {
    for profile in profiles() {
        let mut b = FuncBuilder::subprog("fib", &[("mem", Ty::I64), ("n", Ty::I64)], Some(Ty::I64));
        let (i, x, y) = (b.var(Ty::I64), b.var(Ty::I64), b.var(Ty::I64));
        let (zero, one) = (b.iconst(Ty::I64, 0), b.iconst(Ty::I64, 1));
        b.def(i, zero);
        b.def(x, zero);
        b.def(y, one);
        let (head, body, done) = (b.block(), b.block(), b.block());
        b.jump(head);
        b.switch_to(head);
        let at = b.use_var(i);
        let n = b.param(1);
        b.branch(Cond::Lt, at, n, body, done);
        b.switch_to(body);
        let (a, c) = (b.use_var(x), b.use_var(y));
        let sum = b.add(a, c);
        b.def(x, c);
        b.def(y, sum);
        let at = b.use_var(i);
        let next = b.add(at, one);
        b.def(i, next);
        b.jump(head);
        b.switch_to(done);
        let (a, c) = (b.use_var(x), b.use_var(y));
        let five = b.iconst(Ty::I64, 32);
        let high = b.shl(c, five);
        let both = b.or(high, a);
        b.ret(Some(both));
        let func = b.finish().unwrap();
        let compiled = compiled(&func, &profile);
        let mut vm = Vm::new(&compiled.code.insns).unwrap();
        let got = vm.run_on_bytes(&mut [0; 10]).unwrap();
        assert_eq!(got, 89 << 32 | 55, "{profile:?}\n{func}\n{}", listing(&compiled.code));
    }
}

/// The kernel reads 32 bits of what a program returns: of a wider number, the low half.
#[test]
fn a_wide_number_is_returned_by_its_low_half() {
    const WIDE: u64 = 0xbd6d_6532_6a96_3605;
    let mut b = FuncBuilder::prog("xdp", "wide");
    let (then, other, join) = (b.block(), b.block(), b.block());
    let result = b.block_param(join, Ty::I64);
    let (ctx, zero) = (b.ctx(), b.iconst(Ty::I32, 0));
    let queue = b.load_as(Ty::I32, Size::W, ctx, 16);
    b.branch(Cond::Eq, queue, zero, then, other);
    for (block, number) in [(then, WIDE), (other, 2)] {
        b.switch_to(block);
        let number = b.iconst(Ty::I64, number);
        b.jump_with(join, &[number]);
    }
    b.switch_to(join);
    b.ret(Some(result));
    let func = b.finish().expect("it is well-formed");
    for profile in profiles() {
        let code = compiled(&func, &profile).code;
        let mut vm = Vm::link(&[("wide", &code)], Vec::new()).expect("it is linked");
        let run = vm.run_xdp(&[0; 64], Xdp::default()).expect("it runs");
        assert_eq!(u64::from(run.verdict), WIDE & 0xffff_ffff, "{}", listing(&code));
    }
}
