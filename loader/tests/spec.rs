//! Objects read into specs: what people see, what is refused and in which words, and that no bytes make it panic.

mod common;

use asm::insn::Insn;
use common::raw::{DATA, Elf, FUNC, OBJECT, R_64_32, R_64_64, SECTION};
use loader::Spec;
use loader::reloc::link;
use loader::spec::{InitValue, MapOrigin, Pinning, RelocKind};
use proptest::prelude::*;
use proptest::sample::Index;

const EXIT: Insn = Insn::new(0x95, 0, 0, 0, 0);

#[test]
fn a_whole_object_as_text() {
    insta::assert_snapshot!(Spec::parse(&common::sample().write().unwrap()).unwrap());
}

#[test]
fn external_symbols_as_text() {
    insta::assert_snapshot!(Spec::parse(&common::externs().write().unwrap()).unwrap());
}

#[test]
fn the_same_bytes_give_the_same_spec() {
    let bytes = common::sample().write().unwrap();
    let [a, b] = [0, 1].map(|_| Spec::parse(&bytes).unwrap().to_string());
    assert_eq!(a, b);
}

#[test]
fn maps_hold_what_the_object_says() {
    let spec = Spec::parse(&common::sample().write().unwrap()).unwrap();
    let hits = spec.map("hits").unwrap();
    assert_eq!((hits.key_size, hits.value_size, hits.max_entries, hits.flags), (4, 8, 16, 1));
    assert_eq!(hits.pinning, Pinning::ByName);
    let one = spec.maps.iter().position(|map| map.name == "one").unwrap();
    assert_eq!(spec.map("table").unwrap().init, [(2, InitValue::Map(one))]);
    assert_eq!(spec.map("table").unwrap().inner.as_ref().map(|inner| inner.value_size), Some(8));
    let second = spec.progs.iter().position(|prog| prog.name == "second").unwrap();
    assert_eq!(spec.map("next").unwrap().init, [(1, InitValue::Prog(second))]);
    let rodata = spec.map(".rodata").unwrap();
    assert_eq!((rodata.origin, rodata.contents.as_deref()), (MapOrigin::Rodata, Some(&[9, 0, 0, 0][..])));
    assert_eq!(spec.map(".bss").unwrap().contents, None);
}

/// Two programs in one section with a static function between them, which is called without a relocation; and a call
/// through the section's symbol, as compilers write it for static functions elsewhere.
fn statics() -> Elf {
    let mut elf = Elf::default();
    let call = |imm| Insn::new(0x85, 0, 1, 0, imm);
    let xdp = elf.code("xdp", &[call(1), EXIT, EXIT, call(0), EXIT]);
    let text = elf.code(".text", &[EXIT, EXIT]);
    elf.section("license", DATA, "GPL\0");
    elf.symbol("a", FUNC, true, xdp, 0, 16);
    elf.symbol("helper", FUNC, false, xdp, 16, 8);
    elf.symbol("b", FUNC, true, xdp, 24, 16);
    elf.symbol("f", FUNC, false, text, 0, 8);
    elf.symbol("g", FUNC, false, text, 8, 8);
    let section = elf.symbol("", SECTION, false, text, 0, 0);
    // The constant is one less than the instruction's number: the second instruction of `.text`.
    elf.relocations(xdp, &[(24, section, R_64_32)]);
    elf
}

