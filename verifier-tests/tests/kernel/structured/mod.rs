//! Random programs with branches, loops, calls, stack, maps and packets: the whole road must give what the interpreter
//! gives, and the verifier must accept every one.
//!
//! Each program goes from instructions through an ELF object and the loader into the kernel, and beside that into the
//! interpreter. Both see the same packet and the same numbers; verdict, packet, arrays and hash map must be equal after.
//! The programs of a batch are entries of one object and share its maps. Read next: `program.rs`, `emit.rs`.

mod emit;
mod program;

use std::collections::BTreeMap;

use asm::insn::Code;
use asm::object::{GlobalDef, MapDef, MapType, Object, ProgDef, Ty};
use asm::vm::{MapSpec, Vm, Xdp};
use loader::Spec;
use loader::load::{LoadOptions, Loaded, load};
use loader::sys::uapi::UpdateFlags;
use proptest::prelude::*;

use super::campaign::{self, Twin};
use program::{Program, program};

/// Runs of each program.
const RUNS: usize = 3;
/// Programs of an object.
const BATCH: u32 = 16;
/// Keys that a program can give the hash map.
const KEYS: u32 = 8;

/// A program and what its runs start from.
#[derive(Debug, Clone)]
struct Case {
    program: Program,
    runs: Vec<Before>,
}

