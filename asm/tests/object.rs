//! Object files from outside: what two ELF readers see, what people see, and what is refused.

mod common;

use asm::btf::{Btf, BtfExt, LineInfo, Refused, SectionInfo};
use asm::insn::{Builder, Code, InsnIdx, LineRec, R0, R1, Source};
use asm::object::{Error, ExternDef, GlobalDef, MapDef, MapType, Object, Pinning, ProgDef, Ty};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget};
use proptest::collection::vec;
use proptest::prelude::*;

/// A program with lines of a known text, so that the dump does not depend on where this file lies.
fn sourced() -> Code {
    let mut b = Builder::new();
    b.map(R1, "hits");
    b.imm64(R0, 1 << 40);
    b.call_fn("tail");
    b.exit();
    let mut code = b.finish().expect("whole");
    let file = "demo.rs";
    let line = |at, line, col| LineRec { at: InsnIdx(at), file: file.into(), line, col };
    code.lines = vec![line(2, 2, 5), line(4, 3, 5)];
    code.sources = vec![Source::new(file, "fn demo() {\n    r0 = 1 << 40;\n    tail()\n}\n")];
    code
}

/// An object small enough to be read whole.
fn demo() -> Object {
    let mut tail = common::answer(0);
    tail.lines.clear();
    Object::new("GPL")
        .map(
            MapDef::new("hits", MapType::HASH)
                .key_of::<common::VipKey>()
                .value_of::<u64>()
                .max_entries(16)
                .pinning(Pinning::ByName),
        )
        .rodata("limit", Ty::of::<u32>(), &[9, 0, 0, 0])
        .bss("seen", Ty::of::<[u64; 2]>())
        .external(ExternDef::ksym("jiffies", Ty::void()).weak())
        .prog(ProgDef::new("xdp", "demo", sourced()))
        .prog(ProgDef::subprog("tail", tail))
}

/// Everything in a file, as text: sections, symbols, relocations, types, functions, lines.
fn dump(bytes: &[u8]) -> String {
    let file = object::File::parse(bytes).expect("an ELF file");
    let mut out = vec![format!("{:?} {:?} {:?}", file.architecture(), file.endianness(), file.kind())];
    for s in file.sections() {
        out.push(format!(
            "section {:<10} {:>4} bytes, align {}, {:?}",
            s.name().unwrap_or("?"),
            s.size(),
            s.align(),
            s.flags()
        ));
        for (at, r) in s.relocations() {
            let RelocationTarget::Symbol(to) = r.target() else { continue };
            let to = file.symbol_by_index(to).and_then(|s| s.name()).unwrap_or("?");
            out.push(format!("  at {at:#x} {:?} {to}", r.flags()));
        }
    }
    for s in file.symbols() {
        let (name, at, size) = (s.name().unwrap_or("?"), s.address(), s.size());
        let scope = if s.is_local() { "local" } else { "global" };
        out.push(format!("symbol {name:<8} at {at:#x}, {size} bytes, {:?}, {scope}, weak {}", s.kind(), s.is_weak()));
    }
    let section = |name| file.section_by_name(name).and_then(|s| s.data().ok()).unwrap_or_default();
    let btf = Btf::parse(section(".BTF")).expect("types");
    out.push(btf.to_string());
    let ext = BtfExt::parse(section(".BTF.ext")).expect("functions and lines");
    for SectionInfo { section, records } in &ext.funcs {
        for f in records {
            let name = btf.name(f.ty).unwrap_or("?");
            out.push(format!(
                "func {} at {:#x}: {} {name}",
                btf.string(*section).unwrap_or_default(),
                f.insn_off,
                f.ty
            ));
        }
    }
    for SectionInfo { section, records } in &ext.lines {
        for LineInfo { insn_off, file, text, line, col } in records {
            let [section, file, text] = [*section, *file, *text].map(|at| btf.string(at).unwrap_or_default());
            out.push(format!("line {section} at {insn_off:#x}: {file}:{line}:{col}: {text:?}"));
        }
    }
    out.join("\n")
}

#[test]
fn an_object_reads_as_it_was_meant() {
    insta::assert_snapshot!(dump(&demo().write().unwrap()));
}

