//! A tour of the language: everything that it can say, once, as a program that runs.
//!
//! Input: two numbers, as arguments of an event. Output: what the same says in plain Rust, which stands beside it.
//! Read next: `ui.rs`, what the language refuses.

use asm::codegen::Profile;
use asm::dsl::prelude::*;
use asm::dsl::{Module, Program};
use asm::vm::Vm;

/// The numbers that each program is run with.
const PAIRS: [(u32, u32); 8] = [(0, 0), (1, 2), (2, 1), (5, 7), (7, 5), (300, 3), (u32::MAX, 1), (6, 6)];

/// Runs a program for the oldest and the newest kernels, beside its twin.
#[track_caller]
fn same(program: Program, twin: fn(u32, u32) -> u32) {
    let name = program.name();
    let module = Module::new("GPL").prog(program);
    for profile in [Profile::linux_5_10(), Profile::newest()] {
        let compiled = module.compile(&profile).unwrap_or_else(|error| panic!("{name}: {error}"));
        let functions: Vec<_> = compiled.iter().map(|one| (&*one.name, &one.code)).collect();
        let mut vm = Vm::link(&functions, Vec::new()).expect("it is linked");
        for (a, b) in PAIRS {
            let mut bytes = [0; 192];
            bytes[..4].copy_from_slice(&a.to_le_bytes());
            bytes[8..12].copy_from_slice(&b.to_le_bytes());
            let got = vm.run_on_bytes(&mut bytes).unwrap_or_else(|fault| panic!("{name}({a}, {b}): {fault}"));
            assert_eq!(got & 0xffff_ffff, u64::from(twin(a, b)), "{name}({a}, {b})");
        }
    }
}

/// An enum is a number with names.
#[derive(Clone, Copy, Layout)]
#[repr(u32)]
enum Color {
    Red,
    Green,
    Blue,
}

#[bpf_fn]
fn color(number: u32) -> Color {
    match number % 3 {
        0 => Color::Red,
        1 => Color::Green,
        _ => Color::Blue,
    }
}

#[raw_tracepoint("sys_enter")]
fn enums(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    match (color(a), b) {
        (Color::Red | Color::Green, 1..=5) => 1,
        (Color::Red, n) if n > 6 => n,
        (Color::Blue, _) => 3,
        _ => 4,
    }
}

#[test]
fn a_match_on_an_enum_has_or_patterns_ranges_and_guards() {
    same(enums(), |a, b| match (a % 3, b) {
        (0 | 1, 1..=5) => 1,
        (0, n) if n > 6 => n,
        (2, _) => 3,
        _ => 4,
    });
}

#[raw_tracepoint("sys_enter")]
fn ranges(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let mut sum = 0;
    for i in 1..=b {
        sum += i;
    }
    for i in 250..=255u8 {
        sum += i as u32;
    }
    for i in -2..=1i32 {
        sum += (i + 3) as u32 * 1000;
    }
    for _ in 3..=2u32 {
        sum += 1_000_000;
    }
    'rows: for row in 0..4u32 {
        for column in 0..=row {
            if column == 2 {
                continue 'rows;
            }
            if a == 7 && row == 3 {
                break 'rows;
            }
            sum += 10;
        }
    }
    sum
}

#[test]
fn ranges_may_include_their_end() {
    same(ranges(), |a, b| {
        let mut sum = (1..=b).sum::<u32>() + (250..=255).sum::<u32>() + (1 + 2 + 3 + 4) * 1000;
        'rows: for row in 0..4u32 {
            for column in 0..=row {
                if column == 2 {
                    continue 'rows;
                }
                if a == 7 && row == 3 {
                    break 'rows;
                }
                sum += 10;
            }
        }
        sum
    });
}

/// What may not be there.
#[bpf_fn]
fn halved(number: u32) -> Option<u32> {
    if number & 1 == 0 { Some(number >> 1) } else { None }
}

#[bpf_fn]
fn quartered(number: u32) -> Option<u32> {
    let half = halved(number)?;
    halved(half)
}

/// What may go wrong, three ways.
#[bpf_fn]
fn checked(number: u32, by: u32) -> Result<u32> {
    if by == 0 {
        return Err(Failure);
    }
    let Some(half) = halved(number) else { return Ok(number / by) };
    match half {
        3 => Err(Failure),
        n if n > 100 => Ok(7),
        n => Ok(n * by),
    }
}

#[raw_tracepoint("sys_enter")]
fn options(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let first = match quartered(a) {
        Some(quarter) => quarter + 1,
        None => 1000,
    };
    let mut second = 5;
    if let Some(value) = checked(a, b) {
        second = value;
    }
    halved(b);
    first + second
}

#[test]
fn functions_give_options_and_results() {
    same(options(), |a, b| {
        let halved = |n: u32| (n & 1 == 0).then_some(n >> 1);
        let checked = |n: u32, by: u32| match halved(n) {
            _ if by == 0 => None,
            None => Some(n / by),
            Some(3) => None,
            Some(half) if half > 100 => Some(7),
            Some(half) => Some(half.wrapping_mul(by)),
        };
        let first = halved(a).and_then(halved).map_or(1000, |n| n + 1);
        first.wrapping_add(checked(a, b).unwrap_or(5))
    });
}

#[subprog]
fn looked_up(a: u32, b: u32) -> Option<u16> {
    if a > b {
        return None;
    }
    Some((a + b) as u16)
}

#[raw_tracepoint("sys_enter", default = 9)]
fn fails(ctx: &mut RawTracepoint) -> Result<u32> {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let found = looked_up(a, b)?;
    let again = looked_up(b, a);
    let sum = match again {
        Some(same) => same as u32 * 100,
        None => 50,
    };
    Ok(found as u32 + sum)
}

