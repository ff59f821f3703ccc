//! Programs about sockets, in the interpreter: storage, counters that many CPUs share, events of connections.
//!
//! Input: contexts with fields set. Output: results and maps. Read next: `ui.rs`, what rustc refuses.

use asm::codegen::Profile;
use asm::dsl::prelude::*;
use asm::dsl::{Module, Program};
use asm::object::{MapType, ProgType};
use asm::vm::{Context, MapSpec, Vm};

/// A machine with the program, its maps, and its variables as arrays.
fn machine(program: Program) -> Vm {
    let module = Module::new("GPL").prog(program);
    let compiled = module.compile(&Profile::newest()).unwrap_or_else(|error| panic!("{error}"));
    let functions: Vec<_> = compiled.iter().map(|one| (&*one.name, &one.code)).collect();
    let mut specs = Vec::new();
    for func in &module.ir().expect("it is recorded").funcs {
        for map in &func.maps {
            let (map_type, key_size, value_size) = (map.map_type, map.key_size, map.value_size);
            let name = map.name.to_string();
            specs.push(MapSpec { name, map_type, key_size, value_size, max_entries: map.max_entries });
        }
        for global in &func.globals {
            let (name, value_size) = (global.name.to_string(), global.size);
            specs.push(MapSpec { name, map_type: MapType::ARRAY, key_size: 4, value_size, max_entries: 1 });
        }
    }
    Vm::link(&functions, specs).expect("it is linked")
}

fn run(vm: &mut Vm, context: &Context) -> u64 {
    vm.run_context(context).unwrap_or_else(|fault| panic!("{fault}")).r0
}

/// An event with two arguments.
fn event(a: u32, b: u32) -> Context {
    let bytes = [u64::from(a).to_le_bytes(), u64::from(b).to_le_bytes()].concat();
    Context::new(ProgType::RAW_TRACEPOINT).expect("it is known").with_bytes("args", &bytes).expect("a field")
}

/// What a connection is remembered by.
#[derive(Layout)]
#[repr(C)]
struct Memory {
    events: u32,
    bytes: u32,
}

#[map]
static MEMORY: SkStorage<Memory> = map();

#[sock_ops]
fn remembers(ops: &mut SockOps) -> Reply {
    let Some(sk) = ops.sk() else { return Reply::None };
    if ops.op() == SockOps::STATE {
        if ops.new_state() == TcpState::Close {
            MEMORY.remove(&sk);
        }
        return Reply::None;
    }
    ops.set_cb_flags(SockOps::WANT_STATE);
    let Some(memory) = MEMORY.get_or_init(&sk, &Memory { events: 10, bytes: 0 }) else { return Reply::None };
    memory.events += 1;
    memory.bytes += ops.snd_nxt() - ops.rcv_nxt();
    ops.set_reply(memory.events + memory.bytes);
    Reply::Given
}

#[test]
fn a_socket_keeps_its_memory_until_it_closes() {
    let mut vm = machine(remembers());
    let sock = Context::new(ProgType::CGROUP_SOCK).expect("it is known");
    let event = |op: u64| {
        let context = Context::new(ProgType::SOCK_OPS).expect("it is known").with("op", op).expect("a field");
        context.with("snd_nxt", 107).expect("a field").with("rcv_nxt", 100).expect("a field")
    };
    let reply = |vm: &mut Vm, context: &Context| {
        let done = vm.run_context(context).expect("it runs");
        (done.r0 == 1).then(|| done.context.get("reply").expect("a field"))
    };
    assert_eq!(reply(&mut vm, &event(4)), None, "no socket");
    assert_eq!(reply(&mut vm, &event(4).with_sock(&sock)), Some(18));
    let after = vm.run_context(&event(5).with_sock(&sock)).expect("it runs");
    assert_eq!((after.context.get("reply"), after.context.get("bpf_sock_ops_cb_flags")), (Some(26), Some(4)));
    let mut args = [0; 16];
    args[4] = 7;
    let close = event(10).with_bytes("args", &args).expect("a field").with_sock(&sock);
    assert_eq!(reply(&mut vm, &close), None);
    assert_eq!(reply(&mut vm, &event(4).with_sock(&sock)), Some(18), "a new memory");
}

#[map]
static READ: SkStorage<u64> = map();

#[tp_btf("sock_recv_length")]
fn reads(ctx: &mut TpBtf) -> u32 {
    let sk = ctx.ptr::<0, kernel::Sock>();
    let got = ctx.arg::<1>() as i32;
    if got <= 0 {
        return 1;
    }
    let Some(bytes) = READ.get_or_zero(&sk) else { return 2 };
    bytes.atomic_add(got as u64);
    *bytes as u32
}

#[test]
fn a_tracepoint_counts_for_the_socket_it_is_given() {
    let mut vm = machine(reads());
    let args = |sk: u64, got: i64| {
        let bytes = [sk.to_le_bytes(), got.to_le_bytes()].concat();
        Context::new(ProgType::TRACING).expect("it is known").with_bytes("args", &bytes).expect("a field")
    };
    assert_eq!(run(&mut vm, &args(0x1000, 40)), 40);
    assert_eq!(run(&mut vm, &args(0x1000, 2)), 42);
    assert_eq!(run(&mut vm, &args(0x1000, -11)), 1);
    assert_eq!(run(&mut vm, &args(0x2000, 7)), 7);
}

