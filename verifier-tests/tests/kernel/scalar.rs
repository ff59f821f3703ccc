//! Random arithmetic: the interpreter and the kernel's JIT must agree on every bit.
//!
//! A program loads ten unknown numbers from a map, computes with all ten registers, jumps forward here and there, and
//! folds the registers into one number, which it stores. It runs on several inputs in the interpreter and in the kernel.

use asm::insn::{
    AluOp, Bits, Builder, Cond, Endian, Insn, Op, Operand, PSEUDO_MAP_IDX_VALUE, PSEUDO_MAP_VALUE, R0, R1, R2, Reg,
    Size, Width,
};
use asm::object::MapType;
use asm::vm::{MapSpec, Vm};
use loader::map::{self, Map};
use loader::prog::{self, Prog};
use loader::sys::uapi::UpdateFlags;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::os::fd::{AsFd, AsRawFd};

/// Registers that compute: all but the frame pointer.
const REGS: u8 = 10;
/// Inputs, then the result.
const VALUE_SIZE: u32 = 8 * (REGS as u32 + 1);

/// One random operation; a jump counts operations, not slots.
#[derive(Debug, Clone, Copy)]
enum Item {
    Op(Op),
    Jump { cond: Cond, width: Width, dst: Reg, src: Operand, skip: usize },
}

fn reg() -> impl Strategy<Value = Reg> {
    (0..REGS).prop_map(|n| Reg::new(n).expect("below eleven"))
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![Just(Width::W32), Just(Width::W64)]
}

fn constant() -> impl Strategy<Value = i32> {
    prop_oneof![any::<i32>(), -4..=4, Just(i32::MIN), Just(i32::MAX)]
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![reg().prop_map(Operand::Reg), constant().prop_map(Operand::Imm)]
}

/// Arithmetic that every kernel since 5.10 accepts; `modern` adds what came with Linux 6.6.
fn alu(modern: bool) -> impl Strategy<Value = Op> {
    use AluOp::*;
    let mut ops = vec![Add, Sub, Mul, Div, Or, And, Lsh, Rsh, Mod, Xor, Mov, Arsh];
    if modern {
        ops.extend([Sdiv, Smod]);
    }
    (prop::sample::select(ops), width(), reg(), operand()).prop_map(|(op, width, dst, src)| {
        // The verifier refuses a constant shift over the width and a constant zero divisor.
        let src = match (op, src) {
            (Lsh | Rsh | Arsh, Operand::Imm(by)) => Operand::Imm(by & if width == Width::W64 { 63 } else { 31 }),
            (Div | Mod | Sdiv | Smod, Operand::Imm(0)) => Operand::Imm(1),
            (_, src) => src,
        };
        Op::Alu { op, width, dst, src }
    })
}

fn unary(modern: bool) -> BoxedStrategy<Op> {
    let bits = prop::sample::select(vec![Bits::B16, Bits::B32, Bits::B64]);
    let orders = if modern { vec![Endian::Le, Endian::Be, Endian::Swap] } else { vec![Endian::Le, Endian::Be] };
    let endian = (prop::sample::select(orders), bits, reg());
    let endian = endian.prop_map(|(order, bits, dst)| Op::Endian { order, bits, dst });
    let neg = (width(), reg()).prop_map(|(width, dst)| Op::Neg { width, dst });
    if !modern {
        return prop_oneof![endian, neg].boxed();
    }
    let movsx = (width(), prop::sample::select(vec![Bits::B8, Bits::B16, Bits::B32]), reg(), reg());
    let movsx = movsx.prop_map(|(width, bits, dst, src)| {
        // There is no 32-bit move that extends 32 bits.
        let bits = if width == Width::W32 && bits == Bits::B32 { Bits::B16 } else { bits };
        Op::MovSx { width, bits, dst, src }
    });
    prop_oneof![endian, neg, movsx].boxed()
}

fn jump() -> impl Strategy<Value = Item> {
    use Cond::*;
    let cond = prop::sample::select(vec![Eq, Gt, Ge, Set, Ne, Sgt, Sge, Lt, Le, Slt, Sle]);
    (cond, width(), reg(), operand(), 1..6_usize).prop_map(|(cond, width, dst, src, skip)| Item::Jump {
        cond,
        width,
        dst,
        src,
        skip,
    })
}

fn items(modern: bool) -> impl Strategy<Value = Vec<Item>> {
    let item = prop_oneof![8 => alu(modern).prop_map(Item::Op), 2 => unary(modern).prop_map(Item::Op), 2 => jump()];
    prop::collection::vec(item, 1..60)
}

