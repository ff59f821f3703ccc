//! The language of kernel programs, construct by construct: each program beside the same in plain Rust.
//!
//! Input: pairs of numbers, as two fields of a context. Output: the program's result in the interpreter, for every way in
//! which code can be generated. Read next: `ui.rs`, what the language refuses.

use asm::codegen::{Allocation, Profile};
use asm::dsl::prelude::*;
use asm::dsl::{Module, Program};
use asm::object::MapType;
use asm::vm::{MapSpec, Vm};

/// The two inputs: the first two arguments of the event.
fn context(a: u32, b: u32) -> [u8; 192] {
    let mut bytes = [0; 192];
    bytes[..4].copy_from_slice(&a.to_le_bytes());
    bytes[8..12].copy_from_slice(&b.to_le_bytes());
    bytes
}

const EDGES: [u32; 12] = [0, 1, 2, 5, 6, 7, 17, 31, 100, 0x7fff_ffff, 0x8000_0000, u32::MAX];

/// Runs the program on every pair, in every configuration, against its twin.
#[track_caller]
fn same(program: Program, twin: fn(u32, u32) -> u32) {
    let name = program.name();
    let module = Module::new("GPL").prog(program);
    let newest = Profile::newest();
    let configurations = [
        Profile::linux_5_10(),
        newest,
        Profile { passes: false, ..newest },
        Profile { allocation: Allocation::FewRegisters, ..newest },
        Profile { allocation: Allocation::SpillAll, ..Profile::linux_5_10() },
    ];
    for (number, profile) in configurations.iter().enumerate() {
        let compiled =
            module.compile(profile).unwrap_or_else(|error| panic!("{name}, configuration {number}: {error}"));
        let functions: Vec<_> = compiled.iter().map(|one| (&*one.name, &one.code)).collect();
        let mut vm = Vm::link(&functions, Vec::new()).expect("it is linked");
        for a in EDGES {
            for b in EDGES {
                let got = vm.run_on_bytes(&mut context(a, b));
                let got = got.unwrap_or_else(|fault| panic!("{name}, configuration {number}: {fault}"));
                let want = u64::from(twin(a, b));
                assert_eq!(got & 0xffff_ffff, want, "{name}({a}, {b}), configuration {number}");
            }
        }
    }
}

#[raw_tracepoint("sys_enter")]
fn arithmetic(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    (a + b) * 3 - (a / b) + (a % b) ^ (a << 3 | b >> 5) & !a
}

#[raw_tracepoint("sys_enter")]
fn shifts(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    (a << b) + (a >> b) + (a as i32 >> b) as u32 + a.rotate_left(b) + a.rotate_left(7)
}

#[raw_tracepoint("sys_enter")]
fn widths(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let byte = a as u8 + b as u8;
    let half = a as u16 * b as u16;
    let wide = (a as u64 * b as u64) >> 20;
    let signed = (a as i8) as i32 - (b as i16) as i32;
    byte as u32 + half as u32 + wide as u32 + signed as u32 + (a > b) as u32
}

#[test]
fn numbers_wrap_and_have_their_width() {
    same(arithmetic(), |a, b| {
        let quotient = a.checked_div(b).unwrap_or(0);
        let rest = a.checked_rem(b).unwrap_or(a);
        a.wrapping_add(b).wrapping_mul(3).wrapping_sub(quotient).wrapping_add(rest) ^ (a << 3 | b >> 5) & !a
    });
    same(shifts(), |a, b| {
        let arithmetic = a.cast_signed().wrapping_shr(b).cast_unsigned();
        let sum = a.wrapping_shl(b).wrapping_add(a.wrapping_shr(b)).wrapping_add(arithmetic);
        sum.wrapping_add(a.rotate_left(b)).wrapping_add(a.rotate_left(7))
    });
    #[expect(clippy::cast_possible_truncation, reason = "what the program does")]
    same(widths(), |a, b| {
        let byte = (a as u8).wrapping_add(b as u8);
        let half = (a as u16).wrapping_mul(b as u16);
        let wide = (u64::from(a) * u64::from(b)) >> 20;
        let signed = i32::from(a as i8) - i32::from(b as i16);
        let sum = u32::from(byte).wrapping_add(half.into()).wrapping_add(wide as u32);
        sum.wrapping_add(signed.cast_unsigned()).wrapping_add((a > b).into())
    });
}

