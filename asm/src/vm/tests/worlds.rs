//! Contexts, frames and helpers beyond the plain machine.

use super::code;
use crate::insn::{Builder, Cond, R0, R1, R2, R3, R4, R5, R6, R10, Size, helper};
use crate::object::{MapType, ProgType};
use crate::vm::{Context, MapSpec, TextTrace, Vm};

fn vm(build: impl FnOnce(&mut Builder)) -> Vm {
    Vm::new(&code(build).insns).expect("a program")
}

fn spec(name: &str, map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapSpec {
    MapSpec { name: name.into(), map_type, key_size, value_size, max_entries }
}

#[test]
fn a_context_has_its_fields_and_nothing_between() {
    let sock_ops = Context::new(ProgType::SOCK_OPS).expect("known");
    let sock_ops = sock_ops.with("op", 4).expect("a field").with("remote_port", 0x5000).expect("a field");
    let load = |size, off| {
        vm(move |b| {
            b.load(size, R0, R1, off);
            b.exit();
        })
    };
    assert_eq!(load(Size::W, 64).run_context(&sock_ops).expect("remote_port").r0, 0x5000);
    assert_eq!(load(Size::H, 64).run_context(&sock_ops).expect("a part of it").r0, 0x5000);
    assert_eq!(load(Size::Dw, 184).run_context(&sock_ops).expect("no socket").r0, 0);
    let wide = load(Size::Dw, 64).run_context(&sock_ops).expect_err("two fields at once");
    assert_eq!(
        wide.to_string(),
        "instruction 0: load of 8 bytes at ctx+64: `struct bpf_sock_ops` has no field there that is read so"
    );
    let error = sock_ops.with("colour", 1).expect_err("no such field").to_string();
    assert!(
        error.starts_with("`struct bpf_sock_ops` has no field `colour` that can be set; it has op, reply"),
        "{error}"
    );
}

#[test]
fn only_some_fields_are_written() {
    let store = |off| {
        vm(move |b| {
            b.store(Size::W, R1, off, 0x0100_007f);
            b.mov(R0, 1);
            b.exit();
        })
    };
    let connect = Context::new(ProgType::CGROUP_SOCK_ADDR).expect("known").with("type", 1).expect("a field");
    let run = store(4).run_context(&connect).expect("user_ip4");
    assert_eq!((run.r0, run.context.get("user_ip4"), run.context.get("type")), (1, Some(0x0100_007f), Some(1)));
    let refused = store(32).run_context(&connect).expect_err("type").to_string();
    assert_eq!(refused, "instruction 0: store of 4 bytes at ctx+32: it is read-only");
}

#[test]
fn a_message_is_redirected_by_its_socket() {
    // The length of the message decides: below ten bytes it goes to the socket under key 1.
    let mut vm = Vm::link(
        &[(
            "redirect",
            &code(|b| {
                let pass = b.label("pass");
                b.load(Size::W, R2, R1, 68);
                b.mov(R0, 1);
                b.jmp_if(Cond::Ge, R2, 10, pass);
                b.store(Size::W, R10, -4, 1);
                b.map(R2, "socks");
                b.mov(R3, R10);
                b.add(R3, -4);
                b.mov(R4, 1);
                b.call(helper::MSG_REDIRECT_HASH);
                b.bind(pass);
                b.exit();
            }),
        )],
        vec![spec("socks", MapType::SOCKHASH, 4, 4, 4)],
    )
    .expect("links");
    vm.map("socks").expect("the map").0.set_handle(&[1, 0, 0, 0], 77).expect("room");
    let message = |size| Context::new(ProgType::SK_MSG).expect("known").with("size", size).expect("a field");
    assert_eq!(vm.run_context(&message(5)).expect("runs").r0, 1);
    let redirect = vm.host().redirect.take();
    assert!(format!("{redirect:?}").contains("handle: 77, flags: 1"), "{redirect:?}");
    assert_eq!(vm.run_context(&message(50)).expect("runs").r0, 1);
    assert_eq!(vm.host().redirect, None);
}

#[test]
fn a_tail_call_ends_the_function_that_makes_it_and_no_more() {
    let main = code(|b| {
        b.call_fn("inner");
        b.add(R0, 1);
        b.exit();
    });
    let inner = code(|b| {
        b.map(R2, "progs");
        b.mov(R3, 0);
        b.call(helper::TAIL_CALL);
        b.mov(R0, 0);
        b.exit();
    });
    let mut vm = Vm::link(&[("main", &main), ("inner", &inner)], vec![spec("progs", MapType::PROG_ARRAY, 4, 4, 1)])
        .expect("links");
    let other = vm.add_program(
        &code(|b| {
            b.mov(R0, 40);
            b.exit();
        })
        .insns,
    );
    let other = other.expect("a program") as u64;
    vm.map("progs").expect("the map").0.set_handle(&[0; 4], other).expect("a slot");
    assert_eq!(vm.run_on_bytes(&mut []).expect("runs"), 41);
}

#[test]
fn numbers_come_from_an_iterator() {
    let main = code(|b| {
        let (top, done) = (b.label("top"), b.label("done"));
        b.mov(R1, R10);
        b.add(R1, -8);
        b.mov(R2, 3);
        b.mov(R3, 7);
        b.call_kfunc("bpf_iter_num_new");
        b.mov(R6, 0);
        b.bind(top);
        b.mov(R1, R10);
        b.add(R1, -8);
        b.call_kfunc("bpf_iter_num_next");
        b.jmp_if(Cond::Eq, R0, 0, done);
        b.load(Size::W, R1, R0, 0);
        b.add(R6, R1);
        b.jmp(top);
        b.bind(done);
        b.mov(R0, R6);
        b.exit();
    });
    let mut vm = Vm::link(&[("main", &main)], Vec::new()).expect("links");
    assert_eq!(vm.run_on_bytes(&mut []).expect("runs"), 3 + 4 + 5 + 6);
}

#[test]
fn readers_see_records_in_the_order_of_reservation() {
    // Two records are reserved; the second is submitted first.
    let reserve = |b: &mut Builder, keep| {
        b.map(R1, "events");
        b.mov(R2, 8);
        b.mov(R3, 0);
        b.call(helper::RINGBUF_RESERVE);
        b.store(Size::Dw, R10, keep, R0);
        b.store(Size::Dw, R0, 0, i32::from(keep));
    };
    let submit = |b: &mut Builder, kept| {
        b.load(Size::Dw, R1, R10, kept);
        b.mov(R2, 0);
        b.call(helper::RINGBUF_SUBMIT);
    };
    let main = code(|b| {
        reserve(b, -8);
        reserve(b, -16);
        submit(b, -16);
        submit(b, -8);
        b.mov(R0, 0);
        b.exit();
    });
    let mut vm = Vm::link(&[("main", &main)], vec![spec("events", MapType::RINGBUF, 0, 0, 4096)]).expect("links");
    vm.run_on_bytes(&mut []).expect("runs");
    let records = vm.map("events").expect("the map").0.drain();
    assert_eq!(records, [(-8_i64).to_le_bytes().to_vec(), (-16_i64).to_le_bytes().to_vec()]);
}

#[test]
fn a_new_element_of_a_per_cpu_hash_is_zero_elsewhere() {
    let mut vm = vm(|b| {
        b.mov(R0, 0);
        b.exit();
    });
    vm.host().cpus = 2;
    vm.add_map(spec("h", MapType::PERCPU_HASH, 4, 8, 1)).expect("a map");
    let (map, memory) = vm.map("h").expect("the map");
    map.update(memory, &[1; 4], &[7; 8], 0, None).expect("all CPUs");
    map.delete(&[1; 4]).expect("it is there");
    map.update(memory, &[2; 4], &[9; 8], 0, Some(0)).expect("room again");
    let other = map.lookup(&[2; 4], 1).expect("it is there");
    assert_eq!(memory.array::<8>(other), Ok([0; 8]));
}

#[test]
fn checksums_follow_a_changed_field() {
    // An IPv4 header of RFC 1071's kind: its checksum is at 10, its TTL and protocol at 8.
    let mut packet = vec![0; 14];
    let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
    packet.extend(header);
    let mut vm = vm(|b| {
        b.mov(R2, 24);
        b.mov(R3, i32::from(u16::from_le_bytes([0x40, 0x11])));
        b.mov(R4, i32::from(u16::from_le_bytes([0x3f, 0x11])));
        b.mov(R5, 2);
        b.call(helper::L3_CSUM_REPLACE);
        b.exit();
    });
    let run = vm.run_skb(&packet, crate::vm::Skb::default()).expect("runs");
    assert_eq!((run.verdict, &run.packet[24..26]), (0, &[0xb9, 0x61][..]), "one less in the upper byte");
}

#[test]
fn a_trace_goes_into_callbacks() {
    let main = code(|b| {
        b.mov(R1, 2);
        b.func(R2, "round");
        b.mov(R3, 0);
        b.mov(R4, 0);
        b.call(helper::LOOP);
        b.exit();
    });
    let round = code(|b| {
        b.mov(R0, 0);
        b.exit();
    });
    let mut vm = Vm::link(&[("main", &main), ("round", &round)], Vec::new()).expect("links");
    let mut trace = TextTrace::default();
    assert_eq!(vm.trace_on_bytes(&mut [], &mut trace).expect("runs"), 2);
    assert_eq!(trace.text().matches("r0 = 0").count(), 2, "{}", trace.text());
}

#[test]
fn text_is_read_and_formatted() {
    let mut vm = vm(|b| {
        b.imm64(R1, u64::from_le_bytes(*b"-12x\0\0\0\0"));
        b.store(Size::Dw, R10, -8, R1);
        b.mov(R1, R10);
        b.add(R1, -8);
        b.mov(R2, 8);
        b.mov(R3, 10);
        b.mov(R4, R10);
        b.add(R4, -16);
        b.call(helper::STRTOL);
        b.load(Size::Dw, R1, R10, -16);
        b.mul(R1, 100);
        b.add(R0, R1);
        b.exit();
    });
    assert_eq!(vm.run_on_bytes(&mut []).expect("runs").cast_signed(), -1200 + 3);
}

#[test]
fn timers_are_refused_in_words() {
    let mut vm = vm(|b| {
        b.call(helper::TIMER_INIT);
        b.exit();
    });
    let fault = vm.run_on_bytes(&mut []).expect_err("no timers").to_string();
    assert!(fault.contains("the interpreter has no timers"), "{fault}");
}
