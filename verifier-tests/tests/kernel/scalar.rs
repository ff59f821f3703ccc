//! Random arithmetic: the interpreter and the kernel's JIT must agree on every bit.
//!
//! A program loads ten unknown numbers from a map, computes with all ten registers, jumps forward here and there, and
//! folds the registers into one number, which it stores. It runs on several inputs in the interpreter and in the kernel.
//! Programs of a batch stand behind each other in one, each with its part of the map's value. Read next: `campaign.rs`.

use std::os::fd::{AsFd, AsRawFd};

use asm::insn::{
    AluOp, Bits, Builder, Code, Cond, Endian, Insn, Op, Operand, PSEUDO_MAP_IDX_VALUE, PSEUDO_MAP_VALUE, R0, R1, R2,
    Reg, RelocKind, Size, Width,
};
use asm::object::{GlobalDef, MapType, Object, ProgDef, Ty};
use asm::vm::{MapSpec, Vm};
use loader::map::{self, Map};
use loader::prog;
use loader::sys::uapi::UpdateFlags;
use proptest::prelude::*;

use super::campaign::{self, Twin};

/// Registers that compute: all but the frame pointer.
const REGS: u8 = 10;
/// Bytes of a program's part of the map's value: its inputs, then its result.
const PART: usize = 8 * (REGS as usize + 1);
/// Programs that are loaded as one.
const BATCH: u32 = 64;
/// Runs of each program.
const RUNS: usize = 4;

/// A program, and what its registers hold at the start of each run.
#[derive(Debug, Clone)]
struct Case {
    items: Vec<Item>,
    inputs: [[u64; REGS as usize]; RUNS],
}

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

/// The programs behind each other, over a map named `io`.
fn code(cases: &[Case]) -> Code {
    let mut b = Builder::new();
    for (n, case) in cases.iter().enumerate() {
        let part = i32::try_from(n * PART).expect("a batch is small");
        program(&mut b, &case.items, part);
    }
    b.mov(R0, 0);
    b.exit();
    b.finish().expect("the program is well-formed")
}

/// One program, whose inputs and result lie `part` bytes into the map's value.
fn program(b: &mut Builder, items: &[Item], part: i32) {
    b.map_value(R0, "io", part);
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
    b.map_value(R1, "io", part + i32::from(REGS) * 8);
    b.store(Size::Dw, R1, 0, R0);
}

/// The code with its map filled in; the second slot of each address holds the offset already.
fn linked(code: &Code, src: u8, map: i32) -> Vec<Insn> {
    let mut insns = code.insns.clone();
    for reloc in &code.relocs {
        let (at, RelocKind::MapValue { off, .. }) = (reloc.at.index(), &reloc.kind) else { continue };
        insns[at].set_src(src);
        insns[at].set_imm(map);
        insns[at + 1].set_imm(*off);
    }
    insns
}

/// What `io` holds before a run: the inputs of each program, and no result yet.
fn value(cases: &[Case], run: usize) -> Vec<u8> {
    let part = |case: &Case| [&case.inputs[run][..], &[0]].concat();
    let mut value: Vec<u8> = cases.iter().flat_map(part).flat_map(u64::to_le_bytes).collect();
    value.resize(BATCH as usize * PART, 0);
    value
}

/// Judges arithmetic; `modern` is that of Linux 6.6.
struct Arithmetic {
    modern: bool,
    io: Map,
}

impl Arithmetic {
    fn new(modern: bool) -> Self {
        let MapSpec { map_type, key_size, value_size, max_entries, name } = io();
        let options = map::Options { map_type, key_size, value_size, max_entries, ..Default::default() };
        Self { modern, io: Map::create(&name, &options).expect("an array map") }
    }

    fn load(&self, code: &Code) -> Result<prog::Prog, prog::Error> {
        super::load_xdp("scalar", &linked(code, PSEUDO_MAP_VALUE, self.io.as_fd().as_raw_fd()))
    }

