//! The example programs in the interpreter, packet by packet; no kernel, no root.
//!
//! Input: `cases/`. Read next: `kernel/examples.rs`, the same cases in the running kernel.

mod cases;

use asm::codegen::Profile;
use asm::dsl::Module;
use asm::object::MapType;
use asm::vm::{MapSpec, Vm, Xdp};
use cases::Case;

/// A machine with the program, its maps, and its global variables as maps of one value.
fn machine(module: &Module, profile: &Profile) -> Vm {
    let ir = module.ir().expect("it is recorded");
    let compiled = module.compile(profile).expect("it is compiled");
    let mut specs: Vec<MapSpec> = Vec::new();
    for func in &ir.funcs {
        for map in &func.maps {
            specs.push(MapSpec {
                name: map.name.to_string(),
                map_type: map.map_type,
                key_size: map.key_size,
                value_size: map.value_size,
                max_entries: map.max_entries,
            });
        }
        for global in &func.globals {
            specs.push(MapSpec {
                name: global.name.to_string(),
                map_type: MapType::ARRAY,
                key_size: 4,
                value_size: global.size,
                max_entries: 1,
            });
        }
    }
    let functions: Vec<_> = compiled.iter().map(|one| (&*one.name, &one.code)).collect();
    let mut vm = Vm::link(&functions, specs).expect("it is linked");
    vm.host().time_ns = 1_000_000_000;
    vm.host().tick = 1;
    vm
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

fn run(case: &Case, profile: &Profile) {
    let what = format!("{}, {}", case.program, case.name);
    let module = progs::examples::by_name(case.program).expect("it is an example");
    let mut vm = machine(&module, profile);
    for (name, value) in &case.variables {
        put(&mut vm, name, &[0; 4], value);
    }
    for (map, key, value) in &case.before {
        put(&mut vm, map, key, value);
    }
    let mut last = None;
    for _ in 0..case.times {
        last = Some(vm.run_xdp(&case.packet, Xdp::default()).unwrap_or_else(|fault| panic!("{what}: {fault}")));
    }
    let last = last.expect("it ran");
    assert_eq!(last.verdict, case.verdict, "{what}: verdict");
    if case.verdict != cases::DROP {
        assert_eq!(last.packet, *case.out.as_ref().unwrap_or(&case.packet), "{what}: packet");
    }
    for (map, key, value) in &case.after {
        assert_eq!(get(&mut vm, map, key).as_ref(), Some(value), "{what}: {map}");
    }
}

#[test]
fn every_case_as_the_oldest_kernel_would_run_it() {
    for case in cases::table::cases() {
        run(&case, &Profile::linux_5_10());
    }
}

#[test]
fn every_case_as_the_newest_kernel_would_run_it() {
    for case in cases::table::cases() {
        run(&case, &Profile::newest());
    }
}