#[data]
static WIDE: u64 = 0b1100;
#[bss]
static NARROW: u32 = 0;

#[raw_tracepoint("sys_enter")]
fn shares(ctx: &mut RawTracepoint) -> u32 {
    WIDE.place().atomic_or(1);
    WIDE.place().atomic_and(0b0111);
    WIDE.place().atomic_xor(0b1_0000);
    let one = WIDE.place().fetch_add(1) as u32;
    let two = WIDE.place().fetch_or(0b10_0000) as u32;
    let three = WIDE.place().fetch_and(0xff) as u32;
    let four = WIDE.place().fetch_xor(1) as u32;
    let five = NARROW.place().swap(ctx.arg::<0>() as u32);
    let six = NARROW.place().compare_exchange(7, 100);
    let seven = NARROW.place().compare_exchange(1, 200);
    one + two * 2 + three * 3 + four * 5 + five * 7 + six * 11 + seven * 13 + NARROW.place() * 17 + WIDE.place() as u32
}

#[test]
fn atomic_operations_give_what_was_there() {
    for op in [7u32, 1, 9] {
        let mut vm = machine(shares());
        let (map, memory) = vm.map("wide").expect("it is there");
        map.update(memory, &[0; 4], &0b1100u64.to_le_bytes(), 0, None).expect("it fits");
        let context = event(op, 0);
        let mut narrow = op;
        let mut exchange = |old: u32, new: u32| {
            let was = narrow;
            narrow = if was == old { new } else { was };
            was
        };
        let (six, seven) = (exchange(7, 100), exchange(1, 200));
        let (one, two, three, four, last) = (0b1_0101, 0b1_0110, 0b11_0110, 0b11_0110, 0b11_0111);
        let want = one + two * 2 + three * 3 + four * 5 + six * 11 + seven * 13 + narrow * 17 + last;
        assert_eq!(run(&mut vm, &context), want.into(), "{op}");
    }
}

/// Who sends.
#[derive(Layout)]
#[repr(C)]
struct Sender {
    pid: u32,
    tid: u32,
    cgroup: u64,
    name: [u8; 16],
    peer: [u8; 16],
}

#[map]
static SENDERS: RingBuf<4096> = map();

#[sk_msg]
fn tells(msg: &mut SkMsg) -> SkAction {
    let Some(sender) = SENDERS.reserve::<Sender>() else { return SkAction::Drop };
    *sender = Sender { pid: pid(), tid: tid(), cgroup: cgroup_id(), name: comm(), peer: msg.remote_ip6() };
    sender.submit();
    msg.apply_bytes(100);
    SkAction::Pass
}

#[test]
fn a_message_tells_who_sends_it() {
    let mut vm = machine(tells());
    vm.host().pid_tgid = 7 << 32 | 8;
    let peer: [u8; 16] = std::array::from_fn(|at| u8::try_from(at).unwrap_or(0));
    let context =
        Context::new(ProgType::SK_MSG).expect("it is known").with_bytes("remote_ip6", &peer).expect("a field");
    assert_eq!(run(&mut vm, &context), 1);
    assert_eq!(vm.host().apply_bytes, 100);
    let (map, _) = vm.map("senders").expect("it is there");
    let told = map.drain();
    let want = [&7u32.to_le_bytes()[..], &8u32.to_le_bytes(), &1u64.to_le_bytes(), b"interpreter\0\0\0\0\0", &peer];
    assert_eq!(told, [want.concat()]);
}

#[test]
fn a_storage_is_of_its_own_kind_of_owner() {
    #[map]
    static TASKS: TaskStorage<u64> = map();

    #[tp_btf("sock_recv_length")]
    fn wrong(ctx: &mut TpBtf) {
        let sk = ctx.ptr::<0, kernel::Sock>();
        TASKS.remove(&sk);
    }
    let error = Module::new("GPL").prog(wrong()).ir().expect_err("a socket is no task").to_string();
    assert!(error.contains("asm/tests/sockets.rs:"), "{error}");
    assert!(error.contains("`struct sock` is given, and one of task_struct is wanted"), "{error}");
}

#[map]
static HELD: SockHash<u32, 16> = map();