    /// Does this kernel know the arithmetic of Linux 6.6? Asked by loading a byte swap, not by the version.
    fn is_known(&self) -> bool {
        let swap = Item::Op(Op::Endian { order: Endian::Swap, bits: Bits::B16, dst: R2 });
        self.load(&code(&[Case { items: vec![swap], inputs: [[0; 10]; RUNS] }])).is_ok()
    }
}

fn io() -> MapSpec {
    let value_size = BATCH * u32::try_from(PART).expect("small");
    MapSpec { name: "io".into(), map_type: MapType::ARRAY, key_size: 4, value_size, max_entries: 1 }
}

impl Twin for Arithmetic {
    type Case = Case;
    const BATCH: u32 = BATCH;

    fn cases(&self) -> BoxedStrategy<Case> {
        let inputs = prop::collection::vec(input(), RUNS).prop_map(|runs| runs.try_into().expect("so many runs"));
        (items(self.modern), inputs).prop_map(|(items, inputs)| Case { items, inputs }).boxed()
    }

    fn judge(&self, cases: &[Case]) -> Result<(), String> {
        let code = code(cases);
        let prog = self.load(&code).map_err(|e| format!("the kernel refuses it: {e}"))?;
        let mut vm = Vm::new(&linked(&code, PSEUDO_MAP_IDX_VALUE, 0)).map_err(|e| e.to_string())?;
        vm.add_map(io()).map_err(|e| e.to_string())?;
        for run in 0..RUNS {
            let before = value(cases, run);
            self.io.update(&[0; 4], &before, UpdateFlags::ANY).map_err(|e| e.to_string())?;
            prog.test_run(&[0; 64], 1).map_err(|e| e.to_string())?;
            let theirs = self.io.lookup(&[0; 4]).map_err(|e| e.to_string())?.ok_or("no value")?;
            let ours = interpret(&mut vm, &before)?;
            if theirs != ours {
                let result =
                    |value: &[u8]| value[PART - 8..PART].iter().rev().map(|b| format!("{b:02x}")).collect::<String>();
                return Err(format!("run {run}: kernel 0x{}, interpreter 0x{}", result(&theirs), result(&ours)));
            }
        }
        Ok(())
    }

    fn text(&self, case: &Case) -> String {
        let inputs = &value(std::slice::from_ref(case), 0)[..PART];
        let object = Object::new("GPL")
            .global(GlobalDef::new(".data.io", "io", Ty::bytes(88), inputs).align(8))
            .prog(ProgDef::new("xdp", "scalar", code(std::slice::from_ref(case))));
        let text = campaign::listing(&object);
        format!("{text}# inputs of each run: {:x?}", case.inputs)
    }
}

fn interpret(vm: &mut Vm, before: &[u8]) -> Result<Vec<u8>, String> {
    let (map, memory) = vm.map("io").ok_or("no map")?;
    map.update(memory, &[0; 4], before, 0, None).map_err(|errno| format!("errno {errno}"))?;
    vm.run_on_bytes(&mut []).map_err(|fault| fault.to_string())?;
    let (map, memory) = vm.map("io").ok_or("no map")?;
    let address = map.lookup(&[0; 4], 0).ok_or("no element")?;
    Ok(memory.bytes(address, before.len()).map_err(|fault| fault.to_string())?.to_vec())
}

fn input() -> impl Strategy<Value = [u64; REGS as usize]> {
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

#[test]
fn interpreter_and_kernel_agree_on_random_arithmetic() {
    super::need_root();
    campaign::agree("random_arithmetic", 20_480, || Arithmetic::new(false));
}

#[test]
fn interpreter_and_kernel_agree_on_the_arithmetic_of_linux_6_6() {
    super::need_root();
    if Arithmetic::new(true).is_known() {
        return campaign::agree("arithmetic_of_linux_6_6", 20_480, || Arithmetic::new(true));
    }
    let version = super::kernel_version();
    assert!(version < (6, 6), "{version:?} refuses bswap, which Linux has had since 6.6");
    println!("skip: instructions of ISA v4 needs Linux 6.6");
}
