//! The example programs in the interpreter, packet by packet; no kernel, no root.
//!
//! Input: `cases/`. Read next: `kernel/examples.rs`, the same cases in the running kernel.

mod cases;

use asm::codegen::{Profile, optimize};
use asm::dsl::Module;
use asm::ir::{self, Func, interp::Interp};
use asm::object::MapType;
use asm::vm::{PacketRun, Vm, Xdp};
use cases::Case;

/// A program ready to run, with its maps, and its global variables as maps of one value.
enum Machine {
    Insns(Vm),
    Ir(Interp),
}

impl Machine {
    /// As instructions.
    fn insns(module: &Module, profile: &Profile) -> Self {
        let ir = module.ir().expect("it is recorded");
        let compiled = module.compile(profile).expect("it is compiled");
        let functions: Vec<_> = compiled.iter().map(|one| (&*one.name, &one.code)).collect();
        Self::Insns(Vm::link(&functions, ir.map_specs()).expect("it is linked")).wound()
    }

    /// As it is.
    fn ir(module: &ir::Module) -> Self {
        Self::Ir(Interp::new(module).expect("it has functions and maps")).wound()
    }

    /// With its clock set.
    fn wound(mut self) -> Self {
        self.vm().host().time_ns = 1_000_000_000;
        self.vm().host().tick = 1;
        self
    }

    fn vm(&mut self) -> &mut Vm {
        match self {
            Self::Insns(vm) => vm,
            Self::Ir(interp) => interp.vm(),
        }
    }

    fn run_xdp(&mut self, packet: &[u8]) -> Result<PacketRun, String> {
        match self {
            Self::Insns(vm) => vm.run_xdp(packet, Xdp::default()).map_err(|fault| fault.to_string()),
            Self::Ir(interp) => interp.run_xdp(packet, Xdp::default()).map_err(|fault| fault.to_string()),
        }
    }
}

/// A machine for programs that are no XDP.
fn machine(module: &Module, profile: &Profile) -> Vm {
    match Machine::insns(module, profile) {
        Machine::Insns(vm) => vm,
        Machine::Ir(_) => unreachable!("these are instructions"),
    }
}

/// Does something with every module that comes up on the road from the recorded one to the one that instructions are
/// made of: one function after the other, one pass after the other.
fn each_stage(module: &Module, profile: &Profile, mut see: impl FnMut(&str, &ir::Module)) {
    let mut ir = module.ir().expect("it is recorded");
    see("as recorded", &ir);
    for index in 0..ir.funcs.len() {
        let func = ir.funcs[index].clone();
        optimize(&func, profile, &mut |pass, now| {
            ir.funcs[index] = now.clone();
            see(pass, &ir);
        })
        .expect("no pass breaks a rule");
    }
}

fn put(vm: &mut Vm, map: &str, key: &[u8], value: &[u8]) {
    let (map, memory) = vm.map(map).expect("the program has it");
    map.update(memory, key, value, 0, None).expect("it fits");
}

/// What is under the key: of per-CPU maps, on the only CPU.
fn get(vm: &mut Vm, map: &str, key: &[u8]) -> Option<Vec<u8>> {
    let (map, memory) = vm.map(map).expect("the program has it");
    if map.spec().map_type == MapType::RINGBUF {
        return Some(map.drain().iter().flat_map(|record| record[8..].to_vec()).collect());
    }
    let size = map.spec().value_size as usize;
    let at = map.lookup(key, 0)?;
    Some(memory.bytes(at, size).expect("a value of that size").to_vec())
}

fn run(case: &Case, stage: &str, mut machine: Machine) {
    let what = format!("{}, {}, {stage}", case.program, case.name);
    for (name, value) in &case.variables {
        put(machine.vm(), name, &[0; 4], value);
    }
    for (map, key, value) in &case.before {
        put(machine.vm(), map, key, value);
    }
    let mut last = None;
    for _ in 0..case.times {
        last = Some(machine.run_xdp(&case.packet).unwrap_or_else(|fault| panic!("{what}: {fault}")));
    }
    let last = last.expect("it ran");
    assert_eq!(last.verdict, case.verdict, "{what}: verdict");
    if case.verdict != cases::DROP {
        assert_eq!(last.packet, *case.out.as_ref().unwrap_or(&case.packet), "{what}: packet");
    }
    for (map, key, value) in &case.after {
        assert_eq!(get(machine.vm(), map, key).as_ref(), Some(value), "{what}: {map}");
    }
}

fn module_of(case: &Case) -> Module {
    progs::examples::by_name(case.program).expect("it is an example")
}

#[test]
fn every_case_as_the_oldest_kernel_would_run_it() {
    for case in cases::table::cases() {
        run(&case, "for 5.10", Machine::insns(&module_of(&case), &Profile::linux_5_10()));
    }
}

#[test]
fn every_case_as_the_newest_kernel_would_run_it() {
    for case in cases::table::cases() {
        run(&case, "for the newest", Machine::insns(&module_of(&case), &Profile::newest()));
    }
}

#[test]
fn every_case_in_the_intermediate_representation_after_every_pass() {
    for case in cases::table::cases() {
        for profile in [Profile::linux_5_10(), Profile::newest()] {
            each_stage(&module_of(&case), &profile, |stage, module| run(&case, stage, Machine::ir(module)));
        }
    }
}

/// Positions, and values that nothing defines any more, are not in the text.
fn bare(mut func: Func) -> Func {
    func.locs.clear();
    func.values.clear();
    for block in &mut func.blocks {
        block.loc = ir::LocId(0);
        block.insts.iter_mut().for_each(|inst| inst.loc = ir::LocId(0));
    }
    func
}