#[raw_tracepoint("sys_enter")]
fn branches(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let mut sum = if a > 5 && (b < 7 || a == b) { 10 } else { 20 };
    if !(a == 1) || b != 2 {
        sum += 1;
    }
    let both = a > 2 && b > 2;
    if both {
        sum += 2;
    } else if a as i32 > b as i32 {
        sum += 4;
        if b == 0 {
            return sum;
        }
    } else {
        sum *= 2;
    }
    let last = if a == 7 { return 77 } else { a & 1 };
    sum + last
}

#[raw_tracepoint("sys_enter")]
fn matches(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let first = match a {
        0 => 1,
        1 | 2 => b + 2,
        5..=7 => 3,
        n if n == b => n + 4,
        n => n & 7,
    };
    let second = match (a, b) {
        (0, 0) => 100,
        (0, y) => y,
        (x, 1 | 2) => x + 1,
        _ => 200,
    };
    first + second
}

#[test]
fn conditions_choose_as_in_rust() {
    same(branches(), |a, b| {
        let mut sum = if a > 5 && (b < 7 || a == b) { 10 } else { 20 };
        if a != 1 || b != 2 {
            sum += 1;
        }
        if a > 2 && b > 2 {
            sum += 2;
        } else if a.cast_signed() > b.cast_signed() {
            sum += 4;
            if b == 0 {
                return sum;
            }
        } else {
            sum *= 2;
        }
        if a == 7 { 77 } else { sum + (a & 1) }
    });
    same(matches(), |a, b| {
        let first = match a {
            0 => 1,
            1 | 2 => b.wrapping_add(2),
            5..=7 => 3,
            n if n == b => n.wrapping_add(4),
            n => n & 7,
        };
        let second = match (a, b) {
            (0, 0) => 100,
            (0, y) => y,
            (x, 1 | 2) => x.wrapping_add(1),
            _ => 200,
        };
        first.wrapping_add(second)
    });
}

#[raw_tracepoint("sys_enter")]
fn loops(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let mut sum = 0;
    for i in 0..8 {
        if i == 3 {
            continue;
        }
        if i > a {
            break;
        }
        sum += i;
    }
    let mut left = b & 15;
    while left > 0 && sum < 100 {
        sum += left;
        left -= 1;
    }
    let mut turns = 0u32;
    'outer: loop {
        let mut inner = 0;
        while inner < 4 {
            if turns + inner == 6 {
                break 'outer;
            }
            inner += 2;
        }
        turns += 1;
    }
    sum * 10 + turns
}

#[test]
fn loops_turn_as_in_rust() {
    same(loops(), |a, b| {
        let mut sum = 0;
        for i in 0..8 {
            if i == 3 {
                continue;
            }
            if i > a {
                break;
            }
            sum += i;
        }
        let mut left = b & 15;
        while left > 0 && sum < 100 {
            sum += left;
            left -= 1;
        }
        sum * 10 + 4
    });
}

/// A number of times.
#[bpf_fn]
fn repeated<const TIMES: u32>(start: u32, step: u32) -> u32 {
    let mut sum = start;
    for _ in 0..TIMES {
        sum += step;
        if sum > 1000 {
            return 1000;
        }
    }
    sum
}

#[bpf_fn]
fn raise(value: u32) -> u32 {
    repeated::<3>(value, 2)
}

#[subprog]
fn greatest(a: u32, b: u32, c: u8) -> u32 {
    if a > b && a > c as u32 {
        return a;
    }
    b.max(c as u32)
}

#[raw_tracepoint("sys_enter")]
fn functions(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let one = greatest(a, b, 6);
    raise(one) + greatest(b & 3, 2, 1)
}