#[test]
fn a_function_of_its_own_may_give_nothing() {
    #[expect(clippy::cast_possible_truncation, reason = "what the program does")]
    same(fails(), |a, b| {
        let looked_up = |a: u32, b: u32| (a <= b).then(|| a.wrapping_add(b) as u16);
        let Some(found) = looked_up(a, b) else { return 9 };
        u32::from(found) + looked_up(b, a).map_or(50, |same| u32::from(same) * 100)
    });
}

/// Two values and a value at once.
#[bpf_fn]
fn both(a: u32, b: u32) -> (u32, u8) {
    if a > b {
        return (a - b, 1);
    }
    (b - a, 0)
}

/// A number, so many steps further.
#[bpf_fn]
fn multiples<const TIMES: u32, const STEP: u32>(of: u32) -> u32 {
    #[bpf_fn]
    fn stepped<const BY: u32>(n: u32) -> u32 {
        n + BY
    }
    let mut last = of;
    for _ in 0..TIMES {
        last = stepped::<STEP>(last);
    }
    last
}

const LIMIT: u32 = limit(4);

const fn limit(bits: u32) -> u32 {
    (1 << bits) - 1
}

#[raw_tracepoint("sys_enter")]
fn functions(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let (distance, larger) = both(a, b);
    let multiple = multiples::<3, 5>(b);
    (distance & LIMIT) + larger as u32 * 100 + multiple * 1000
}

#[test]
fn functions_nest_and_have_const_generics_and_tuples() {
    same(functions(), |a, b| (a.abs_diff(b) & 15) + u32::from(a > b) * 100 + b.wrapping_add(15).wrapping_mul(1000));
}

#[raw_tracepoint("sys_enter")]
fn arrays(ctx: &mut RawTracepoint) -> u32 {
    let (a, b) = (ctx.arg::<0>() as u32, ctx.arg::<1>() as u32);
    let first: [u8; 4] = [1, 2, 3, 4];
    let chosen = if a > b { first } else { [5, 6, 7, 8] };
    let whole = Row { bytes: chosen, swapped: (b as u16).to_be(), pad: 0 };
    let mut turned = a.rotate_left(5) ^ b.rotate_right(3);
    turned = (turned << 3) >> 1;
    while turned > 1000 {
        turned /= 3;
        turned -= 1;
    }
    (whole.bytes[a & 3] as u32).wrapping_add(whole.swapped.get() as u32 * 10) + turned
}

/// A row of bytes and a number in network order.
#[derive(Layout)]
#[repr(C)]
struct Row {
    bytes: [u8; 4],
    swapped: Be16,
    pad: u16,
}

#[test]
fn arrays_bits_and_byte_order_are_as_in_rust() {
    #[expect(clippy::cast_possible_truncation, reason = "what the program does")]
    same(arrays(), |a, b| {
        let row: [u8; 4] = if a > b { [1, 2, 3, 4] } else { [5, 6, 7, 8] };
        let mut turned = ((a.rotate_left(5) ^ b.rotate_right(3)) << 3) >> 1;
        while turned > 1000 {
            turned = turned / 3 - 1;
        }
        u32::from(row[(a & 3) as usize]) + u32::from(b as u16) * 10 + turned
    });
}

/// The header behind IPv4's options, wherever it is.
#[bpf_fn]
fn transport<'a>(pkt: &mut Packet<'a>) -> Option<PktRef<'a, Udp>> {
    let eth = pkt.read::<Eth>()?;
    if eth.proto != ETH_IPV4 {
        return None;
    }
    let ip = pkt.read::<Ipv4>()?;
    pkt.skip(ip.options_len())?;
    if ip.protocol != UDP {
        return None;
    }
    Some(pkt.read::<Udp>()?)
}

#[xdp]
fn drops_dns(ctx: &mut Xdp) -> Action {
    let mut pkt = ctx.packet();
    let Some(udp) = transport(&mut pkt) else { return Action::Pass };
    if udp.dst == Be16::new(53) {
        udp.dst = Be16::new(54);
        return Action::Tx;
    }
    Action::Drop
}

#[test]
fn a_function_gives_a_header_of_the_packet() {
    let module = Module::new("GPL").prog(drops_dns());
    let compiled = module.compile(&Profile::linux_5_10()).unwrap_or_else(|error| panic!("{error}"));
    let functions: Vec<_> = compiled.iter().map(|one| (&*one.name, &one.code)).collect();
    let mut vm = Vm::link(&functions, Vec::new()).expect("it is linked");
    let packet = |proto: [u8; 2], ihl: u8, protocol: u8, port: u16| {
        let mut packet = vec![0u8; 14 + usize::from(ihl) * 4 + 8];
        packet[12..14].copy_from_slice(&proto);
        packet[14] = 0x40 | ihl;
        packet[23] = protocol;
        let at = 14 + usize::from(ihl) * 4 + 2;
        packet[at..at + 2].copy_from_slice(&port.to_be_bytes());
        packet
    };
    let mut run = |packet: &[u8]| {
        let run = vm.run_xdp(packet, asm::vm::Xdp::default()).unwrap_or_else(|fault| panic!("{fault}"));
        (run.verdict, run.packet)
    };
    let dns = packet([8, 0], 7, 17, 53);
    assert_eq!(run(&dns), (3, packet([8, 0], 7, 17, 54)));
    for (wrong, verdict) in [
        (packet([8, 0], 5, 17, 80), 1),
        (packet([8, 0], 5, 6, 53), 2),
        (packet([8, 6], 5, 17, 53), 2),
        (dns[..40].to_vec(), 2),
        (dns[..13].to_vec(), 2),
    ] {
        assert_eq!(run(&wrong).0, verdict, "{wrong:?}");
    }
}
