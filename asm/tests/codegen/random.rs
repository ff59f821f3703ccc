//! Random typed IR: every way to compile a program gives the same result, the same packet and the same map.

use asm::codegen::Error;
use asm::object::MapType;
use asm::vm::{MapSpec, Vm, Xdp};

use super::author::program;
use super::{compile_func, listing, profiles};

/// What a run leaves behind: verdict, packet, the map's values.
type Left = (u32, Vec<u8>, Vec<u64>);

fn run(code: &asm::insn::Code, packet: &[u8]) -> Left {
    let spec =
        MapSpec { name: "counters".into(), map_type: MapType::ARRAY, key_size: 4, value_size: 8, max_entries: 4 };
    let mut vm = Vm::link(&[("random", code)], vec![spec]).expect("well-typed");
    let run = vm.run_xdp(packet, Xdp::default()).unwrap_or_else(|fault| panic!("{fault}\n{}", listing(code)));
    let (map, memory) = vm.map("counters").expect("well-typed");
    let values = (0..4u32).map(|key| {
        let address = map.lookup(&key.to_le_bytes(), 0).expect("well-typed");
        u64::from_le_bytes(memory.array(address).expect("well-typed"))
    });
    (run.verdict, run.packet, values.collect())
}

/// Compiles one program in every way and runs it on some packets.
fn agree(seed: u64, statements: u64) -> usize {
    let func = program(seed, statements);
    let mut want: Vec<Option<Left>> = vec![None; 3];
    let mut compiled = 0;
    for profile in profiles() {
        let code = match compile_func(&func, &[], &profile) {
            Ok(done) => done.code,
            Err(Error::Stack { .. }) => continue,
            Err(error) => panic!("seed {seed}, {profile:?}: {error}"),
        };
        compiled += 1;
        for (i, want) in want.iter_mut().enumerate() {
            let packet: Vec<u8> = (0..[40u8, 20, 15][i]).map(|at| at.wrapping_mul(83) ^ 0x5a).collect();
            let got = run(&code, &packet);
            let want = want.get_or_insert_with(|| got.clone());
            assert_eq!(&got, want, "seed {seed}, {profile:?}:\n{func}\n{}", listing(&code));
        }
    }
    compiled
}

#[test]
fn every_way_to_compile_gives_the_same_result() {
    let first: u64 = std::env::var("CODEGEN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let count: u64 = std::env::var("CODEGEN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60);
    let compiled: usize = (first..first + count).map(|seed| agree(seed, 2 + seed % 12)).sum();
    assert!(compiled as u64 > count * 6, "only {compiled} of {count} programs compiled");
}
