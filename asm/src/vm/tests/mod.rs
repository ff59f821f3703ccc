//! The interpreter on small programs: arithmetic, memory, maps, packets, calls, traces.

mod worlds;

use super::*;
use crate::insn::{Bits, Builder, Code, Cond, Insn, R0, R1, R2, R3, R4, R5, R6, R7, R10, Size, helper};
use crate::object::MapType;

fn code(build: impl FnOnce(&mut Builder)) -> Code {
    let mut b = Builder::new();
    build(&mut b);
    b.finish().expect("the test's program is well-formed")
}

fn run(build: impl FnOnce(&mut Builder)) -> Result<u64, Fault> {
    Vm::new(&code(build).insns).expect("a program").run_on_bytes(&mut [])
}

fn spec(name: &str, map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapSpec {
    MapSpec { name: name.into(), map_type, key_size, value_size, max_entries }
}

/// `r0 = a op b` for constants that need all 64 bits.
fn binary(a: u64, b: u64, op: impl FnOnce(&mut Builder)) -> u64 {
    run(|p| {
        p.imm64(R0, a);
        p.imm64(R1, b);
        op(p);
        p.exit();
    })
    .expect("arithmetic does not fault")
}

#[test]
fn arithmetic_is_the_kernels() {
    const MIN: u64 = 1 << 63;
    let cases: &[(&str, u64, u64)] = &[
        ("x / 0", binary(7, 0, |p| p.div(R0, R1)), 0),
        ("x % 0", binary(7, 0, |p| p.mod_(R0, R1)), 7),
        ("32-bit x % 0 zeroes the upper half", binary(u64::MAX, 0, |p| p.mod32(R0, R1)), 0xffff_ffff),
        ("MIN s/ -1", binary(MIN, u64::MAX, |p| p.sdiv(R0, R1)), MIN),
        ("MIN s% -1", binary(MIN, u64::MAX, |p| p.smod(R0, R1)), 0),
        ("-7 s/ 2", binary((-7_i64).cast_unsigned(), 2, |p| p.sdiv(R0, R1)), (-3_i64).cast_unsigned()),
        ("-7 s% 2", binary((-7_i64).cast_unsigned(), 2, |p| p.smod(R0, R1)), (-1_i64).cast_unsigned()),
        ("shift by 65", binary(3, 65, |p| p.lsh(R0, R1)), 6),
        ("32-bit shift by 33", binary(3, 33, |p| p.lsh32(R0, R1)), 6),
        ("arithmetic shift", binary(MIN, 63, |p| p.arsh(R0, R1)), u64::MAX),
        ("32-bit arithmetic shift", binary(1 << 31, 31, |p| p.arsh32(R0, R1)), 0xffff_ffff),
        ("negation", binary(1, 0, |p| p.neg(R0)), u64::MAX),
        ("32-bit negation", binary(1, 0, |p| p.neg32(R0)), 0xffff_ffff),
        ("constants extend their sign", binary(0, 0, |p| p.add(R0, -1)), u64::MAX),
        ("32-bit addition drops the upper half", binary(u64::MAX, 1, |p| p.add32(R0, R1)), 0),
        ("sign extension", binary(0, 0x80, |p| p.movsx(Bits::B8, R0, R1)), 0xffff_ffff_ffff_ff80),
        ("32-bit sign extension", binary(0, 0x80, |p| p.movsx32(Bits::B8, R0, R1)), 0xffff_ff80),
        ("be16", binary(0x1234_5678, 0, |p| p.to_be(R0, 16)), 0x7856),
        ("le32", binary(u64::MAX, 0, |p| p.to_le(R0, 32)), 0xffff_ffff),
        ("bswap64", binary(0x0102_0304_0506_0708, 0, |p| p.bswap(R0, 64)), 0x0807_0605_0403_0201),
    ];
    for (name, got, want) in cases {
        assert_eq!(got, want, "{name}: {got:#x}, want {want:#x}");
    }
}

#[test]
fn atomics_read_modify_and_write() {
    let at = |op: fn(&mut Builder)| {
        run(|p| {
            p.store(Size::Dw, R10, -8, 5);
            p.mov(R0, 5);
            p.mov(R1, 3);
            op(p);
            p.load(Size::Dw, R2, R10, -8);
            p.lsh(R2, 16);
            p.lsh(R0, 8);
            p.or(R0, R1);
            p.or(R0, R2);
            p.exit();
        })
        .expect("aligned")
    };
    // memory, r0, r1 afterwards
    assert_eq!(at(|p| p.atomic_add(Size::Dw, R10, -8, R1)), 0x08_05_03);
    assert_eq!(at(|p| p.atomic_fetch_add(Size::Dw, R10, -8, R1)), 0x08_05_05);
    assert_eq!(at(|p| p.atomic_fetch_xor(Size::Dw, R10, -8, R1)), 0x06_05_05);
    assert_eq!(at(|p| p.atomic_fetch_and(Size::Dw, R10, -8, R1)), 0x01_05_05);
    assert_eq!(at(|p| p.atomic_or(Size::Dw, R10, -8, R1)), 0x07_05_03);
    assert_eq!(at(|p| p.xchg(Size::Dw, R10, -8, R1)), 0x03_05_05);
    assert_eq!(at(|p| p.cmpxchg(Size::Dw, R10, -8, R1)), 0x03_05_03);
}

#[test]
fn a_misbehaving_program_ends_in_a_fault_that_names_the_instruction() {
    let fault = |build: fn(&mut Builder)| run(build).expect_err("a fault").to_string();
    assert_eq!(
        fault(|p| {
            p.mov(R1, 0);
            p.load(Size::W, R0, R1, 4);
            p.exit();
        }),
        "instruction 1: load of 4 bytes at 0x4: no memory there (a null pointer, or a number used as one)"
    );
    assert_eq!(
        fault(|p| {
            p.store(Size::W, R10, -514, 0);
            p.exit();
        }),
        "instruction 0: store of 4 bytes at stack-2: its bytes are 0..512"
    );
    assert_eq!(
        fault(|p| {
            p.call(helper::Id(9999));
            p.exit();
        }),
        "instruction 0: no helper 9999 here; register one with Vm::set_helper"
    );
    assert_eq!(
        fault(|p| {
            let top = p.label_here("top");
            p.jmp(top);
        }),
        format!("instruction 0: stopped after {STEP_LIMIT} steps; an endless loop?")
    );
}

#[test]
fn jumps_out_of_the_program_are_refused_before_it_runs() {
    let jump = |off| Insn::new(0x05, 0, 0, off, 0);
    let exit = Insn::new(0x95, 0, 0, 0, 0);
    let wide = [Insn::new(0x18, 0, 0, 0, 1), Insn::new(0, 0, 0, 0, 0)];
    let refused = |insns: &[Insn]| Program::new(insns).expect_err("refused").to_string();
    assert_eq!(refused(&[jump(5), exit]), "instruction 0: jumps to slot 6, and the program has 2");
    assert_eq!(refused(&[jump(-2), exit]), "instruction 0: jumps to slot -1, and the program has 2");
    assert_eq!(
        refused(&[jump(1), wide[0], wide[1], exit]),
        "instruction 0: jumps into the middle of the two-slot instruction at 1"
    );
    assert_eq!(refused(&[]), "a program has 1 to 1,000,000 slots; this one has 0");
}

#[test]
fn a_called_function_has_its_own_stack_and_keeps_its_callers_registers() {
    let main = code(|p| {
        p.mov(R6, 1);
        p.store(Size::Dw, R10, -8, 40);
        p.mov(R1, R10);
        p.add(R1, -8);
        p.call_fn("double");
        p.load(Size::Dw, R1, R10, -8);
        p.add(R0, R1);
        p.add(R0, R6);
        p.exit();
    });
    let double = code(|p| {
        p.mov(R6, 7);
        p.store(Size::Dw, R10, -8, 0);
        p.load(Size::Dw, R0, R1, 0);
        p.mul(R0, 2);
        p.exit();
    });
    let mut vm = Vm::link(&[("main", &main), ("double", &double)], Vec::new()).expect("links");
    assert_eq!(vm.run_on_bytes(&mut []).expect("runs"), 80 + 40 + 1);

    let endless = code(|p| {
        p.call_fn("main");
        p.exit();
    });
    let mut vm = Vm::link(&[("main", &endless)], Vec::new()).expect("links");
    assert_eq!(vm.run_on_bytes(&mut []).expect_err("too deep").kind, FaultKind::CallDepth);
}

/// Counts packets by their first byte.
fn counter(map: &str) -> Code {
    code(|p| {
        let out = p.label("out");
        let add = p.label("add");
        p.load(Size::W, R2, R1, 0);
        p.load(Size::W, R3, R1, 4);
        p.mov(R4, R2);
        p.add(R4, 1);
        p.jmp_if(Cond::Gt, R4, R3, out);
        p.load(Size::B, R5, R2, 0);
        p.store(Size::W, R10, -4, R5);
        p.map(R1, map);
        p.mov(R2, R10);
        p.add(R2, -4);
        p.mov(R7, R2);
        p.call(helper::MAP_LOOKUP_ELEM);
        p.jmp_if(Cond::Ne, R0, 0, add);
        p.store(Size::Dw, R10, -16, 1);
        p.map(R1, map);
        p.mov(R2, R7);
        p.mov(R3, R10);
        p.add(R3, -16);
        p.mov(R4, 0);
        p.call(helper::MAP_UPDATE_ELEM);
        p.jmp(out);
        p.bind(add);
        p.mov(R1, 1);
        p.atomic_add(Size::Dw, R0, 0, R1);
        p.bind(out);
        p.mov(R0, 2);
        p.exit();
    })
}

fn counts(vm: &mut Vm, key: u32) -> Option<u64> {
    let (map, memory) = vm.map("hits").expect("the map");
    let address = map.lookup(&key.to_le_bytes(), 0)?;
    Some(u64::from_le_bytes(memory.array(address).expect("a value")))
}

#[test]
fn a_program_counts_packets_in_every_kind_of_map() {
    for map_type in [MapType::HASH, MapType::LRU_HASH, MapType::PERCPU_HASH] {
        let mut vm = Vm::link(&[("count", &counter("hits"))], vec![spec("hits", map_type, 4, 8, 2)]).expect("links");
        for first in [1, 1, 2, 1, 2, 1] {
            let run = vm.run_xdp(&[&[first][..], &[0; 59]].concat(), Xdp::default()).expect("runs");
            assert_eq!(run.verdict, 2);
        }
        assert_eq!((counts(&mut vm, 1), counts(&mut vm, 2)), (Some(4), Some(2)), "{map_type}");
        vm.run_xdp(&[9; 60], Xdp::default()).expect("runs");
        // A full hash refuses the third key; an LRU hash drops the one that was used longest ago.
        let third = counts(&mut vm, 9);
        assert_eq!(third, (map_type == MapType::LRU_HASH).then_some(1), "{map_type}");
        assert_eq!(counts(&mut vm, 1).is_none(), map_type == MapType::LRU_HASH, "{map_type}");
    }
}

#[test]
fn per_cpu_values_are_apart() {
    let mut vm = Vm::new(&code(|p| p.exit()).insns).expect("a program");
    vm.host().cpus = 4;
    vm.add_map(spec("a", MapType::PERCPU_ARRAY, 4, 4, 2)).expect("a map");
    let (map, memory) = vm.map("a").expect("the map");
    map.update(memory, &[1, 0, 0, 0], &[7, 0, 0, 0], 0, Some(2)).expect("an update");
    let read = |map: &mut Map, memory: &Memory, cpu| memory.array::<4>(map.lookup(&[1, 0, 0, 0], cpu).expect("there"));
    assert_eq!(read(map, memory, 2), Ok([7, 0, 0, 0]));
    assert_eq!(read(map, memory, 1), Ok([0; 4]));
    map.update(memory, &[1, 0, 0, 0], &[9, 0, 0, 0], 0, None).expect("all CPUs");
    assert!((0..4).all(|cpu| read(map, memory, cpu) == Ok([9, 0, 0, 0])));
}

#[test]
fn map_operations_fail_with_the_kernels_errno() {
    let mut memory = Memory::new();
    let mut make = |map_type| Map::new(spec("m", map_type, 4, 4, 2), 0, 1, &mut memory).expect("a map");
    let (mut hash, mut array) = (make(MapType::HASH), make(MapType::ARRAY));
    let key = |n: u32| n.to_le_bytes();
    assert_eq!(hash.update(&mut memory, &key(1), &[0; 4], maps::EXIST, None), Err(maps::ENOENT));
    assert_eq!(hash.update(&mut memory, &key(1), &[0; 4], maps::NOEXIST, None), Ok(()));
    assert_eq!(hash.update(&mut memory, &key(1), &[0; 4], maps::NOEXIST, None), Err(maps::EEXIST));
    assert_eq!(hash.update(&mut memory, &key(2), &[0; 4], 0, None), Ok(()));
    assert_eq!(hash.update(&mut memory, &key(3), &[0; 4], 0, None), Err(maps::E2BIG));
    assert_eq!(hash.delete(&key(2)), Ok(()));
    assert_eq!(hash.delete(&key(2)), Err(maps::ENOENT));
    assert_eq!(hash.update(&mut memory, &key(3), &[0; 4], 0, None), Ok(()), "room again");
    assert_eq!(array.update(&mut memory, &key(2), &[0; 4], 0, None), Err(maps::E2BIG));
    assert_eq!(array.update(&mut memory, &key(1), &[0; 4], maps::NOEXIST, None), Err(maps::EEXIST));
    assert_eq!(array.delete(&key(1)), Err(maps::EINVAL));
    assert_eq!(array.lookup(&key(2), 0), None);
    assert_eq!(array.update(&mut memory, &key(1), &[0; 4], 99, None), Err(maps::EINVAL));
}

#[test]
fn the_longest_prefix_wins() {
    let mut memory = Memory::new();
    let mut trie = Map::new(spec("routes", MapType::LPM_TRIE, 8, 4, 8), 0, 1, &mut memory).expect("a map");
    let key = |len: u32, address: [u8; 4]| [len.to_le_bytes(), address].concat();
    for (len, address, value) in
        [(0, [0; 4], 0), (8, [10, 9, 9, 9], 8), (24, [10, 1, 2, 0], 24), (32, [10, 1, 2, 3], 32)]
    {
        trie.update(&mut memory, &key(len, address), &[value, 0, 0, 0], 0, None).expect("an update");
    }
    let mut find = |len, address| {
        let found = trie.lookup(&key(len, address), 0)?;
        Some(memory.array::<1>(found).expect("a value")[0])
    };
    assert_eq!(find(32, [10, 1, 2, 3]), Some(32));
    assert_eq!(find(32, [10, 1, 2, 4]), Some(24));
    assert_eq!(find(24, [10, 1, 2, 3]), Some(24), "a lookup with 24 bits never meets the 32-bit route");
    assert_eq!(find(32, [10, 200, 0, 1]), Some(8));
    assert_eq!(find(32, [192, 168, 0, 1]), Some(0));
}

#[test]
fn a_packet_grows_at_its_head_and_old_pointers_are_stale() {
    let push = |use_stale: bool| {
        code(|p| {
            p.mov(R6, R1);
            p.load(Size::W, R7, R1, 0);
            p.mov(R2, -20);
            p.call(helper::XDP_ADJUST_HEAD);
            if !use_stale {
                p.load(Size::W, R7, R6, 0);
            }
            p.store(Size::B, R7, 0, 0xaa);
            p.mov(R0, 3);
            p.exit();
        })
    };
    let mut vm = Vm::new(&push(false).insns).expect("a program");
    let run = vm.run_xdp(&[1; 60], Xdp::default()).expect("runs");
    assert_eq!((run.verdict, run.packet.len(), run.packet[0], run.packet[20]), (3, 80, 0xaa, 1));

    let mut vm = Vm::new(&push(true).insns).expect("a program");
    assert_eq!(
        vm.run_xdp(&[1; 60], Xdp::default()).expect_err("stale").to_string(),
        "instruction 4: store of 1 bytes through a stale packet pointer: bpf_xdp_adjust_head moved the packet"
    );
}

#[test]
fn metadata_moves_with_the_packets_head() {
    let insns = code(|p| {
        p.mov(R6, R1);
        p.mov(R2, -4);
        p.call(helper::XDP_ADJUST_META);
        p.load(Size::W, R1, R6, 8);
        p.store(Size::W, R1, 0, 0x1234);
        p.mov(R1, R6);
        p.mov(R2, 14);
        p.call(helper::XDP_ADJUST_HEAD);
        p.load(Size::W, R1, R6, 8);
        p.load(Size::W, R0, R1, 0);
        p.exit();
    });
    let run = Vm::new(&insns.insns).expect("a program").run_xdp(&[1; 60], Xdp::default()).expect("runs");
    assert_eq!((run.verdict, run.packet.len()), (0x1234, 46));
}

#[test]
fn tail_calls_go_on_in_the_other_program_and_end_at_the_kernels_limit() {
    let again = code(|p| {
        p.load(Size::Dw, R0, R1, 0);
        p.add(R0, 1);
        p.store(Size::Dw, R1, 0, R0);
        p.mov(R6, R1);
        p.map(R2, "progs");
        p.mov(R3, 0);
        p.call(helper::TAIL_CALL);
        p.load(Size::Dw, R0, R6, 0);
        p.exit();
    });
    let mut vm = Vm::link(&[("again", &again)], vec![spec("progs", MapType::PROG_ARRAY, 4, 4, 1)]).expect("links");
    assert_eq!(vm.run_on_bytes(&mut [0; 8]).expect("an empty slot"), 1);
    vm.map("progs").expect("the map").0.set_handle(&[0; 4], 0).expect("a slot");
    assert_eq!(vm.run_on_bytes(&mut [0; 8]).expect("33 tail calls"), 34);
}

#[test]
fn callbacks_run_in_a_frame_of_their_own() {
    let main = code(|p| {
        p.store(Size::Dw, R10, -8, 0);
        p.mov(R1, 10);
        p.func(R2, "add");
        p.mov(R3, R10);
        p.add(R3, -8);
        p.mov(R4, 0);
        p.call(helper::LOOP);
        p.lsh(R0, 32);
        p.load(Size::Dw, R1, R10, -8);
        p.or(R0, R1);
        p.exit();
    });
    let add = code(|p| {
        let stop = p.label("stop");
        p.load(Size::Dw, R3, R2, 0);
        p.add(R3, R1);
        p.store(Size::Dw, R2, 0, R3);
        p.mov(R0, 0);
        p.jmp_if(Cond::Lt, R1, 4, stop);
        p.mov(R0, 1);
        p.bind(stop);
        p.exit();
    });
    let mut vm = Vm::link(&[("main", &main), ("add", &add)], Vec::new()).expect("links");
    assert_eq!(vm.run_on_bytes(&mut []).expect("runs"), 5 << 32 | (1 + 2 + 3 + 4));
}

#[test]
fn ring_buffer_records_arrive_in_order_and_the_buffer_can_be_full() {
    let emit = code(|p| {
        let full = p.label("full");
        p.map(R1, "events");
        p.mov(R2, 16);
        p.mov(R3, 0);
        p.call(helper::RINGBUF_RESERVE);
        p.jmp_if(Cond::Eq, R0, 0, full);
        p.store(Size::Dw, R0, 0, 77);
        p.mov(R1, R0);
        p.mov(R2, 0);
        p.call(helper::RINGBUF_SUBMIT);
        p.mov(R0, 1);
        p.bind(full);
        p.exit();
    });
    let mut vm = Vm::link(&[("emit", &emit)], vec![spec("events", MapType::RINGBUF, 0, 0, 64)]).expect("links");
    let results: Vec<u64> = (0..4).map(|_| vm.run_on_bytes(&mut []).expect("runs")).collect();
    assert_eq!(results, [1, 1, 0, 0]);
    let records = vm.map("events").expect("the map").0.drain();
    assert_eq!(records, vec![[&77_u64.to_le_bytes()[..], &[0; 8]].concat(); 2]);
}

#[test]
fn a_trace_shows_memory_and_changed_registers() {
    let mut vm = Vm::new(
        &code(|p| {
            p.load(Size::W, R2, R1, 0);
            p.load(Size::B, R0, R2, 1);
            p.store(Size::Dw, R10, -8, R0);
            p.exit();
        })
        .insns,
    )
    .expect("a program");
    let mut trace = TextTrace::default();
    vm.trace_xdp(&[1, 2, 3], Xdp::default(), &mut trace).expect("runs");
    insta::assert_snapshot!(trace.text());
}

#[test]
fn printing_formats_like_the_kernel() {
    let mut vm = Vm::new(
        &code(|p| {
            p.imm64(R1, u64::from_le_bytes(*b"n=%d x=%"));
            p.store(Size::Dw, R10, -16, R1);
            p.imm64(R1, u64::from_le_bytes(*b"lx\0\0\0\0\0\0"));
            p.store(Size::Dw, R10, -8, R1);
            p.mov(R1, R10);
            p.add(R1, -16);
            p.mov(R2, 11);
            p.mov(R3, -5);
            p.imm64(R4, 1 << 40);
            p.call(helper::TRACE_PRINTK);
            p.exit();
        })
        .insns,
    )
    .expect("a program");
    assert_eq!(vm.run_on_bytes(&mut []).expect("runs"), 18);
    assert_eq!(vm.host().printed, ["n=-5 x=10000000000"]);
}