#[test]
fn every_example_is_printed_and_read_back_after_every_pass() {
    let mut stages = 0;
    for name in progs::examples::NAMES {
        let module = progs::examples::by_name(name).expect("it is in the list");
        each_stage(&module, &Profile::linux_5_10(), |stage, module| {
            for func in &module.funcs {
                let text = func.to_string();
                let read = Func::parse(&text).unwrap_or_else(|error| panic!("{name}, {stage}: {error}\n{text}"));
                ir::verify(&read).unwrap_or_else(|error| panic!("{name}, {stage}: {error}\n{text}"));
                assert_eq!(bare(read), bare(func.clone()), "{name}, {stage}\n{text}");
            }
            stages += 1;
        });
    }
    assert!(stages > 60, "only {stages}");
}

/// Every function of every example has a line from its first instruction on, each with its source text; and the bytes of
/// the object are the same each time.
#[test]
fn lines_are_complete_and_bytes_repeat() {
    let mut functions = 0;
    for (name, profile) in
        progs::examples::NAMES.iter().flat_map(|name| [(name, Profile::linux_5_10()), (name, Profile::newest())])
    {
        let module = progs::examples::by_name(name).expect("it is in the list");
        for one in module.compile(&profile).expect("it is compiled") {
            let (name, lines) = (&one.name, &one.code.lines);
            assert_eq!(lines.first().map(|line| line.at.index()), Some(0), "{name}: a line at the first instruction");
            assert!(lines.windows(2).all(|pair| pair[0].at < pair[1].at), "{name}: lines in order");
            assert!(lines.iter().all(|line| line.at.index() < one.code.insns.len()), "{name}: lines of instructions");
            for line in lines {
                let text = one.code.line_text(line);
                assert!(
                    text.is_some_and(|text| !text.trim().is_empty()),
                    "{name}: {}:{} has no text",
                    line.file,
                    line.line
                );
            }
            functions += 1;
        }
        let write = || module.object(&profile).expect("it is compiled").write().expect("it is written");
        assert_eq!(write(), write(), "{name}");
    }
    assert!(functions >= 2 * progs::examples::NAMES.len(), "{functions} functions");
}

/// A context with 32-bit fields at some offsets.
fn context(fields: &[(usize, [u8; 4])]) -> [u8; 192] {
    let mut bytes = [0; 192];
    for (at, field) in fields {
        bytes[*at..at + 4].copy_from_slice(field);
    }
    bytes
}

#[test]
fn the_logger_tells_of_connections() {
    let module = progs::examples::by_name("logger").expect("it is an example");
    let mut vm = machine(&module, &Profile::linux_5_10());
    let (us, them, port) = ([10, 0, 0, 1], [10, 0, 0, 2], 443u16.to_be_bytes());
    let of = |op: u32, family: u32| {
        let ports = [(64, [0, 0, port[0], port[1]]), (68, 40_000u32.to_le_bytes())];
        context(&[&[(0, op.to_le_bytes()), (20, family.to_le_bytes()), (24, them), (28, us)][..], &ports].concat())
    };
    for (op, family) in [(4, 2), (5, 2), (4, 10), (3, 2)] {
        assert_eq!(vm.run_on_bytes(&mut of(op, family)).expect("it runs"), 0);
    }
    let (map, _) = vm.map("connections").expect("it has the map");
    let told: Vec<_> = map.drain().iter().map(|record| record[8..].to_vec()).collect();
    let connection = |side: u32| {
        let remote_port = [0, 0, port[0], port[1]];
        [us, them, 40_000u32.to_le_bytes(), remote_port, side.to_le_bytes(), [0; 4]].concat()
    };
    assert_eq!(told, [connection(0), connection(1)], "IPv4 that is established, and nothing else");
}

/// The key that a call of this helper got, by what it is and what it was given.
#[test]
fn sockets_are_known_by_their_tuple() {
    for (name, fields, key) in [
        ("sockops", context(&SOCK_OPS), [US, THEM, [0, 0, 0x9c, 0x40], [0, 0, 1, 0xbb]]),
        ("sk-msg", context(&SK_MSG), [THEM, US, [0, 0, 1, 0xbb], [0, 0, 0x9c, 0x40]]),
    ] {
        let module = progs::examples::by_name(name).expect("it is an example");
        let mut vm = machine(&module, &Profile::linux_5_10());
        for id in [asm::insn::helper::SOCK_HASH_UPDATE, asm::insn::helper::MSG_REDIRECT_HASH] {
            vm.set_helper(id.0.cast_unsigned(), asked);
        }
        let mut fields = fields;
        vm.run_on_bytes(&mut fields).expect("it runs");
        assert_eq!(vm.host().printed, [format!("{:?}", key.concat())], "{name}");
    }
}

const US: [u8; 4] = [10, 0, 0, 1];
const THEM: [u8; 4] = [10, 0, 0, 2];
const LOCAL_PORT: [u8; 4] = 40_000u32.to_le_bytes();
const REMOTE_PORT: [u8; 4] = [0, 0, 1, 0xbb];
const SOCK_OPS: [(usize, [u8; 4]); 6] =
    [(0, [4, 0, 0, 0]), (20, [2, 0, 0, 0]), (24, THEM), (28, US), (64, REMOTE_PORT), (68, LOCAL_PORT)];
const SK_MSG: [(usize, [u8; 4]); 5] = [(16, [2, 0, 0, 0]), (20, THEM), (24, US), (60, REMOTE_PORT), (64, LOCAL_PORT)];

/// Stands in for a helper whose third argument is a key.
fn asked(vm: &mut Vm, [_, _, key, ..]: [u64; 5]) -> Result<u64, asm::vm::FaultKind> {
    let key = vm.memory().bytes(key, 16)?.to_vec();
    vm.host().printed.push(format!("{key:?}"));
    Ok(0)
}
