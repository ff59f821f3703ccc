//! Random programs with branches, loops, calls, stack, maps and packets: the whole road must give what the interpreter
//! gives, and the verifier must accept every one.
//!
//! Each program goes from instructions through an ELF object and the loader into the kernel, and beside that into the
//! interpreter. Both see the same packet and the same numbers; verdict, packet, arrays and hash map must be equal after.

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
use proptest::test_runner::{Config, TestRunner};

use program::program;

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

fn object(functions: &[(&str, Code)]) -> Vec<u8> {
    let mut object = Object::new("GPL");
    for (name, map_type, value_size, entries) in MAPS {
        object = match map_type {
            // A value with an address is a global variable, here each in a section, and so in a map, of its own.
            MapType::ARRAY => {
                let zeroes = vec![0; value_size as usize];
                object.global(GlobalDef::new(&section(name), name, Ty::bytes(value_size), &zeroes).align(8))
            }
            _ => object.map(MapDef::new(name, map_type).key_size(4).value_size(value_size).max_entries(entries)),
        };
    }
    for (name, code) in functions {
        object = object.prog(match *name {
            "entry" => ProgDef::new("xdp", name, code.clone()),
            _ => {
                let number = Ty::of::<u64>;
                ProgDef::subprog(name, code.clone()).param("a", number()).param("b", number()).returns(number())
            }
        });
    }
    object.write().expect("the object is well-formed")
}

fn section(variable: &str) -> String {
    format!(".data.{variable}")
}

fn in_the_kernel(loaded: &Loaded, before: &Before) -> Result<After, Box<dyn std::error::Error>> {
    loaded.map(&section("inputs"))?.update(&[0; 4], &bytes(&before.inputs), UpdateFlags::ANY)?;
    let run = loaded.prog("entry")?.test_run(&before.packet, 1)?;
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

fn interpreter(functions: &[(&str, Code)]) -> Vm {
    let functions: Vec<_> = functions.iter().map(|(name, code)| (*name, code)).collect();
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
    let keys = (0..8_u32).map(|key| key.to_le_bytes().to_vec());
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

#[test]
fn kernel_and_interpreter_agree_on_random_structured_programs() {
    super::need_root();
    let mut runner =
        TestRunner::new(Config { cases: super::cases(500), failure_persistence: None, ..Config::default() });
    let result = runner.run(&(program(), prop::collection::vec(before(), 3)), |(program, runs)| {
        let functions = emit::functions(&program);
        let spec = Spec::parse(&object(&functions)).expect("our own object");
        let loaded =
            load(&spec, &LoadOptions::default()).map_err(|e| TestCaseError::fail(format!("refused: {e:#?}")))?;
        let mut vm = interpreter(&functions);
        for before in runs {
            let theirs = in_the_kernel(&loaded, &before).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let ours = in_the_interpreter(&mut vm, &before).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(theirs, ours, "kernel, interpreter; from {:x?}", before);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