/// The whole program; the map is named `io`.
fn program(items: &[Item]) -> Vec<Insn> {
    let mut b = Builder::new();
    b.map_value(R0, "io", 0);
    for n in (1..REGS).chain([0]) {
        b.load(Size::Dw, Reg::new(n).expect("below eleven"), R0, i16::from(n) * 8);
    }
    let labels: Vec<_> = (0..=items.len()).map(|n| b.label(&format!("op{n}"))).collect();
    for (n, item) in items.iter().enumerate() {
        b.bind(labels[n]);
        match *item {
            Item::Op(op) => b.op(op),
            Item::Jump { cond, width, dst, src, skip } => {
                let to = labels[(n + 1 + skip).min(items.len())];
                match width {
                    Width::W64 => b.jmp_if(cond, dst, src, to),
                    Width::W32 => b.jmp32_if(cond, dst, src, to),
                }
            }
        }
    }
    b.bind(labels[items.len()]);
    for n in 1..REGS {
        b.mul(R0, 31);
        b.add(R0, Reg::new(n).expect("below eleven"));
    }
    b.map_value(R1, "io", i32::from(REGS) * 8);
    b.store(Size::Dw, R1, 0, R0);
    b.mov(R0, 0);
    b.exit();
    b.finish().expect("the program is well-formed").insns
}

/// The program with its two map addresses filled in.
fn with_map(insns: &[Insn], src: u8, map: i32) -> Vec<Insn> {
    let mut insns = insns.to_vec();
    let mut address = 0;
    for i in 0..insns.len() {
        if insns[i].is_ld_imm64() {
            insns[i].set_src(src);
            insns[i].set_imm(map);
            insns[i + 1].set_imm(address);
            address = i32::from(REGS) * 8;
        }
    }
    insns
}

struct Kernel {
    io: Map,
}

impl Kernel {
    fn new() -> Self {
        let options = map::Options {
            map_type: MapType::ARRAY,
            key_size: 4,
            value_size: VALUE_SIZE,
            max_entries: 1,
            ..Default::default()
        };
        Self { io: Map::create("io", &options).expect("an array map") }
    }

    fn load(&self, insns: &[Insn]) -> Result<Prog, prog::Error> {
        super::load_xdp("scalar", &with_map(insns, PSEUDO_MAP_VALUE, self.io.as_fd().as_raw_fd()))
    }

    fn run(&self, prog: &Prog, input: &[u64; 10]) -> u64 {
        self.io.update(&[0; 4], &value(input), UpdateFlags::ANY).expect("an update");
        prog.test_run(&[0; 64], 1).expect("a test run");
        let value = self.io.lookup(&[0; 4]).expect("a lookup").expect("the only element");
        u64::from_le_bytes(value[80..].try_into().expect("eight bytes"))
    }
}

fn interpreter(insns: &[Insn]) -> Vm {
    let mut vm = Vm::new(&with_map(insns, PSEUDO_MAP_IDX_VALUE, 0)).expect("a program");
    let spec =
        MapSpec { name: "io".into(), map_type: MapType::ARRAY, key_size: 4, value_size: VALUE_SIZE, max_entries: 1 };
    vm.add_map(spec).expect("an array map");
    vm
}

fn interpret(vm: &mut Vm, input: &[u64; 10]) -> u64 {
    let (map, memory) = vm.map("io").expect("the map");
    map.update(memory, &[0; 4], &value(input), 0, None).expect("an update");
    vm.run_on_bytes(&mut []).expect("arithmetic does not fault");
    let (map, memory) = vm.map("io").expect("the map");
    let address = map.lookup(&[0; 4], 0).expect("the only element");
    u64::from_le_bytes(memory.array(address + 80).expect("eight bytes"))
}

fn value(input: &[u64; 10]) -> Vec<u8> {
    input.iter().chain([&0]).flat_map(|n| n.to_le_bytes()).collect()
}

fn input() -> impl Strategy<Value = [u64; 10]> {
    let number = prop_oneof![
        any::<u64>(),
        any::<u32>().prop_map(u64::from),
        0..8_u64,
        Just(u64::MAX),
        Just(1 << 63),
        Just(1 << 31),
        Just(u64::from(u32::MAX)),
    ];
    prop::array::uniform10(number)
}

fn agree(modern: bool, cases: u32) {
    let kernel = Kernel::new();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let strategy = (items(modern), prop::collection::vec(input(), 4));
    let result = runner.run(&strategy, |(items, inputs)| {
        let insns = program(&items);
        let prog = kernel.load(&insns).map_err(|e| TestCaseError::fail(format!("the kernel refuses it: {e}")))?;
        let mut vm = interpreter(&insns);
        for input in inputs {
            let (theirs, ours) = (kernel.run(&prog, &input), interpret(&mut vm, &input));
            prop_assert_eq!(theirs, ours, "kernel, interpreter; input {:x?}", input);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Does this kernel know the arithmetic of Linux 6.6? Asked by loading a byte swap, not by the version.
fn has_modern_arithmetic(kernel: &Kernel) -> bool {
    kernel.load(&program(&[Item::Op(Op::Endian { order: Endian::Swap, bits: Bits::B16, dst: R2 })])).is_ok()
}

#[test]
fn interpreter_and_kernel_agree_on_random_arithmetic() {
    super::need_root();
    agree(false, super::cases(2_000));
}

#[test]
fn interpreter_and_kernel_agree_on_the_arithmetic_of_linux_6_6() {
    super::need_root();
    if has_modern_arithmetic(&Kernel::new()) {
        agree(true, super::cases(2_000));
        return;
    }
    let version = super::kernel_version();
    assert!(version < (6, 6), "{version:?} refuses bswap, which Linux has had since 6.6");
    println!("skip: instructions of ISA v4 needs Linux 6.6");
}