#[test]
fn built_twice_same_bytes() {
    assert_eq!(demo().write().unwrap(), demo().write().unwrap());
    assert_eq!(common::everything().write().unwrap(), common::everything().write().unwrap());
}

/// The crate that wrote the file and one that had no part in it see the same sections, symbols and relocations; how many
/// relocations they see.
fn assert_two_readers_agree(bytes: &[u8]) -> usize {
    let one = object::File::parse(bytes).expect("an ELF file");
    let two = goblin::elf::Elf::parse(bytes).expect("an ELF file");
    assert_eq!((two.header.e_machine, two.header.e_type), (247, 1), "EM_BPF, ET_REL");
    assert!(two.little_endian && two.is_64);

    let name = |at| two.shdr_strtab.get_at(at).unwrap_or("?");
    let data = |s: &goblin::elf::SectionHeader| bytes.get(s.file_range().unwrap_or(0..0)).unwrap_or_default();
    let ours = one.sections().map(|s| (s.name().unwrap_or("?"), s.size(), s.align(), s.data().unwrap_or_default()));
    let theirs = two.section_headers.iter().skip(1).map(|s| (name(s.sh_name), s.sh_size, s.sh_addralign, data(s)));
    assert!(ours.eq(theirs), "sections differ");

    let place = |s: &object::Symbol<'_, '_>| s.section_index().map_or(0, |s| s.0);
    let ours = one.symbols().map(|s| (s.name().unwrap_or("?"), s.address(), s.size(), place(&s)));
    let symbol = |s: goblin::elf::Sym| (two.strtab.get_at(s.st_name).unwrap_or("?"), s.st_value, s.st_size, s.st_shndx);
    assert!(ours.eq(two.syms.iter().skip(1).map(symbol)), "symbols differ");

    let mut ours = Vec::new();
    for section in one.sections() {
        for (at, reloc) in section.relocations() {
            if let (RelocationTarget::Symbol(to), RelocationFlags::Elf { r_type }) = (reloc.target(), reloc.flags()) {
                ours.push((section.index().0, at, to.0, r_type.0));
            }
        }
    }
    let of = |place: usize| two.section_headers[place].sh_info as usize;
    let each = |place, r: goblin::elf::Reloc| (of(place), r.r_offset, r.r_sym, r.r_type);
    let theirs = two.shdr_relocs.iter().flat_map(|(place, all)| all.iter().map(|r| each(*place, r)));
    assert_eq!(ours, theirs.collect::<Vec<_>>());
    ours.len()
}

#[test]
fn two_readers_agree() {
    let relocations = assert_two_readers_agree(&common::everything().write().unwrap());
    assert_eq!(relocations, 4 + 2 + 2, "relocations of `balance`, of `count`, and of two map slots");
}