#[test]
fn functions_are_written_in_or_called() {
    fn raise(value: u32) -> u32 {
        let mut sum = value;
        for _ in 0..3 {
            sum = sum.wrapping_add(2);
            if sum > 1000 {
                return 1000;
            }
        }
        sum
    }
    same(functions(), |a, b| raise(a.max(b).max(6)) + (b & 3).max(2));
    let funcs = Module::new("GPL").prog(functions()).ir().expect("it is recorded").funcs;
    let names: Vec<_> = funcs.iter().map(|func| func.name.to_string()).collect();
    assert_eq!(names, ["functions", "greatest"], "a function of its own is recorded once");
}

/// Two numbers and a row.
#[derive(Layout)]
#[repr(C)]
struct Pair {
    wide: u64,
    narrow: u16,
    row: [u8; 6],
}

#[raw_tracepoint("sys_enter")]
fn structs(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let mut pair = Pair { wide: a as u64, narrow: b as u16, row: [1, 2, 3, 4, 5, 6] };
    pair.wide += 7;
    pair.row[2] = 30;
    pair.row[a & 3] += 1;
    let row = pair.row;
    let other = Pair { wide: pair.wide << 1, narrow: pair.narrow, row };
    let picked = match other.row.get(b & 7) {
        Some(element) => element as u32,
        None => 99,
    };
    other.wide as u32 + other.narrow as u32 + picked + other.row[0] as u32 * 256
}

#[test]
fn structs_lie_on_the_stack() {
    #[expect(clippy::cast_possible_truncation, reason = "what the program does")]
    same(structs(), |a, b| {
        let mut row = [1u8, 2, 30, 4, 5, 6];
        row[(a & 3) as usize] += 1;
        let wide = (u64::from(a) + 7) << 1;
        let picked = row.get((b & 7) as usize).map_or(99, |element| u32::from(*element));
        (wide as u32).wrapping_add(u32::from(b as u16)).wrapping_add(picked).wrapping_add(u32::from(row[0]) * 256)
    });
}

#[test]
fn lines_are_the_authors() {
    let compiled = Module::new("GPL").prog(loops()).compile(&Profile::newest()).expect("it compiles");
    let code = &compiled[0].code;
    assert!(code.lines.iter().all(|line| line.file.ends_with("tests/dsl.rs")), "{:?}", code.lines);
    let texts: Vec<_> = code.lines.iter().filter_map(|line| code.line_text(line)).collect();
    assert!(texts.iter().any(|text| text.trim() == "sum += left;"), "{texts:?}");
}

/// What user space is told.
#[derive(Layout)]
#[repr(C)]
struct Event {
    op: u32,
    family: u32,
}

#[map]
static EVENTS: RingBuf<4096> = map();

#[test]
fn a_record_that_is_forgotten_is_refused_with_its_place() {
    #[raw_tracepoint("sys_enter")]
    fn forgets(ctx: &mut RawTracepoint) -> u32 {
        let Some(event) = EVENTS.reserve::<Event>() else { return 0 };
        event.op = ctx.arg::<0>() as u32;
        if ctx.arg::<1>() as u32 == 2 {
            return 1;
        }
        event.submit();
        0
    }
    #[raw_tracepoint("sys_enter")]
    fn remembers(ctx: &mut RawTracepoint) -> u32 {
        let Some(event) = EVENTS.reserve::<Event>() else { return 0 };
        event.op = ctx.arg::<0>() as u32;
        if ctx.arg::<1>() as u32 == 2 {
            event.discard();
            return 1;
        }
        event.submit();
        0
    }
    let error = Module::new("GPL").prog(forgets()).ir().expect_err("one path forgets it").to_string();
    assert!(error.contains("asm/tests/dsl.rs:") && error.contains("this record is forgotten"), "{error}");
    Module::new("GPL").prog(remembers()).ir().expect("no path forgets it");
}

