//! Properties of the codecs: what is written is read back the same, and nothing that comes in makes them panic.

#[path = "../fuzz/bodies/decode.rs"]
mod decode;
mod samples;
#[path = "../fuzz/bodies/text.rs"]
mod text;

use asm::insn::{Insn, Op};
use proptest::prelude::*;

/// Words of which many mean something: an opcode of the table with small fields, or eight arbitrary bytes.
fn word() -> impl Strategy<Value = [u8; 8]> {
    let codes: Vec<u8> = (0..=255).filter(|code| Op::decode(&[Insn::new(*code, 0, 0, 0, 0); 2]).is_ok()).collect();
    let likely = (proptest::sample::select(codes), 0u8..12, 0u8..12, -4i16..12, -300i32..300);
    prop_oneof![
        4 => likely.prop_map(|(code, dst, src, off, imm)| Insn::new(code, dst, src, off, imm).to_bytes()),
        4 => proptest::sample::select(samples::samples()).prop_map(|op| op.encode()[0].to_bytes()),
        1 => any::<[u8; 8]>(),
    ]
}

/// Pieces of which texts are made that come close to being right.
const PIECES: &[&str] = &[
    "r0",
    "r1",
    "w2",
    "r10",
    "r11",
    "=",
    "+=",
    "-=",
    "s>>=",
    "s",
    ">>=",
    "<",
    "&",
    "*",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "u8",
    "u32 *",
    "u64",
    "s16",
    "if",
    "goto",
    "gotol",
    "may_goto",
    "call",
    "exit",
    "lock",
    "ll",
    "map",
    "fd",
    "idx",
    "btf",
    "id",
    "subprog",
    "pc",
    "kfunc",
    "1",
    "0x10",
    "-1",
    "18446744073709551615",
    "1b",
    "1f",
    "1:",
    "a:",
    "a",
    "out",
    "\n",
    " ",
    "#",
    ";",
    "//",
    "/*",
    "*/",
    "\"",
    "'",
    "\\",
    "%",
    "%r1",
    "mov",
    "ldxw",
    "stxdw",
    "jeq",
    "be16",
    "bswap64",
    "skb",
    "atomic_fetch_add",
    "xchg_64",
    "load_acquire",
    "store_release",
    "addr_space_cast",
    "ld_pseudo",
    ".section",
    "xdp",
    ".text",
    ".data",
    ".bss",
    ".rodata",
    ".globl",
    ".equ",
    ".license",
    ".map",
    "hash",
    "key",
    "value",
    "max_entries",
    "inner",
    ".struct",
    ".union",
    ".enum",
    ".typedef",
    ".func",
    "static",
    "->",
    ".extern",
    "var",
    "func",
    "weak",
    ".var",
    ".byte",
    ".quad",
    ".ascii",
    ".zero",
    ".balign",
    ".p2align",
    ".file",
    ".loc",
    ".insn",
    "sizeof",
    "A.b",
    "A",
    "~",
    "<<",
    "|",
    "é",
];

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        9 => proptest::sample::select(PIECES).prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|n| n.to_string()),
    ];
    let joined = proptest::collection::vec((piece, proptest::sample::select(vec!["", " ", " ", " ", "\n"])), 0..60);
    prop_oneof![
        8 => joined.prop_map(|pieces| pieces.into_iter().map(|(piece, gap)| piece + gap).collect()),
        1 => any::<String>(),
    ]
}

/// A right text in which some bytes are changed, taken out or doubled.
fn mutated() -> impl Strategy<Value = String> {
    let files = [include_str!("golden/text/lb.s"), include_str!("golden/text/errors.s")];
    let edit = (any::<proptest::sample::Index>(), 0usize..40, proptest::sample::select(PIECES));
    (proptest::sample::select(files.to_vec()), proptest::collection::vec(edit, 1..8)).prop_map(|(file, edits)| {
        let mut text: Vec<char> =
            file.lines().filter(|l| !l.starts_with("#>")).flat_map(|l| l.chars().chain(['\n'])).collect();
        for (at, len, piece) in edits {
            let at = at.index(text.len());
            let end = (at + len).min(text.len());
            text.splice(at..end, piece.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_word_survives_decoding_and_printing(words in proptest::collection::vec(word(), 1..20)) {
        decode::decode(&words.concat());
    }

    #[test]
    fn no_text_makes_the_assembler_panic(text in any_text()) {
        text::text(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_mistake_in_a_file_makes_the_assembler_panic(text in mutated()) {
        text::text(&text);
    }
}

#[test]
fn hostile_texts_end_early() {
    for text in [
        ".data\nx: .zero 0xffffffffffff",
        ".bss\n.var v: u8[0xffffffff]",
        ".bss\n.var v: u64[0xffffffff][0xffffffff]",
        ".var v: ****************************************************************u8",
        &format!("r0 = {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        &format!("r0 = {}1", "-".repeat(100_000)),
        &format!(".equ a, {}1", "~".repeat(100_000)),
        &"x".repeat(1_000_000),
        &"?\n".repeat(100_000),
        &"a:\n".repeat(10_000),
        ".p2align 63",
        ".data\n.balign 4096\n.p2align 31",
        ".map m: hash { slots: [",
        ".struct S {",
        &(0..40).map(|n| format!(".section .data.s{n}\n.zero 0x3ffffff\n")).collect::<String>(),
    ] {
        text::text(text);
    }
}
