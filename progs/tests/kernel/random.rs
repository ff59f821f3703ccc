//! Random well-typed programs: every one loads, and does in the kernel what it does in the interpreters: as instructions,
//! and as intermediate representation, as recorded and after every pass.
//!
//! Input: a tree of statements, made by chance from a fixed seed (`PROPTEST_RNG_SEED` chooses another, `PROPTEST_CASES`
//! more of them; `DIFFERENTIAL_PART=4` makes a fourth, and leaves the passes out). It is recorded through the calls that
//! the attributes write. Output: verdicts, packets and maps, from the kernel and from the interpreters.

use std::cell::RefCell;

use asm::{
    codegen::{Profile, optimize},
    dsl::{Array, HashMap, Layout, Module, Packet, PktRef, Program, Queue, Update, Val, Xdp, net::Ipv4, rt},
    ir::{self, interp::Interp},
    vm::{PacketRun, Vm, Xdp as Host},
};
use loader::{LoadOptions, Spec};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::{cases, support::in_netns};

/// A number of 64 bits.
#[derive(Clone, Debug)]
enum Number {
    Const(u64),
    Var(usize),
    Binary(u8, Box<Number>, Box<Number>),
    /// In a narrower type and back.
    Narrow(u8, Box<Number>),
    /// Of the last header that was read.
    Field(u8),
}

#[derive(Clone, Debug)]
enum Stmt {
    Set(usize, Number),
    If(u8, Number, Number, Vec<Stmt>, Vec<Stmt>),
    For(u8, Vec<Stmt>),
    /// To a bound that is included.
    Through(u8, Vec<Stmt>),
    /// A function, written in, that may give nothing; where it gives something, more is done.
    Try(Number, Vec<Stmt>),
    /// A function of its own that may give nothing.
    Ask(Number),
    /// A struct that an `if` results in, as a key.
    Choose(u8, Number, Number),
    Push(Number),
    Pop,
    /// Reads a header here; without it the program leaves by its default.
    Read,
    /// Moves the cursor on by a number below 64.
    Skip(Number),
    Write(u8, Number),
    /// Adds to an element of the array, if it is there.
    Bump(Number, Number),
    /// Looks up; both ways do something.
    Lookup(Number, Vec<Stmt>),
    Update(Number, Number),
    /// Takes 4 bytes away, or gives them back: everything that was read is stale.
    Move(bool),
    Return(Number),
}

const VARS: usize = 3;

fn number() -> impl Strategy<Value = Number> {
    let edges = prop_oneof![any::<u64>(), 0..70u64, Just(u64::MAX), Just(1 << 31)];
    let leaf =
        prop_oneof![edges.prop_map(Number::Const), (0..VARS).prop_map(Number::Var), (0..4u8).prop_map(Number::Field)];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            4 => (0..10u8, inner.clone(), inner.clone()).prop_map(|(op, a, b)| Number::Binary(op, a.into(), b.into())),
            1 => (0..6u8, inner).prop_map(|(width, a)| Number::Narrow(width, a.into())),
        ]
    })
}

fn block() -> impl Strategy<Value = Vec<Stmt>> {
    let leaf = prop_oneof![
        4 => (0..VARS, number()).prop_map(|(var, value)| Stmt::Set(var, value)),
        2 => Just(Stmt::Read),
        1 => number().prop_map(Stmt::Skip),
        2 => (0..3u8, number()).prop_map(|(field, value)| Stmt::Write(field, value)),
        2 => (number(), number()).prop_map(|(index, by)| Stmt::Bump(index, by)),
        1 => (number(), number()).prop_map(|(key, value)| Stmt::Update(key, value)),
        1 => any::<bool>().prop_map(Stmt::Move),
        1 => number().prop_map(Stmt::Ask),
        1 => (0..6u8, number(), number()).prop_map(|(op, a, b)| Stmt::Choose(op, a, b)),
        1 => number().prop_map(Stmt::Push),
        1 => Just(Stmt::Pop),
        1 => number().prop_map(Stmt::Return),
    ];
    let stmt = leaf.prop_recursive(3, 24, 4, |inner| {
        let body = || proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            3 => (0..6u8, number(), number(), body(), body()).prop_map(|(op, a, b, x, y)| Stmt::If(op, a, b, x, y)),
            1 => (1..5u8, body()).prop_map(|(turns, x)| Stmt::For(turns, x)),
            1 => (0..4u8, body()).prop_map(|(last, x)| Stmt::Through(last, x)),
            1 => (number(), body()).prop_map(|(number, x)| Stmt::Try(number, x)),
            1 => (number(), body()).prop_map(|(key, x)| Stmt::Lookup(key, x)),
        ]
    });
    proptest::collection::vec(stmt, 1..8)
}