#[test]
fn static_functions_and_section_symbols() {
    let spec = Spec::parse(&statics().write()).unwrap();
    assert_eq!(spec.progs.iter().map(|prog| prog.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let name = |kind| match kind {
        RelocKind::Call(func) => spec.funcs[func].name.clone(),
        other => format!("{other:?}"),
    };
    let calls: Vec<_> =
        spec.funcs.iter().flat_map(|f| f.relocs.iter().map(|r| (f.name.as_str(), name(r.kind)))).collect();
    assert_eq!(calls, [("a", "helper".to_owned()), ("b", "g".to_owned())]);
}

#[test]
fn legacy_maps() {
    let mut elf = Elf::default();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let plain = words(&[1, 4, 8, 16, 1]);
    // iproute2's: a map of maps whose inner map is the definition with id 7.
    let outer = words(&[12, 4, 4, 2, 0, 1, 2, 7, 0]);
    let inner = words(&[2, 4, 8, 1, 0, 7, 0, 0, 0]);
    let maps = elf.section("maps", DATA, [plain, outer, inner].concat());
    let xdp = elf.code("xdp", &[Insn::new(0x18, 1, 0, 0, 0), Insn::default(), EXIT]);
    let hits = elf.symbol("hits", OBJECT, true, maps, 0, 20);
    elf.symbol("outer", OBJECT, true, maps, 20, 36);
    elf.symbol("inner", OBJECT, true, maps, 56, 36);
    elf.symbol("prog", FUNC, true, xdp, 0, 24);
    elf.relocations(xdp, &[(0, hits, R_64_64)]);
    let spec = Spec::parse(&elf.write()).unwrap();
    insta::assert_snapshot!(spec);
}

#[test]
fn what_is_refused_and_how() {
    let reloc = |insn: Insn, symbol: fn(&mut Elf) -> u32, kind| {
        let mut elf = Elf::default();
        let xdp = elf.code("xdp", &[insn, Insn::default(), EXIT]);
        elf.symbol("prog", FUNC, true, xdp, 0, 24);
        let symbol = symbol(&mut elf);
        elf.relocations(xdp, &[(0, symbol, kind)]);
        elf
    };
    let ld = Insn::new(0x18, 1, 0, 0, 0);
    let undefined: fn(&mut Elf) -> u32 = |elf| elf.symbol("missing", 0, true, 0, 0, 0);
    let data: fn(&mut Elf) -> u32 = |elf| {
        let section = elf.section(".data", DATA, [0; 8]);
        elf.symbol("var", OBJECT, true, section, 64, 8)
    };
    let other: fn(&mut Elf) -> u32 = |elf| {
        let section = elf.section("notes", DATA, [0; 8]);
        elf.symbol("note", OBJECT, true, section, 0, 8)
    };
    let bss = {
        let mut elf = Elf::default();
        elf.bss(".bss", 1 << 40);
        elf
    };
    let overlap = {
        let mut elf = Elf::default();
        let xdp = elf.code("xdp", &[EXIT, EXIT]);
        elf.symbol("a", FUNC, true, xdp, 0, 16);
        elf.symbol("b", FUNC, true, xdp, 8, 8);
        elf
    };
    let outside = {
        let mut elf = Elf::default();
        let xdp = elf.code("xdp", &[EXIT]);
        elf.symbol("a", FUNC, true, xdp, 0, 800);
        elf
    };
    let btf_maps = {
        let mut elf = Elf::default();
        elf.section(".maps", DATA, [0; 32]);
        elf
    };
    let with = |bytes: &[(usize, u8)]| {
        let mut file = statics().write();
        bytes.iter().for_each(|&(at, byte)| file[at] = byte);
        file
    };
    let rows: [(&str, Vec<u8>, &str); 14] = [
        ("empty", vec![], "not an ELF object"),
        ("text", b"#!/bin/sh\n".to_vec(), "not an ELF object"),
        ("only a header", Elf::default().write()[..64].to_vec(), "the section header table at file offset"),
        ("nothing in it", Elf::default().write(), "neither programs nor maps"),
        ("another machine", with(&[(18, 62)]), "e_machine is 62, want 247"),
        ("32 bits", with(&[(4, 1)]), "EI_CLASS"),
        ("undefined symbol", reloc(ld, undefined, R_64_64).write(), "(symbol `missing`): the symbol is not defined"),
        ("not an address", reloc(EXIT, undefined, R_64_64).write(), "only `call` and `ld_imm64`"),
        ("outside of data", reloc(ld, data, R_64_64).write(), "section `xdp`, offset 0x0 (symbol `var`): the address"),
        ("unknown section", reloc(ld, other, R_64_64).write(), "neither data"),
        ("unknown relocation", reloc(ld, data, 77).write(), "relocation type 77"),
        ("too much data", bss.write(), "less than 4 GiB"),
        ("functions overlap", overlap.write(), "(symbol `b`): it overlaps"),
        ("maps without types", btf_maps.write(), "no section `.BTF`"),
    ];
    for (name, bytes, want) in rows {
        let error = Spec::parse(&bytes).expect_err(name).to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
    let error = Spec::parse(&outside.write()).unwrap_err().to_string();
    assert!(error.contains("past the section's end"), "{error}");
}

/// Whatever the bytes are, reading them ends, and what was read can be printed and linked.
fn survive(bytes: &[u8]) {
    let Ok(spec) = Spec::parse(bytes) else { return };
    let _ = spec.to_string();
    for prog in &spec.progs {
        let _ = link(&spec, prog);
    }
}

fn samples() -> Vec<Vec<u8>> {
    vec![
        common::sample().write().expect("our own object"),
        common::externs().write().expect("our own object"),
        statics().write(),
    ]
}

proptest! {
    #[test]
    fn cut_short(which: Index, at: Index) {
        let samples = samples();
        let bytes = which.get(&samples);
        survive(&bytes[..at.index(bytes.len())]);
    }

    #[test]
    fn flipped(which: Index, flips in prop::collection::vec((any::<Index>(), 0_u8..8), 1..12)) {
        let mut bytes = which.get(&samples()).clone();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        survive(&bytes);
    }

    #[test]
    fn overwritten(which: Index, words in prop::collection::vec((any::<Index>(), any::<u32>()), 1..6)) {
        let mut bytes = which.get(&samples()).clone();
        for (at, word) in words {
            let at = at.index(bytes.len() / 4) * 4;
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        survive(&bytes);
    }
}

/// Other people's objects, where there are some: the files and directories in `FOREIGN_OBJECTS_DIR`.
#[test]
fn foreign_objects_are_read_whole_and_survive_damage() {
    let Some(paths) = std::env::var_os("FOREIGN_OBJECTS_DIR") else { return };
    for (name, bytes) in common::foreign(&paths) {
        let spec = Spec::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!spec.to_string().is_empty(), "{name}");
        for at in (0..bytes.len()).step_by(bytes.len() / 64 + 1) {
            survive(&bytes[..at]);
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x81;
            survive(&flipped);
        }
    }
}
