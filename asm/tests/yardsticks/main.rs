//! Thirteen small programs, and how many slots they take: `../golden/codegen/size.txt`, beside what clang needs.

mod programs;

use std::fmt::Write as _;

use asm::codegen::{Compiled, Profile, compile_func};
use asm::insn::Op;

/// Slots of `clang-22 -O2 -mcpu=v3` for the same program.
const CLANG: [(&str, usize); 13] = [
    ("count", 12),
    ("drop-port", 27),
    ("icmp-echo", 80),
    ("ipip-decap", 121),
    ("ipv6-ext", 154),
    ("lpm-acl", 41),
    ("maglev", 234),
    ("ratelimit", 49),
    ("ringbuf", 43),
    ("sk-msg", 19),
    ("sockops", 22),
    ("synflood", 78),
    ("tiny", 39),
];

fn compiled() -> Vec<(&'static str, Compiled)> {
    let one = |(name, func)| {
        let done = compile_func(&func, &[], &Profile::linux_5_10()).unwrap_or_else(|error| panic!("{error}\n{func}"));
        (name, done)
    };
    programs::all().into_iter().map(one).collect()
}

/// The instructions of a program, one a line.
fn listing(compiled: &Compiled) -> String {
    let insns = &compiled.code.insns;
    let (mut text, mut at) = (String::new(), 0);
    while at < insns.len() {
        let (op, slots) = Op::decode_lenient(&insns[at..]).expect("whole instructions");
        let name = compiled.code.relocs.iter().find(|reloc| reloc.at.index() == at).map(|reloc| reloc.kind.name());
        let name = name.map(|name| format!(" ; {name}")).unwrap_or_default();
        writeln!(text, "{at:4}: {op}{name}").expect("text takes all");
        at += slots;
    }
    text
}

#[test]
fn no_program_is_larger_than_clangs() {
    let mut table = String::from("program slots clang ratio\n");
    let mut product = 1.0;
    let mut larger = Vec::new();
    for ((name, compiled), (same, clang)) in compiled().into_iter().zip(CLANG) {
        assert_eq!(name, same);
        let slots = compiled.code.insns.len();
        if slots > clang {
            larger.push(name);
        }
        let ratio = f64::from(u32::try_from(slots).unwrap()) / f64::from(u32::try_from(clang).unwrap());
        product *= ratio;
        writeln!(table, "{name} {slots} {clang} {ratio:.2}").unwrap();
        if std::env::var("SHOW").is_ok_and(|show| show == name || show == "all") {
            println!("{name}:\n{}", listing(&compiled));
        }
    }
    let mean = product.powf(1.0 / 13.0);
    writeln!(table, "geometric mean {mean:.3}").unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/codegen/size.txt");
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(table, std::fs::read_to_string(path).unwrap_or_default(), "UPDATE_GOLDEN=1 writes the new table");
    assert!(larger.is_empty() && mean <= 0.9, "{larger:?} are larger than clang's\n{table}");
}

/// A number that stands for the bytes of the code: FNV-1a (Fowler, Noll, Vo).
fn fingerprint(compiled: &Compiled) -> u64 {
    let bytes = compiled.code.insns.iter().flat_map(|insn| insn.to_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The same bytes each time, in each process, whatever cargo's profile: `../golden/codegen/code.txt`.
#[test]
fn code_is_the_same_to_the_last_byte() {
    let table = || {
        let mut table = String::from("program 5.10 newest\n");
        for (name, func) in programs::all() {
            let of = |profile| fingerprint(&compile_func(&func, &[], &profile).expect("it compiles"));
            writeln!(table, "{name} {:016x} {:016x}", of(Profile::linux_5_10()), of(Profile::newest())).unwrap();
        }
        table
    };
    let first = table();
    assert_eq!(first, table(), "a second time in this process");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/codegen/code.txt");
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(path, &first).unwrap();
    }
    assert_eq!(first, std::fs::read_to_string(path).unwrap_or_default(), "UPDATE_GOLDEN=1 writes the new table");
}