#[test]
fn a_socket_that_is_forgotten_is_refused_with_its_place() {
    #[tc(default = TcAction::Ok)]
    fn forgets(skb: &mut Tc) -> Result<TcAction> {
        let sk = HELD.get(&1)?;
        if sk.src_port() == 80 {
            return Ok(TcAction::Shot);
        }
        sk.release();
        Ok(TcAction::Ok)
    }
    #[tc(default = TcAction::Ok)]
    fn never_tests(skb: &mut Tc) -> Result<TcAction> {
        HELD.get(&1);
        Ok(TcAction::Ok)
    }
    #[tc(default = TcAction::Ok)]
    fn turns(skb: &mut Tc) -> Result<TcAction> {
        for key in 0..4u32 {
            let Some(sk) = HELD.get(&key) else { break };
            if sk.src_port() == 80 {
                continue;
            }
            sk.release();
        }
        Ok(TcAction::Ok)
    }
    #[tc(default = TcAction::Ok)]
    fn remembers(skb: &mut Tc) -> Result<TcAction> {
        let sk = HELD.get(&1)?;
        let port = sk.src_port();
        sk.release();
        Ok(if port == 80 { TcAction::Shot } else { TcAction::Ok })
    }
    let error = |program| Module::new("GPL").prog(program).ir().expect_err("it is forgotten").to_string();
    let text = error(forgets());
    assert!(text.contains("asm/tests/sockets.rs:") && text.contains("this socket is held on the way to"), "{text}");
    let text = error(never_tests());
    assert!(text.contains("nobody tests whether this socket is there"), "{text}");
    let text = error(turns());
    assert!(text.contains("this socket is held"), "{text}");
    Module::new("GPL").prog(remembers()).ir().expect("it is released on every path");
}

#[raw_tracepoint("sys_enter")]
fn chooses(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let memory = if a == 4 {
        Memory { events: 1, bytes: b }
    } else if a == 5 {
        Memory { events: 2, bytes: a + b }
    } else {
        Memory { events: a, bytes: 3 }
    };
    memory.events * 100 + memory.bytes
}

#[test]
fn an_if_may_result_in_a_struct() {
    let mut vm = machine(chooses());
    for (op, family, want) in [(4, 2, 102), (5, 2, 207), (9, 2, 903)] {
        assert_eq!(run(&mut vm, &event(op, family)), want);
    }
}

#[map]
static WAITING: Queue<u32, 4> = map();
#[map]
static PILE: Stack<Memory, 4> = map();

#[raw_tracepoint("sys_enter")]
fn waits(ctx: &mut RawTracepoint) -> u32 {
    WAITING.push(&(ctx.arg::<0>() as u32));
    WAITING.push(&(ctx.arg::<1>() as u32));
    PILE.push(&Memory { events: 1, bytes: ctx.arg::<0>() as u32 });
    PILE.push(&Memory { events: 2, bytes: ctx.arg::<1>() as u32 });
    let Some(first) = WAITING.peek() else { return 1 };
    let Some(same) = WAITING.pop() else { return 2 };
    let Some(last) = PILE.pop() else { return 3 };
    let both = *first * 1000 + *same * 100 + last.events * 10 + last.bytes;
    WAITING.pop();
    if let Some(none) = WAITING.pop() { *none } else { both }
}

#[test]
fn queues_and_stacks_give_copies_of_what_is_next() {
    let mut vm = machine(waits());
    assert_eq!(run(&mut vm, &event(7, 5)), 7_725);
}

#[map]
static TABLES: ArrayOfMaps<Array<u64, 4>, 2> = map();
#[map]
static NAMED: HashOfMaps<u32, HashMap<u32, Memory, 16>, 8> = map();

#[raw_tracepoint("sys_enter", default = 77)]
fn nests(ctx: &mut RawTracepoint) -> Result<u32> {
    let table = TABLES.get(&(ctx.arg::<0>() as u32))?;
    let count = table.get(&(ctx.arg::<1>() as u32))?;
    *count += 5;
    let named = NAMED.get(&9)?;
    named.set(&1, &Memory { events: 3, bytes: *count as u32 }, Update::Any);
    Ok(named.get(&1)?.bytes + 1)
}

#[test]
fn maps_are_found_in_maps() {
    let module = Module::new("GPL").prog(nests());
    let compiled = module.compile(&Profile::newest()).unwrap_or_else(|error| panic!("{error}"));
    let functions: Vec<_> = compiled.iter().map(|one| (&*one.name, &one.code)).collect();
    let spec = |name: &str, map_type, key_size, value_size, max_entries| MapSpec {
        name: name.to_owned(),
        map_type,
        key_size,
        value_size,
        max_entries,
    };
    let specs = vec![
        spec("tables", MapType::ARRAY_OF_MAPS, 4, 4, 2),
        spec("named", MapType::HASH_OF_MAPS, 4, 4, 8),
        spec("table", MapType::ARRAY, 4, 8, 4),
        spec("name", MapType::HASH, 4, 8, 16),
    ];
    let mut vm = Vm::link(&functions, specs).expect("it is linked");
    for (outer, key, inner) in [("tables", 1u32, 2u64), ("named", 9, 3)] {
        let (map, _) = vm.map(outer).expect("it is there");
        map.set_handle(&key.to_le_bytes(), inner).expect("there is room");
    }
    let context = |op| event(op, 2);
    assert_eq!(run(&mut vm, &context(0)), 77, "no map there");
    assert_eq!(run(&mut vm, &context(1)), 6);
    assert_eq!(run(&mut vm, &context(1)), 11);
}