/// A global variable: which section, bytes, alignment.
type AnyGlobal = (&'static str, Vec<u8>, u32);
/// A function: which section, how many instructions, what its last but one names.
type AnyProg = (&'static str, usize, (u8, prop::sample::Index));

/// Any object: maps `m0`…, variables `g0`…, functions `p0`….
fn any_object() -> impl Strategy<Value = (usize, Vec<AnyGlobal>, Vec<AnyProg>)> {
    let section = prop::sample::select(vec![".rodata", ".data", ".bss", ".data.x", ".rodata.y"]);
    let global = (section, vec(any::<u8>(), 1..40), prop::sample::select(vec![1u32, 2, 4, 8, 16, 64]));
    let section = prop::sample::select(vec!["xdp", "tc", ".text", "fentry/x"]);
    (0..4usize, vec(global, 0..6), vec((section, 1..20usize, (0..4u8, any::<prop::sample::Index>())), 1..6))
}

proptest! {
    #[test]
    fn any_object_reads_as_it_was_meant((maps, globals, progs) in any_object()) {
        let build = || {
            let mut o = Object::new("GPL");
            for n in 0..maps {
                o = o.map(MapDef::new(&format!("m{n}"), MapType::HASH).key(Ty::bytes(4)).value_of::<u64>().max_entries(9));
            }
            for (n, (section, bytes, align)) in globals.iter().enumerate() {
                let ty = Ty::bytes(u32::try_from(bytes.len()).unwrap());
                let bytes = if *section == ".bss" { &[][..] } else { bytes };
                o = o.global(GlobalDef::new(section, &format!("g{n}"), ty, bytes).align(*align));
            }
            for (n, (section, len, (what, which))) in progs.iter().enumerate() {
                let mut b = Builder::new();
                (0..*len).for_each(|_| b.mov(R0, 1));
                match what {
                    1 if maps > 0 => b.map(R1, format!("m{}", which.index(maps))),
                    2 if !globals.is_empty() => b.map_value(R1, format!("g{}", which.index(globals.len())), 0),
                    3 if progs[which.index(progs.len())].0 == ".text" => b.call_fn(format!("p{}", which.index(progs.len()))),
                    _ => {}
                }
                b.exit();
                let (name, code) = (format!("p{n}"), b.finish().unwrap());
                o = o.prog(if *section == ".text" { ProgDef::subprog(&name, code) } else { ProgDef::new(section, &name, code) });
            }
            o.write().unwrap()
        };
        let bytes = build();
        prop_assert_eq!(&bytes, &build(), "built twice, different bytes");
        assert_two_readers_agree(&bytes);
        let file = object::File::parse(&*bytes).unwrap();
        for (n, (section, bytes, align)) in globals.iter().enumerate() {
            let symbol = file.symbol_by_name(&format!("g{n}")).unwrap();
            let at = file.section_by_name(section).unwrap();
            prop_assert_eq!((symbol.section_index(), symbol.address() % u64::from(*align)), (Some(at.index()), 0));
            prop_assert!(*section == ".bss" || at.data_range(symbol.address(), symbol.size()).unwrap() == Some(bytes));
        }
        for (n, (section, len, _)) in progs.iter().enumerate() {
            let symbol = file.symbol_by_name(&format!("p{n}")).unwrap();
            let at = file.section_by_name(section).unwrap();
            let code = at.data_range(symbol.address(), symbol.size()).unwrap().unwrap();
            prop_assert!(symbol.section_index() == Some(at.index()) && code.len() >= (len + 1) * 8);
            prop_assert!(code.starts_with(&[0xb7, 0, 0, 0, 1, 0, 0, 0]) && code.ends_with(&[0x95, 0, 0, 0, 0, 0, 0, 0]));
        }
    }
}

/// LLVM's disassembler sees the functions, and the names in the relocations.
#[test]
fn llvm_reads_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.o");
    std::fs::write(&path, common::everything().write().unwrap()).unwrap();
    let Ok(out) = std::process::Command::new("llvm-objdump-22").args(["-d", "-r"]).arg(&path).output() else {
        eprintln!("skipped: needs llvm-objdump-22");
        return;
    };
    let text = String::from_utf8(out.stdout).unwrap();
    for want in ["<balance>:", "<decap>:", "<count>:", "R_BPF_64_64\tvips", "R_BPF_64_32\tcount", "R_BPF_64_64\thits"] {
        assert!(text.contains(want), "{want:?} is missing in:\n{text}");
    }
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// Whatever a loader or the kernel would refuse is refused here, by name.
#[test]
fn what_cannot_be_loaded_is_not_written() {
    let prog = || ProgDef::new("xdp", "f", common::answer(2));
    let obj = || Object::new("GPL").prog(prog());
    let code = |build: fn(&mut Builder)| {
        let mut b = Builder::new();
        build(&mut b);
        b.exit();
        b.finish().unwrap()
    };
    let array = |name| MapDef::new(name, MapType::ARRAY).key_of::<u32>().value_of::<u64>().max_entries(1);
    let cases = [
        (Object::new("GPL"), "neither a program nor a map"),
        (obj().prog(prog()), "\"f\" names two things: the function in section xdp (asm/tests/common/mod.rs:"),
        (
            obj().map(array("f")),
            "\"f\" names two things: a map, and the function in section xdp (asm/tests/common/mod.rs:",
        ),
        (obj().bss("f", Ty::of::<u32>()), "), and a variable in .bss; give one of them another name"),
        (obj().map(array("_license")), "\"_license\" names two things: the license, and a map"),
        (obj().map(array("with-dash")), "C identifier"),
        (Object::new("GPL\0").prog(prog()), "zero byte"),
        (Object::new("GPL").prog(ProgDef::new("license", "f", common::answer(0))), "cannot hold code"),
        (Object::new("GPL").prog(ProgDef::new(".data", "f", common::answer(0))), "cannot hold code"),
        (Object::new("GPL").prog(ProgDef::new("xdp", "f", Code::default())), "no instructions"),
        (obj().global(GlobalDef::new(".text", "v", Ty::of::<u32>(), &[])), "cannot hold a variable"),
        (obj().rodata("v", Ty::of::<u32>(), &[1]), "4 bytes long, but starts as 1"),
        (obj().bss("v", Ty::bytes(0)), "0 bytes long"),
        (obj().global(GlobalDef::new(".data", "v", Ty::of::<u32>(), &[]).align(3)), "not a power of two"),
        (obj().map(array("m").key_size(4)), "not both"),
        (obj().map(array("m").slot(0, "f")), "only a map of maps or of programs"),
        (obj().map(MapDef::new("m", MapType::ARRAY_OF_MAPS)), "needs the definition"),
        (obj().map(array("m").inner(array("i"))), "only a map of maps"),
        (obj().map(MapDef::new("m", MapType::PROG_ARRAY).slot(0, "gone")), "a slot names"),
        (
            Object::new("GPL").prog(ProgDef::new("xdp", "f", code(|b| b.map(R1, "gone")))),
            "instruction 0 of \"f\" names \"gone\", but there is no map",
        ),
        (Object::new("GPL").prog(ProgDef::new("xdp", "f", code(|b| b.call_fn("gone")))), "there is no function"),
        (Object::new("GPL").prog(ProgDef::new("xdp", "f", code(|b| b.map(R1, "f")))), "that is not a map"),
        (
            Object::new("GPL").map(array("m")).prog(ProgDef::new("xdp", "f", code(|b| b.map_value(R1, "m", 0)))),
            "only after a lookup",
        ),
        (
            Object::new("GPL").prog(ProgDef::new("xdp", "f", code(|b| b.call_kfunc("bpf_x")))),
            "no external of that name",
        ),
        (obj().prog(ProgDef::new("xdp", "g", code(|b| b.call_fn("f")))), "only functions in `.text`"),
        (obj().rodata("v", Ty::with(4, |b| b.struct_("a b", 4, &[])), &[0; 4]), "C identifier"),
    ];
    for (object, want) in cases {
        let error = object.write().expect_err(want).to_string();
        assert!(error.contains(want), "want {want:?}, got {error:?}");
    }
    let mut bad_line = sourced();
    bad_line.lines = vec![LineRec { at: InsnIdx(1), file: "x".into(), line: 1, col: 1 }];
    let error = Object::new("GPL").prog(ProgDef::new("xdp", "f", bad_line).clone()).write().unwrap_err();
    assert!(matches!(error, Error::Reloc { .. } | Error::Line { .. }), "{error}");
    let error = obj().rodata("v", Ty::with(8, |b| b.int("odd", 3, false)), &[0; 8]).write().unwrap_err();
    assert!(matches!(error, Error::Refused(Refused::Type { .. })), "{error}");
}

/// Functions and lines: for all functions or for none, each function's lines from its first instruction on.
#[test]
fn lines_are_complete_or_absent() {
    let mut bare = common::answer(2);
    bare.lines.clear();
    let ext = |object: &Object| {
        let bytes = object.write().unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        BtfExt::parse(file.section_by_name(".BTF.ext").unwrap().data().unwrap()).unwrap()
    };
    let none = ext(&Object::new("GPL").prog(ProgDef::new("xdp", "f", bare.clone())));
    assert_eq!((none.funcs.len(), none.lines.len()), (1, 0));
    let mixed =
        Object::new("GPL").prog(ProgDef::new("xdp", "f", bare)).prog(ProgDef::new("xdp", "g", common::answer(1)));
    let mixed = ext(&mixed);
    let at: Vec<_> = mixed.lines[0].records.iter().map(|line| line.insn_off).collect();
    assert_eq!((mixed.funcs[0].records.len(), at), (2, vec![0, 16, 24]));
}