static COUNTS: Array<u64, 4> = Array::new("counts");
static SEEN: HashMap<u64, u64, 64> = HashMap::new("seen");
static PAIRS: HashMap<Pair, u64, 16> = HashMap::new("pairs");
static WAITING: Queue<u64, 4> = Queue::new("waiting");

/// A key of two parts.
#[derive(Clone, Copy, Layout)]
#[repr(C)]
struct Pair {
    one: u32,
    two: u32,
}

/// The state of recording a tree.
struct Stage<'a> {
    ctx: &'a mut Xdp,
    vars: [Val<u64>; VARS],
    pkt: Packet<'static>,
    /// The last header, while it is not stale.
    header: Option<PktRef<'static, Ipv4>>,
    /// Inside of a loop the packet stays where it is: the loop's head has seen only one place.
    turning: bool,
}

impl Stage<'_> {
    fn number(&self, number: &Number) -> Val<u64> {
        match number {
            Number::Const(value) => rt::literal(*value),
            Number::Var(var) => rt::stage(self.vars[*var]),
            Number::Narrow(width, a) => {
                let a = self.number(a);
                match width {
                    0 => rt::cast::<u64, u8, _>(rt::cast::<u8, u64, _>(a)),
                    1 => rt::cast::<u64, u16, _>(rt::cast::<u16, u64, _>(a)),
                    2 => rt::cast::<u64, u32, _>(rt::cast::<u32, u64, _>(a)),
                    3 => rt::cast::<u64, i8, _>(rt::cast::<i8, u64, _>(a)),
                    4 => rt::cast::<u64, i32, _>(rt::cast::<i32, u64, _>(a)),
                    _ => rt::cast::<u64, u16, _>(rt::cast::<u16, u64, _>(a).to_be().raw()),
                }
            }
            Number::Field(field) => match (self.header, field) {
                (Some(ip), 0) => rt::cast::<u64, u8, _>(ip.ttl),
                (Some(ip), 1) => rt::cast::<u64, u16, _>(ip.total_len.get()),
                (Some(ip), 2) => rt::cast::<u64, u32, _>(ip.src.raw()),
                (Some(ip), _) => rt::cast::<u64, u8, _>(ip.ihl()),
                (None, _) => rt::literal(7),
            },
            Number::Binary(op, a, b) => {
                let (a, b) = (self.number(a), self.number(b));
                match op {
                    0 => rt::add(a, b),
                    1 => rt::sub(a, b),
                    2 => rt::mul(a, b),
                    3 => rt::div(a, b),
                    4 => rt::rem(a, b),
                    5 => rt::and(a, b),
                    6 => rt::or(a, b),
                    7 => rt::xor(a, b),
                    8 => rt::shl(a, b),
                    _ => rt::shr(a, b),
                }
            }
        }
    }

    fn condition(&self, op: u8, a: &Number, b: &Number) -> Val<bool> {
        let (a, b) = (self.number(a), self.number(b));
        match op {
            0 => rt::eq(a, b),
            1 => rt::ne(a, b),
            2 => rt::lt(a, b),
            3 => rt::ge(a, b),
            4 => rt::lt(rt::cast::<i32, u64, _>(a), rt::cast::<i32, u64, _>(b)),
            _ => rt::gt(rt::cast::<u8, u64, _>(a), rt::cast::<u8, u64, _>(b)),
        }
    }

    fn block(&mut self, block: &[Stmt]) {
        block.iter().for_each(|stmt| self.stmt(stmt));
    }

    /// A block that is left again: what it has read is not there on every way.
    fn arm(&mut self, block: &[Stmt]) {
        let before = self.header;
        self.block(block);
        self.header = before;
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Set(var, value) => rt::assign(&self.vars[*var], self.number(value)),
            Stmt::If(op, a, b, then, otherwise) => self.branch(*op, a, b, then, otherwise),
            Stmt::For(turns, body) => self.turns(rt::range::<u64>(0u64, u64::from(*turns)), body),
            Stmt::Through(last, body) => self.turns(rt::closed::<u64>(1u64, u64::from(*last)), body),
            Stmt::Try(number, body) => {
                let none = rt::block();
                let half = rt::some(self.halved(number), none);
                rt::assign(&self.vars[1], half);
                self.behind(none, body);
            }
            Stmt::Ask(number) => {
                let none = rt::block();
                let found = rt::some(self.asked(number), none);
                rt::assign(&self.vars[2], rt::cast::<u64, u32, _>(found));
                self.behind(none, &[]);
            }
            Stmt::Choose(op, a, b) => self.choose(*op, a, b),
            Stmt::Push(number) => {
                let number = self.number(number);
                rt::stage(WAITING.push(&number));
            }
            Stmt::Pop => {
                let none = rt::block();
                let first = rt::some(WAITING.pop(), none);
                rt::assign(&self.vars[0], rt::deref(&first));
                self.behind(none, &[]);
            }
            Stmt::Read if !self.turning => self.header = Some(rt::question(self.pkt.read::<Ipv4>())),
            Stmt::Skip(by) if !self.turning => {
                let by = rt::and(self.number(by), 63);
                rt::question(self.pkt.skip::<u64>(by));
            }
            Stmt::Write(field, value) => {
                let (Some(ip), value) = (self.header, self.number(value)) else { return };
                match field {
                    0 => rt::assign(&ip.ttl, rt::cast::<u8, u64, _>(value)),
                    1 => rt::assign(&ip.id, rt::cast::<u16, u64, _>(value).to_be()),
                    _ => rt::assign(&ip.dst, rt::cast::<u32, u64, _>(value).as_be()),
                }
            }
            Stmt::Bump(index, by) => {
                let (index, by) = (rt::and(rt::cast::<u32, u64, _>(self.number(index)), 7), self.number(by));
                let none = rt::block();
                let count = rt::some(COUNTS.get(&index), none);
                count.atomic_add(by);
                rt::goto(none);
                rt::enter(none);
            }
            Stmt::Lookup(key, body) => {
                let (key, none) = (rt::and(self.number(key), 3), rt::block());
                let value = rt::some(SEEN.get(&key), none);
                rt::assign(&self.vars[0], rt::deref(&value));
                self.behind(none, body);
            }
            Stmt::Update(key, value) => {
                let (key, value) = (rt::and(self.number(key), 3), self.number(value));
                rt::stage(SEEN.set(&key, &value, Update::Any));
            }
            Stmt::Move(away) if !self.turning => {
                rt::question(self.ctx.adjust_head(if *away { 4 } else { -4 }));
                self.after(true);
            }
            Stmt::Return(value) => rt::give_back(rt::cast::<u32, u64, _>(self.number(value))),
            Stmt::Read | Stmt::Skip(_) | Stmt::Move(_) => {}
        }
    }

    /// Does more on one way, and goes on where both meet.
    fn behind(&mut self, none: ir::Block, body: &[Stmt]) {
        self.arm(body);
        rt::goto(none);
        rt::enter(none);
        self.after(moves(body));
    }

    /// A function that gives nothing for odd numbers, written into its caller.
    fn halved(&self, number: &Number) -> rt::Outcome<Val<u64>> {
        let number = self.number(number);
        let function = rt::Inline::begin(TEXT);
        let odd = rt::block();
        rt::require(rt::eq(rt::and(number, 1u64), 0u64), true, odd);
        rt::give_back(rt::Okay(rt::shr(number, 1u64)));
        rt::enter(odd);
        rt::fail();
        function.outcome::<Val<u64>>()
    }

    /// A function of its own that gives nothing for large numbers.
    fn asked(&self, number: &Number) -> rt::Answer<u32> {
        let number = self.number(number);
        rt::Subprog::call("asked").arg::<u64>("number", number).outcome::<u32>(TEXT, || {
            let number = rt::Subprog::param::<u64>(0);
            let large = rt::block();
            rt::require(rt::lt(number, 1u64 << 20), true, large);
            rt::give_back(rt::Okay(rt::cast::<u32, u64, _>(number)));
            rt::enter(large);
            rt::fail();
        })
    }

    fn choose(&self, op: u8, a: &Number, b: &Number) {
        let (other, join) = (rt::block(), rt::block());
        let small = |number: &Number| rt::and(rt::cast::<u32, u64, _>(self.number(number)), 1u32);
        rt::require(self.condition(op, a, b), true, other);
        let meeting = rt::open(PairParts { one: small(a), two: rt::literal(2u32) }, join);
        rt::enter(other);
        rt::merge::<PairParts>(meeting, PairParts { one: rt::literal(3u32), two: small(b) }, join);
        let pair = rt::join(meeting, join);
        rt::stage(PAIRS.set(&pair, &self.vars[1], Update::Any));
    }

    /// Begins the packet anew, if it has moved.
    fn after(&mut self, moved: bool) {
        if moved && !self.turning {
            self.header = None;
            self.pkt = rt::stage(self.ctx.packet());
        }
    }

    fn branch(&mut self, op: u8, a: &Number, b: &Number, then: &[Stmt], otherwise: &[Stmt]) {
        let (other, join) = (rt::block(), rt::block());
        rt::require(self.condition(op, a, b), true, other);
        let pkt = self.pkt;
        self.arm(then);
        rt::goto(join);
        rt::enter(other);
        self.pkt = pkt;
        self.arm(otherwise);
        rt::goto(join);
        rt::enter(join);
        self.pkt = pkt;
        self.after(moves(then) || moves(otherwise));
    }

    fn turns(&mut self, range: rt::Range<u64>, body: &[Stmt]) {
        let was = std::mem::replace(&mut self.turning, true);
        let (around, item) = rt::Loop::over(range);
        self.arm(body);
        item.next(around);
        self.turning = was;
    }
}