/// What a run leaves behind.
#[derive(Debug, PartialEq, Eq)]
struct After {
    verdict: u32,
    packet: Vec<u8>,
    outputs: Vec<u8>,
    values: Vec<u8>,
    hash: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a run starts from.
#[derive(Debug, Clone)]
struct Before {
    inputs: [u64; 4],
    packet: Vec<u8>,
}

/// The maps: name, type, size of the value, entries. Keys have four bytes.
const MAPS: [(&str, MapType, u32, u32); 4] = [
    ("inputs", MapType::ARRAY, 32, 1),
    ("outputs", MapType::ARRAY, 32, 1),
    ("values", MapType::ARRAY, 64, 1),
    ("hash", MapType::HASH, 8, 16),
];

/// An object with the functions of every program; `inputs` are the numbers it starts with.
fn object(programs: &[Vec<(String, Code)>], inputs: &[u64; 4]) -> Object {
    let mut object = Object::new("GPL");
    for (name, map_type, value_size, entries) in MAPS {
        object = match map_type {
            // A value with an address is a global variable, here each in a section, and so in a map, of its own.
            MapType::ARRAY => {
                let mut value = if name == "inputs" { bytes(inputs) } else { Vec::new() };
                value.resize(value_size as usize, 0);
                object.global(GlobalDef::new(&section(name), name, Ty::bytes(value_size), &value).align(8))
            }
            _ => object.map(MapDef::new(name, map_type).key_size(4).value_size(value_size).max_entries(entries)),
        };
    }
    for (n, (name, code)) in programs.iter().flat_map(|functions| functions.iter().enumerate()) {
        object = object.prog(match n {
            0 => ProgDef::new("xdp", name, code.clone()),
            _ => {
                let number = Ty::of::<u64>;
                ProgDef::subprog(name, code.clone()).param("a", number()).param("b", number()).returns(number())
            }
        });
    }
    object
}

fn section(variable: &str) -> String {
    format!(".data.{variable}")
}

/// Every map as a fresh one: the program before left its own in them.
fn reset(loaded: &Loaded) -> Result<(), Box<dyn std::error::Error>> {
    for (name, ..) in MAPS.iter().filter(|(_, map_type, ..)| *map_type == MapType::ARRAY) {
        let map = loaded.map(&section(name))?;
        let size = map.info()?.value_size as usize;
        map.update(&[0; 4], &vec![0; size], UpdateFlags::ANY)?;
    }
    let hash = loaded.map("hash")?;
    for key in hash.keys().collect::<Result<Vec<_>, _>>()? {
        hash.delete(&key)?;
    }
    Ok(())
}

fn in_the_kernel(loaded: &Loaded, entry: &str, before: &Before) -> Result<After, Box<dyn std::error::Error>> {
    loaded.map(&section("inputs"))?.update(&[0; 4], &bytes(&before.inputs), UpdateFlags::ANY)?;
    let run = loaded.prog(entry)?.test_run(&before.packet, 1)?;
    let array =
        |name| Ok::<_, Box<dyn std::error::Error>>(loaded.map(&section(name))?.lookup(&[0; 4])?.ok_or("no element")?);
    let mut hash = BTreeMap::new();
    let map = loaded.map("hash")?;
    for key in map.keys() {
        let key = key?;
        let value = map.lookup(&key)?.ok_or("a key without a value")?;
        hash.insert(key, value);
    }
    Ok(After { verdict: run.retval, packet: run.data_out, outputs: array("outputs")?, values: array("values")?, hash })
}

fn interpreter(functions: &[(String, Code)]) -> Vm {
    let functions: Vec<_> = functions.iter().map(|(name, code)| (name.as_str(), code)).collect();
    let maps = MAPS.map(|(name, map_type, value_size, max_entries)| MapSpec {
        name: name.into(),
        map_type,
        key_size: 4,
        value_size,
        max_entries,
    });
    Vm::link(&functions, maps.to_vec()).expect("the program links")
}

fn in_the_interpreter(vm: &mut Vm, before: &Before) -> Result<After, Box<dyn std::error::Error>> {
    let (map, memory) = vm.map("inputs").ok_or("no map")?;
    map.update(memory, &[0; 4], &bytes(&before.inputs), 0, None).map_err(|e| e.to_string())?;
    let run = vm.run_xdp(&before.packet, Xdp::default())?;
    let mut value = |name: &str, key: &[u8]| {
        let (map, memory) = vm.map(name)?;
        let (size, address) = (map.spec().value_size as usize, map.lookup(key, 0)?);
        Some(memory.bytes(address, size).ok()?.to_vec())
    };
    let (outputs, values) = (value("outputs", &[0; 4]), value("values", &[0; 4]));
    let keys = (0..KEYS).map(|key| key.to_le_bytes().to_vec());
    let hash = keys.filter_map(|key| Some((key.clone(), value("hash", &key)?))).collect();
    let (outputs, values) = (outputs.ok_or("no element")?, values.ok_or("no element")?);
    Ok(After { verdict: run.verdict, packet: run.packet, outputs, values, hash })
}

fn bytes(numbers: &[u64; 4]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn before() -> impl Strategy<Value = Before> {
    let number = prop_oneof![any::<u64>(), 0..16_u64, Just(u64::MAX), Just(1 << 63), any::<u32>().prop_map(u64::from)];
    (prop::array::uniform4(number), prop::collection::vec(any::<u8>(), 14..100))
        .prop_map(|(inputs, packet)| Before { inputs, packet })
}

/// Judges structured programs.
struct Structured;

impl Twin for Structured {
    type Case = Case;
    const BATCH: u32 = BATCH;

    fn cases(&self) -> BoxedStrategy<Case> {
        (program(), prop::collection::vec(before(), RUNS)).prop_map(|(program, runs)| Case { program, runs }).boxed()
    }

    fn judge(&self, cases: &[Case]) -> Result<(), String> {
        let programs: Vec<_> = cases.iter().enumerate().map(|(n, case)| emit::functions(&case.program, n)).collect();
        let object = object(&programs, &[0; 4]).write().map_err(|e| e.to_string())?;
        let spec = Spec::parse(&object).map_err(|e| e.to_string())?;
        let loaded = load(&spec, &LoadOptions::default()).map_err(|e| format!("refused: {e:#?}"))?;
        for (case, functions) in cases.iter().zip(&programs) {
            runs_agree(&loaded, case, functions).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn text(&self, case: &Case) -> String {
        let text = campaign::listing(&object(&[emit::functions(&case.program, 0)], &case.runs[0].inputs));
        let runs: Vec<_> = case.runs.iter().map(|run| format!("# run: {run:x?}\n")).collect();
        format!("{text}{}", runs.concat())
    }
}

fn runs_agree(loaded: &Loaded, case: &Case, functions: &[(String, Code)]) -> Result<(), Box<dyn std::error::Error>> {
    let mut vm = interpreter(functions);
    reset(loaded)?;
    for before in &case.runs {
        let theirs = in_the_kernel(loaded, &functions[0].0, before)?;
        let ours = in_the_interpreter(&mut vm, before)?;
        if theirs != ours {
            return Err(format!("from {before:x?}\nkernel {theirs:x?}\ninterpreter {ours:x?}").into());
        }
    }
    Ok(())
}

#[test]
fn kernel_and_interpreter_agree_on_random_structured_programs() {
    super::need_root();
    campaign::agree("random_structured", 5_008, || Structured);
}
