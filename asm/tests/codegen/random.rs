//! Random typed IR: the same result, the same packet and the same map from the IR itself, from the IR after every pass,
//! and from the instructions, however they were chosen. `CODEGEN_CASES` programs are made up from `CODEGEN_SEED` on.

use asm::codegen::{Error, Profile, optimize};
use asm::ir::{Func, Module, interp::Interp};
use asm::vm::{PacketRun, Vm, Xdp};

use super::author::program;
use super::{compile_func, listing, profiles};

/// What a run leaves behind: verdict, packet, the map's values.
type Left = (u32, Vec<u8>, Vec<u64>);

fn left(run: PacketRun, vm: &mut Vm) -> Left {
    let (map, memory) = vm.map("counters").expect("well-typed");
    let values = (0..4u32).map(|key| {
        let address = map.lookup(&key.to_le_bytes(), 0).expect("well-typed");
        u64::from_le_bytes(memory.array(address).expect("well-typed"))
    });
    (run.verdict, run.packet, values.collect())
}

/// As instructions.
fn run(module: &Module, code: &asm::insn::Code, packet: &[u8]) -> Left {
    let mut vm = Vm::link(&[("random", code)], module.map_specs()).expect("well-typed");
    let run = vm.run_xdp(packet, Xdp::default()).unwrap_or_else(|fault| panic!("{fault}\n{}", listing(code)));
    left(run, &mut vm)
}

/// As it is.
fn interpret(module: &Module, packet: &[u8]) -> Left {
    let mut interp = Interp::new(module).expect("well-typed");
    let run = interp.run_xdp(packet, Xdp::default());
    left(run.unwrap_or_else(|fault| panic!("{fault}\n{}", module.funcs[0])), interp.vm())
}

fn packets() -> [Vec<u8>; 3] {
    [40u8, 20, 15].map(|len| (0..len).map(|at| at.wrapping_mul(83) ^ 0x5a).collect())
}

fn module(func: Func) -> Module {
    Module { funcs: vec![func], ..Module::default() }
}

/// Runs a program after each pass.
fn stages_agree(seed: u64, func: &Func, want: &[Left]) -> usize {
    let mut stages = 0;
    for profile in [Profile::linux_5_10(), Profile::newest()] {
        let mut before = func.to_string();
        optimize(func, &profile, &mut |pass, now| {
            stages += 1;
            let module = module(now.clone());
            for (packet, want) in packets().iter().zip(want) {
                let got = interpret(&module, packet);
                assert_eq!(got, *want, "seed {seed}, {pass}:\n{before}\nbecame\n{now}");
            }
            before = now.to_string();
        })
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    stages
}

/// Compiles one program in every way and runs it on some packets.
fn agree(seed: u64, statements: u64) -> (usize, usize) {
    let func = program(seed, statements);
    let module = module(func.clone());
    let want = packets().map(|packet| interpret(&module, &packet));
    let stages = stages_agree(seed, &func, &want);
    let mut compiled = 0;
    for profile in profiles() {
        let code = match compile_func(&func, &[], &profile) {
            Ok(done) => done.code,
            Err(Error::Stack { .. }) => continue,
            Err(error) => panic!("seed {seed}, {profile:?}: {error}"),
        };
        compiled += 1;
        for (packet, want) in packets().iter().zip(&want) {
            let got = run(&module, &code, packet);
            assert_eq!(got, *want, "seed {seed}, {profile:?}:\n{func}\n{}", listing(&code));
        }
    }
    (stages, compiled)
}

#[test]
fn every_pass_and_every_way_to_compile_give_the_same_result() {
    let first: u64 = std::env::var("CODEGEN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let count: u64 = std::env::var("CODEGEN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60);
    let (mut stages, mut compiled) = (0, 0);
    for seed in first..first + count {
        let (more_stages, more_compiled) = agree(seed, 2 + seed % 12);
        (stages, compiled) = (stages + more_stages, compiled + more_compiled);
    }
    println!("{count} programs, {stages} results of passes, compiled {compiled} times");
    assert!(compiled as u64 > count * 6, "only {compiled} of {count} programs compiled");
    assert!(stages as u64 > count * 6, "only {stages} results of passes");
}