/// Does a block move the packet?
fn moves(block: &[Stmt]) -> bool {
    block.iter().any(|stmt| match stmt {
        Stmt::Move(_) => true,
        Stmt::If(_, _, _, then, otherwise) => moves(then) || moves(otherwise),
        Stmt::Lookup(_, body) | Stmt::Try(_, body) => moves(body),
        _ => false,
    })
}

thread_local! {
    static TREE: RefCell<Vec<Stmt>> = const { RefCell::new(Vec::new()) };
}

/// What an attribute would have written.
fn record() {
    let tree = TREE.take();
    rt::program::<Xdp>(Some(asm::dsl::Action::Pass), |ctx| {
        let vars = [1u64, 2, 3].map(|start| rt::mutable(rt::literal(start)));
        let pkt = rt::stage(ctx.packet());
        let mut stage = Stage { ctx, vars, pkt, header: None, turning: false };
        stage.block(&tree);
        let sum = rt::xor(stage.vars[0], rt::xor(stage.vars[1], stage.vars[2]));
        rt::give_back(rt::cast::<u32, u64, _>(sum));
    });
    TREE.set(tree);
}

const TEXT: rt::Text = rt::Text { file: file!(), line: 1, text: "" };

fn module(tree: &[Stmt]) -> Module {
    TREE.set(tree.to_vec());
    Module::new("GPL").prog(Program::new("xdp", "random", record, TEXT))
}

