//! What the compiler makes, in the kernel's hands: small programs against clang's figures, and random programs that give
//! the same result as in the interpreter.

#[path = "../../../asm/tests/codegen/author.rs"]
mod author;
#[path = "../../../asm/tests/yardsticks/programs/mod.rs"]
mod programs;

use asm::codegen::{Allocation, Error, Profile, compile_func};
use asm::ir::{Func, FuncBuilder, GlobalDecl, MapDecl, Ty as IrTy};
use asm::object::{MapDef, MapType, Object, Ty};
use asm::vm::{MapSpec, Vm, Xdp};
use loader::{LoadOptions, Loaded, Spec};

use crate::support::{need_root, number, rounds};

fn map_def(map: &MapDecl) -> MapDef {
    let def = MapDef::new(&map.name, map.map_type).max_entries(map.max_entries);
    match map.map_type {
        MapType::RINGBUF => def,
        MapType::LPM_TRIE => def.key_size(map.key_size).value_size(map.value_size).flags(1),
        _ => def.key_size(map.key_size).value_size(map.value_size),
    }
}

/// An object with one program, its maps and its variables.
fn object(func: &Func, profile: &Profile) -> Result<Vec<u8>, Error> {
    let mut object = Object::new("Dual MIT/GPL");
    for map in &func.maps {
        object = object.map(map_def(map));
    }
    for global in &func.globals {
        object = object.rodata(&global.name, Ty::bytes(global.size), &vec![0; global.size as usize]);
    }
    let compiled = compile_func(func, &[], profile)?;
    Ok(object.prog(compiled.definition()).write().unwrap_or_else(|error| panic!("{error}\n{func}")))
}

fn load(bytes: &[u8]) -> Loaded {
    let spec = Spec::parse(bytes).expect("our own object");
    loader::load(&spec, &LoadOptions::default()).unwrap_or_else(|error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}\n{cause}");
            source = cause.source();
        }
        panic!("{text}")
    })
}

/// Verifier-processed instructions and JIT bytes of `clang-22 -O2 -mcpu=v3` on Linux 6.18.44, x86-64.
const CLANG: [(&str, u32, u32); 13] = [
    ("count", 11, 95),
    ("drop-port", 30, 163),
    ("icmp-echo", 85, 345),
    ("ipip-decap", 127, 535),
    ("ipv6-ext", 214, 789),
    ("lpm-acl", 57, 229),
    ("maglev", 254, 1023),
    ("ratelimit", 56, 270),
    ("ringbuf", 48, 211),
    ("sk-msg", 19, 135),
    ("sockops", 23, 130),
    ("synflood", 82, 452),
    ("tiny", 42, 203),
];

#[test]
fn small_programs_cost_no_more_than_clangs() {
    need_root();
    let (mut worse, base) = (Vec::new(), profile());
    // The figures are one kernel's: another series verifies otherwise, another release and processor compile otherwise.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let (same_verifier, same_jit) = (release.starts_with("6.18."), release.starts_with("6.18.44"));
    for ((name, func), (same, steps, bytes)) in programs::all().into_iter().zip(CLANG) {
        assert_eq!(name, same);
        let object = object(&func, &base).unwrap_or_else(|error| panic!("{error}"));
        let loaded = load(&object);
        let (_, prog) = loaded.progs().next().expect("one program");
        let info = prog.info().expect("a loaded program");
        let (our_steps, our_bytes) = (info.verified_insns, info.jited_bytes);
        println!("{name}: {our_steps} of {steps} steps, {our_bytes} of {bytes} bytes");
        if same_verifier && our_steps > steps || same_jit && our_bytes > bytes {
            worse.push(name);
        }
    }
    assert!(worse.is_empty(), "worse than clang: {worse:?}");
}

/// What the running kernel can do, as far as it matters here.
fn profile() -> Profile {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let parts: Vec<&str> = release.split('.').take(2).collect();
    Profile::named(&parts.join(".")).expect("5.10 or newer")
}

#[test]
fn random_programs_load_and_run_as_in_the_interpreter() {
    need_root();
    let base = profile();
    let (mut loaded, rounds) = (0, rounds(60));
    let first = number("PROPTEST_RNG_SEED").unwrap_or(1);
    for seed in (0..rounds).map(|n| first.wrapping_add(n)) {
        let func = author::program(seed, 2 + seed % 8);
        for allocation in [Allocation::Best, Allocation::FewRegisters] {
            let profile = Profile { allocation, ..base };
            let code = match compile_func(&func, &[], &profile) {
                Ok(compiled) => compiled.code,
                Err(Error::Stack { .. } | Error::Profile { .. }) => continue,
                Err(error) => panic!("{error}"),
            };
            let object = object(&func, &profile).unwrap_or_else(|error| panic!("{error}"));
            println!("seed {seed}, {allocation:?}");
            let kernel = load(&object);
            let packet: Vec<u8> = (0..40u8).map(|at| at.wrapping_mul(83) ^ 0x5a).collect();
            let map = author::counters();
            let (name, entries) = (map.name.to_string(), map.max_entries);
            let spec = MapSpec { name, map_type: map.map_type, key_size: 4, value_size: 8, max_entries: entries };
            let mut vm = Vm::link(&[("random", &code)], vec![spec]).expect("one map");
            let want = vm.run_xdp(&packet, Xdp::default()).expect("no faults");
            let got = kernel.prog("random").expect("its name").test_run(&packet, 1).expect("a run");
            if func.to_string().contains("ktime") {
                continue;
            }
            assert_eq!((got.retval, &got.data_out), (want.verdict, &want.packet), "seed {seed}\n{func}");
            loaded += 1;
        }
    }
    assert!(loaded > rounds / 3 || !base.atomics, "only {loaded} programs ran");
}

/// A program that obeys every rule that is known here, and that the verifier refuses: a product bounds nothing. The log
/// names the author's line.
#[test]
fn a_refusal_names_the_authors_line() {
    need_root();
    let mut b = FuncBuilder::prog("xdp", "refused");
    let pass = b.block();
    let (data, end) = (b.packet(), b.packet_end());
    b.check(data, 8, end, pass);
    let (x, y) = (b.load(IrTy::I32, data, 0), b.load(IrTy::I32, data, 4));
    let value = b.global_addr(&GlobalDecl { name: "table".into(), size: 64, readonly: true }, 0);
    let index = b.mul(x, y);
    let place = b.ptr_add(value, index);
    let line = line!() + 1;
    let found = b.load(IrTy::I8, place, 0);
    b.ret(Some(found));
    b.switch_to(pass);
    let two = b.iconst(IrTy::I32, 2);
    b.ret(Some(two));
    let func = b.finish().expect("it obeys the rules");
    let spec = Spec::parse(&object(&func, &profile()).expect("it compiles")).expect("our own object");
    let error = loader::load(&spec, &LoadOptions::default()).expect_err("the index may be anything");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}\n{cause}");
        source = cause.source();
    }
    // The kernel refuses the sum or what is read by it.
    let lines = [line - 2, line].map(|line| format!("tests/kernel/codegen.rs:{line}:"));
    assert!(lines.iter().any(|line| text.contains(line)), "{lines:?} is not in:\n{text}");
}