#[test]
fn an_index_that_may_be_too_large_is_refused_with_its_place() {
    #[raw_tracepoint("sys_enter")]
    fn outside(ctx: &mut RawTracepoint) -> u32 {
        let pair = Pair { wide: 0, narrow: 0, row: [0; 6] };
        pair.row[ctx.arg::<0>() as u32] as u32
    }
    let error = Module::new("GPL").prog(outside()).ir().expect_err("4294967295 is no index").to_string();
    assert!(
        error.contains("asm/tests/dsl.rs:") && error.contains("an index of up to 4294967295 into an array of 6"),
        "{error}"
    );
}

/// Why not: two of them.
#[derive(Clone, Copy, Layout)]
#[repr(u32)]
enum Why {
    Zero = 100,
    Large = 200,
}

#[bpf_fn]
fn halves(a: u32, limit: u32) -> Result<(u32, u64), Why> {
    if a == 0 {
        return Err(Why::Zero);
    }
    if a > limit { Err(Why::Large) } else { Ok((a / 2, (a % 2) as u64)) }
}

#[bpf_fn]
fn both_halves(a: u32, b: u32) -> Result<u32, Why> {
    let (half, rest) = halves(a, 1000u32)?;
    let (other, more) = halves(b, half)?;
    Ok(half * 3 + other + (rest * 7 + more) as u32)
}

#[bpf_fn]
fn only_fails(a: u32) -> Result<(), u32> {
    Err(a + 1)
}

#[raw_tracepoint("sys_enter")]
fn results(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let sum = match both_halves(a, b) {
        Ok(sum) => sum,
        Err(why) => why as u32 + 1,
    };
    match both_halves(b, a) {
        Ok(other) => return sum + other,
        Err(_) => {}
    }
    match only_fails(b) {
        Ok(()) => sum,
        Err(next) => sum * 2 + next,
    }
}

#[test]
fn functions_give_results_with_reasons() {
    fn both(a: u32, b: u32) -> Result<u32, u32> {
        let halves = |a: u32, limit: u32| match a {
            0 => Err(100u32),
            _ if a > limit => Err(200),
            _ => Ok((a / 2, a % 2)),
        };
        let (half, rest) = halves(a, 1000)?;
        let (other, more) = halves(b, half)?;
        Ok(half * 3 + other + rest * 7 + more)
    }
    same(results(), |a, b| {
        let sum = both(a, b).unwrap_or_else(|why| why + 1);
        both(b, a).map_or_else(|_| (sum * 2).wrapping_add(b.wrapping_add(1)), |other| sum + other)
    });
}

/// What is under a key, or why not.
#[bpf_fn]
fn found(key: u32) -> Result<ValRef<u64>, u32> {
    if key > 9 {
        return Err(9);
    }
    let first = FEW.get(&key).ok_or(7u32)?;
    if *first == 0 {
        return Ok(FEW.get(&(key + 1)).ok_or(8u32)?);
    }
    Ok(first)
}

#[map]
static FEW: HashMap<u32, u64, 16> = map();

#[test]
fn functions_give_references_with_reasons() {
    #[raw_tracepoint("sys_enter")]
    fn references(ctx: &mut RawTracepoint) -> u32 {
        match found(ctx.arg::<0>() as u32) {
            Ok(place) => {
                *place += 1;
                *place as u32
            }
            Err(why) => why,
        }
    }
    for (key, there, want) in [(10, None, 9), (3, None, 7), (3, Some((3, 5)), 6), (3, Some((3, 0)), 8)] {
        let compiled = Module::new("GPL").prog(references()).compile(&Profile::linux_5_10()).expect("it compiles");
        let few = MapSpec { name: "few".into(), map_type: MapType::HASH, key_size: 4, value_size: 8, max_entries: 16 };
        let mut vm = Vm::link(&[("references", &compiled[0].code)], vec![few]).expect("it is linked");
        if let Some((key, value)) = there {
            let (map, memory) = vm.map("few").expect("it has the map");
            map.update(memory, &u32::to_le_bytes(key), &u64::to_le_bytes(value), 0, None).expect("it fits");
        }
        assert_eq!(vm.run_on_bytes(&mut context(key, 0)).expect("it runs"), want, "{key}, {there:?}");
    }
}