/// What runs leave behind: verdict and packet of each, and what is in the maps in the end.
type Left = (Vec<(u32, Vec<u8>)>, Vec<Option<Vec<u8>>>);

fn packets() -> [Vec<u8>; 4] {
    [cases::tcp(80, "S"), cases::ping(), cases::udp(53)[..40].to_vec(), cases::with_options(&cases::tcp(80, "A"), 24)]
}

/// The keys that a program may have written.
fn elements() -> Vec<(&'static str, Vec<u8>)> {
    let counts = (0..4u32).map(|key| ("counts", key.to_ne_bytes().to_vec()));
    let seen = (0..4u64).map(|key| ("seen", key.to_ne_bytes().to_vec()));
    let pairs = (0..16u32).map(|key| ("pairs", [(key & 3).to_ne_bytes(), (key >> 2).to_ne_bytes()].concat()));
    counts.chain(seen).chain(pairs).collect()
}

/// The end of a refusal with its log, a line a line.
fn ending(text: &str) -> String {
    let lines = text.replace("\\n", "\n");
    lines.chars().skip(lines.chars().count().saturating_sub(6000)).collect()
}

/// In the kernel.
fn in_kernel(module: &Module, profile: &Profile) -> Result<Left, TestCaseError> {
    let object = module.object(profile).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let spec = Spec::parse(&object.write().expect("it is written")).expect("it is well-formed");
    let loaded = loader::load(&spec, &LoadOptions::default())
        .map_err(|error| TestCaseError::fail(format!("{error}: {}", ending(&format!("{error:?}")))))?;
    let prog = loaded.prog("random").expect("it has the program");
    let runs = packets().map(|packet| {
        let run = prog.test_run(&packet, 1).expect("the kernel runs it");
        (run.retval, run.data_out)
    });
    let value = |(map, key): (&str, Vec<u8>)| loaded.map(map).ok()?.lookup(&key).expect("it can be read");
    Ok((runs.to_vec(), elements().into_iter().map(value).collect()))
}

