//! Object files from outside: what two ELF readers see, what people see, and what is refused.

mod common;

use asm::btf::{Btf, BtfExt, LineInfo, Refused, SectionInfo};
use asm::insn::{Builder, Code, InsnIdx, LineRec, R0, R1, Source};
use asm::object::{Error, ExternDef, GlobalDef, MapDef, MapType, Object, Pinning, ProgDef, Ty};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget};

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
    code.sources = vec![Source { file: file.into(), text: "fn demo() {\n    r0 = 1 << 40;\n    tail()\n}\n".into() }];
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

/// The crate that wrote the file and one that had no part in it see the same sections, symbols and relocations.
#[test]
fn two_readers_agree() {
    let bytes = common::everything().write().unwrap();
    let one = object::File::parse(&*bytes).unwrap();
    let two = goblin::elf::Elf::parse(&bytes).unwrap();
    assert_eq!((two.header.e_machine, two.header.e_type), (247, 1), "EM_BPF, ET_REL");
    assert!(two.little_endian && two.is_64);

    let name = |at| two.shdr_strtab.get_at(at).unwrap();
    let ours: Vec<_> = one.sections().map(|s| (s.name().unwrap(), s.size(), s.data().unwrap())).collect();
    let theirs: Vec<_> = two
        .section_headers
        .iter()
        .skip(1)
        .map(|s| (name(s.sh_name), s.sh_size, &bytes[s.file_range().unwrap_or(0..0)]))
        .collect();
    assert_eq!(ours, theirs);

    let ours: Vec<_> = one
        .symbols()
        .map(|s| (s.name().unwrap(), s.address(), s.size(), s.section_index().map_or(0, |s| s.0)))
        .collect();
    let symbol = |s: goblin::elf::Sym| (two.strtab.get_at(s.st_name).unwrap(), s.st_value, s.st_size, s.st_shndx);
    assert_eq!(ours, two.syms.iter().skip(1).map(symbol).collect::<Vec<_>>());

    let mut ours = Vec::new();
    for section in one.sections() {
        for (at, reloc) in section.relocations() {
            let (RelocationTarget::Symbol(to), RelocationFlags::Elf { r_type }) = (reloc.target(), reloc.flags())
            else {
                panic!()
            };
            ours.push((section.index().0, at, to.0, r_type.0));
        }
    }
    let of = |place: usize| two.section_headers[place].sh_info as usize;
    let theirs =
        two.shdr_relocs.iter().flat_map(|(place, all)| all.iter().map(|r| (of(*place), r.r_offset, r.r_sym, r.r_type)));
    assert_eq!(ours, theirs.collect::<Vec<_>>());
    assert_eq!(ours.len(), 4 + 2 + 2, "relocations of `balance`, of `count`, and of two map slots");
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
        (obj().prog(prog()), "\"f\" names two things"),
        (obj().map(array("f")), "\"f\" names two things"),
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