/// In an interpreter: `run` runs one packet, `vm` has the maps.
fn left<M, E: std::fmt::Display>(
    machine: &mut M,
    run: impl Fn(&mut M, &[u8]) -> Result<PacketRun, E>,
    vm: impl Fn(&mut M) -> &mut Vm,
) -> Result<Left, TestCaseError> {
    let mut runs = Vec::new();
    for packet in packets() {
        let run = run(machine, &packet).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
        runs.push((run.verdict, run.packet));
    }
    let vm = vm(machine);
    let mut value = |(map, key): (&str, Vec<u8>)| {
        let (map, memory) = vm.map(map)?;
        let at = map.lookup(&key, 0)?;
        Some(memory.bytes(at, 8).expect("a value of eight bytes").to_vec())
    };
    let values = elements().into_iter().map(&mut value).collect();
    Ok((runs, values))
}

/// In the interpreter of instructions.
fn as_insns(module: &Module, profile: &Profile) -> Result<Left, TestCaseError> {
    let compiled = module.compile(profile).expect("it compiles");
    let functions: Vec<_> = compiled.iter().map(|one| (&*one.name, &one.code)).collect();
    let specs = module.ir().expect("it is recorded").map_specs();
    let mut vm = Vm::link(&functions, specs).expect("it is linked");
    left(&mut vm, |vm, packet| vm.run_xdp(packet, Host::default()), |vm| vm)
}

/// In the interpreter of the intermediate representation.
fn as_ir(ir: &ir::Module) -> Result<Left, TestCaseError> {
    let mut interp = Interp::new(ir).expect("it has a function");
    left(&mut interp, |interp, packet| interp.run_xdp(packet, Host::default()), Interp::vm)
}

fn same(tree: &[Stmt], part: u32) -> Result<(), TestCaseError> {
    let (module, profile) = (module(tree), Profile::linux_5_10());
    let kernel = in_kernel(&module, &profile)?;
    prop_assert_eq!(&as_insns(&module, &profile)?, &kernel, "instructions");
    // What passes do is the same on every kernel.
    if part == 1 { same_after_each_pass(&module, &profile, &kernel) } else { Ok(()) }
}

fn same_after_each_pass(module: &Module, profile: &Profile, kernel: &Left) -> Result<(), TestCaseError> {
    let mut ir = module.ir().expect("it is recorded");
    prop_assert_eq!(&as_ir(&ir)?, kernel, "as recorded: {}", ir.funcs[0]);
    let func = ir.funcs[0].clone();
    let mut outcome = Ok(());
    let told = optimize(&func, profile, &mut |pass, now| {
        ir.funcs[0] = now.clone();
        let judge = || {
            prop_assert_eq!(&as_ir(&ir)?, kernel, "after {}: {}", pass, now);
            Ok(())
        };
        if outcome.is_ok() {
            outcome = judge();
        }
    });
    told.map_err(|error| TestCaseError::fail(error.to_string()))?;
    outcome
}

#[test]
fn random_programs_load_and_do_the_same() {
    in_netns(|| {
        let number = |name: &str| std::env::var(name).ok()?.parse().ok();
        let part = number("DIFFERENTIAL_PART").unwrap_or(1);
        let cases = number("PROPTEST_CASES").unwrap_or(32) / part;
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = TestRunner::new(config);
        if let Err(error) = runner.run(&block(), |tree| same(&tree, part)) {
            panic!("{error}");
        }
    });
}
