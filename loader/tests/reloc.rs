//! Relocation without a kernel: programs in one piece, descriptors in place, and each CO-RE kind against types made up here.

mod common;

use asm::btf::{Btf, BtfBuilder, CoreReloKind as Kind, Int, Linkage, Member, Type, TypeId};
use asm::insn::{Insn, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use loader::btf::KernelBtf;
use loader::reloc::core::{Candidates, apply};
use loader::reloc::{Answers, ExternAnswer, Linked, RelocError, link};
use loader::spec::{CoreReloc, Func, ProgSpec, Reloc, RelocKind};
use loader::{LoadOptions, Spec};

const EXIT: Insn = Insn::new(0x95, 0, 0, 0, 0);

fn linked(spec: &Spec, name: &str) -> Linked {
    link(spec, spec.prog(name).expect("in the spec")).expect("a sound spec")
}

#[test]
fn a_program_takes_its_subprograms_along() {
    let spec = Spec::parse(&common::sample().write().unwrap()).unwrap();
    let prepared = loader::load::check(&spec, &LoadOptions::default()).unwrap();
    insta::assert_snapshot!(prepared);
    let first = linked(&spec, "first");
    let parts: Vec<_> = first.parts.iter().map(|part| (part.start, spec.funcs[part.func].name.as_str())).collect();
    assert_eq!(parts, [(0, "first"), (15, "outer"), (21, "leaf")]);
    assert_eq!(first.func_info().iter().map(|info| info.insn_off.get()).collect::<Vec<_>>(), [0, 15, 21]);
    let lines: Vec<_> = first.line_info().iter().map(|line| (line.insn_off.get(), line.line_col.get() >> 10)).collect();
    assert_eq!(lines, [(0, 1), (3, 2), (12, 3), (15, 2), (21, 3)]);
    assert_eq!(first.place(16), Some((2, 1)));
}

#[test]
fn descriptors_and_offsets() {
    let spec = Spec::parse(&common::sample().write().unwrap()).unwrap();
    let mut first = linked(&spec, "first");
    let answers = Answers { maps: (100..107).collect(), externs: vec![] };
    first.fill(&spec, &answers).unwrap();
    let two = |at: usize| (first.insns[at].src(), first.insns[at].imm(), first.insns[at + 1].imm());
    assert_eq!(two(1), (PSEUDO_MAP_VALUE, 104, 0), ".rodata");
    assert_eq!(two(5), (PSEUDO_MAP_VALUE, 106, 8), ".bss");
    assert_eq!(two(8), (PSEUDO_MAP_FD, 103, 0), "next");
    let mut again = linked(&spec, "first");
    let error = again.fill(&spec, &Answers::default()).unwrap_err();
    assert!(matches!(error, RelocError::NoSuchPart { what: "map", .. }), "{error}");
}

#[test]
fn symbols_that_are_not_there() {
    let spec = Spec::parse(&common::externs().write().unwrap()).unwrap();
    let mut weak = linked(&spec, "weak");
    weak.fill(&spec, &Answers { maps: vec![], externs: vec![ExternAnswer::Absent; 3] }).unwrap();
    assert_eq!(weak.insns[0], Insn::new(0x18, 1, 0, 0, 0));
    assert_eq!(weak.insns[6].src(), 0);
    assert_eq!(weak.poisoned.len(), 1);
    let mut weak = linked(&spec, "weak");
    let there = vec![
        ExternAnswer::Address(0xffff_ffff_8100_0000),
        ExternAnswer::Variable { id: 7, btf_fd: 0 },
        ExternAnswer::Function { id: 9, fd_index: 1 },
    ];
    weak.fill(&spec, &Answers { maps: vec![], externs: there }).unwrap();
    let words: Vec<_> = weak.insns[..4].iter().map(|insn| insn.imm().cast_unsigned()).collect();
    assert_eq!(words, [0x8100_0000, 0xffff_ffff, 7, 0]);
    assert_eq!((weak.insns[6].src(), weak.insns[6].imm(), weak.insns[6].off()), (2, 9, 1));
}

#[test]
fn functions_that_call_each_other_in_a_circle_end() {
    let call = |at, func| Reloc { at, kind: RelocKind::Call(func) };
    let func = |name: &str, relocs: Vec<Reloc>| Func {
        name: name.into(),
        insns: vec![Insn::new(0x85, 0, 1, 0, -1), EXIT],
        relocs,
        ..Func::default()
    };
    let mut spec = spec_of(vec![func("a", vec![call(0, 1)]), func("b", vec![call(0, 0)])]);
    let both = linked(&spec, "prog");
    assert_eq!(both.insns.iter().step_by(2).map(|insn| insn.imm()).collect::<Vec<_>>(), [1, -3]);
    spec.funcs[1].relocs = vec![call(0, 9)];
    let error = link(&spec, &spec.progs[0]).unwrap_err().to_string();
    assert!(error.contains("function number 9"), "{error}");
}

fn spec_of(funcs: Vec<Func>) -> Spec {
    let prog = ProgSpec {
        name: "prog".into(),
        section: "xdp".into(),
        prog_type: None,
        attach_type: None,
        attach_to: None,
        flags: asm::object::section::SectionFlags::empty(),
        func: 0,
        autoload: true,
    };
    Spec { progs: vec![prog], funcs, ..Spec::default() }
}

#[test]
fn types_for_a_kernel_that_knows_less() {
    let btf = Btf::from_vec(common::all_kinds()).unwrap();
    let bytes = loader::btf::handle::fit(&Spec::default(), &btf, |_| false).unwrap();
    insta::assert_snapshot!(Btf::parse(&bytes).unwrap());
    let all = loader::btf::handle::fit(&Spec::default(), &btf, |_| true).unwrap();
    assert!(btf.ids().take(9).all(|id| Btf::parse(&all).unwrap().get(id) == btf.get(id)), "what is known stays");
}

/// The types of both sides.
struct Types {
    local: Btf<'static>,
    kernel: KernelBtf,
    task: TypeId,
    state: TypeId,
    gone: TypeId,
    twin: TypeId,
    number: TypeId,
}

fn member(name: &str, ty: TypeId, bit_offset: u32, bits: u8) -> Member<&str> {
    Member { name, ty, bit_offset, bits }
}

fn types() -> Types {
    let mut b = BtfBuilder::new();
    let (int, unsigned, long) =
        (b.int("int", 4, true), b.int("unsigned int", 4, false), b.int("unsigned long", 8, false));
    let char = b.int("char", 1, true);
    let comm = b.array(char, 16);
    let state =
        b.add(Type::Enum { name: "state___v2", size: 4, signed: false, values: vec![("DEAD___v2", 1), ("NEW", 9)] });
    let task = b.add(Type::Struct {
        name: "task___mine",
        size: 56,
        members: vec![
            member("pid", int, 0, 0),
            member("start", long, 64, 0),
            member("comm", comm, 128, 0),
            member("flags", unsigned, 256, 3),
            member("gone", int, 288, 0),
            member("hidden", int, 320, 0),
            member("shrunk", int, 352, 0),
        ],
    });
    let gone = b.add(Type::Struct { name: "gone", size: 4, members: vec![member("x", int, 0, 0)] });
    let twin = b.add(Type::Struct { name: "twin", size: 4, members: vec![member("x", int, 0, 0)] });
    let number = b.typedef("number", long);
    let local = Btf::from_vec(b.encode().expect("sound types")).expect("sound types");

    let mut b = BtfBuilder::new();
    let (int, unsigned) = (b.int("int", 4, true), b.int("unsigned int", 4, false));
    let (char, short) = (b.int("char", 1, true), b.int("short", 2, true));
    let comm = b.array(char, 16);
    b.add(Type::Enum { name: "state", size: 4, signed: false, values: vec![("NEW", 1), ("DEAD", 7)] });
    let inner = b.add(Type::Union { name: "", size: 4, members: vec![member("hidden", int, 0, 0)] });
    let inner =
        b.add(Type::Struct { name: "", size: 8, members: vec![member("a", int, 0, 0), member("", inner, 32, 0)] });
    b.add(Type::Struct {
        name: "task",
        size: 80,
        members: vec![
            member("comm", comm, 64, 0),
            member("start", unsigned, 192, 0),
            member("flags", unsigned, 228, 5),
            member("pid", int, 256, 0),
            member("", inner, 320, 0),
            member("shrunk", short, 400, 0),
        ],
    });
    for (offset, _) in [(0, ()), (32, ())] {
        b.push(Type::Struct { name: "twin", size: 8, members: vec![member("x", int, offset, 0)] });
    }
    let proto = b.func_proto(TypeId::VOID, &[]);
    b.func("number", proto, Linkage::STATIC);
    b.add(Type::Int { name: "padding", int: Int { size: 4, bits: 32, ..Int::default() } });
    let kernel = KernelBtf::from_btf(Btf::from_vec(b.encode().expect("sound types")).expect("sound types"));
    Types { local, kernel, task, state, gone, twin, number }
}

/// Relocates one instruction (or the two of an `ld_imm64`).
fn relocate(types: &Types, insns: &[Insn], ty: TypeId, access: &str, kind: Kind) -> Result<Vec<Insn>, String> {
    let relo = CoreReloc { at: 0, type_id: ty, access: access.to_owned(), kind };
    let func = Func { name: "f".into(), insns: insns.to_vec(), core: vec![relo], ..Func::default() };
    let spec = Spec { btf: Some(types.local.clone()), ..spec_of(vec![func]) };
    let mut linked = linked(&spec, "prog");
    let mut candidates = Candidates::find(&spec, [&linked], &types.kernel).map_err(|error| error.to_string())?;
    let text = |error: RelocError| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    apply(&spec, &mut linked, Some(&mut candidates)).map_err(text)?;
    Ok(linked.insns)
}

/// Name, type, path, what is asked, instructions before and after.
type Row<'a> = (&'a str, TypeId, &'a str, Kind, Vec<Insn>, Vec<Insn>);

#[test]
fn every_kind_of_core_relocation() {
    let types = types();
    let mov = |imm| vec![Insn::new(0xb7, 1, 0, 0, imm)];
    let load = |code, off| vec![Insn::new(code, 1, 2, off, 0)];
    let wide = |low| vec![Insn::new(0x18, 1, 0, 0, low), Insn::new(0, 0, 0, 0, 0)];
    let poison = || vec![Insn::new(0x85, 0, 0, 0, 0x0bad_2310)];
    let Types { task, state, gone, number, .. } = types;
    let rows: [Row<'_>; 26] = [
        ("offset, constant", task, "0:0", Kind::FIELD_BYTE_OFFSET, mov(0), mov(32)),
        ("offset, load", task, "0:0", Kind::FIELD_BYTE_OFFSET, load(0x61, 0), load(0x61, 32)),
        ("narrower unsigned field", task, "0:1", Kind::FIELD_BYTE_OFFSET, load(0x79, 8), load(0x61, 24)),
        ("narrower signed field", task, "0:6", Kind::FIELD_BYTE_OFFSET, load(0x61, 44), poison()),
        ("narrower signed field, constant", task, "0:6", Kind::FIELD_BYTE_OFFSET, mov(44), mov(50)),
        ("element", task, "0:2:3", Kind::FIELD_BYTE_OFFSET, load(0x71, 19), load(0x71, 11)),
        ("second of an array of structs", task, "1:0", Kind::FIELD_BYTE_OFFSET, mov(56), mov(112)),
        ("in anonymous members", task, "0:5", Kind::FIELD_BYTE_OFFSET, mov(40), mov(44)),
        ("absent field", task, "0:4", Kind::FIELD_BYTE_OFFSET, mov(36), poison()),
        ("size", task, "0:1", Kind::FIELD_BYTE_SIZE, mov(8), mov(4)),
        ("size of an array", task, "0:2", Kind::FIELD_BYTE_SIZE, mov(16), mov(16)),
        ("there", task, "0:0", Kind::FIELD_EXISTS, mov(1), mov(1)),
        ("not there", task, "0:4", Kind::FIELD_EXISTS, mov(1), mov(0)),
        ("signed", task, "0:0", Kind::FIELD_SIGNED, mov(1), mov(1)),
        ("not signed", task, "0:1", Kind::FIELD_SIGNED, mov(0), mov(0)),
        ("bit field's word", task, "0:3", Kind::FIELD_BYTE_OFFSET, mov(32), mov(28)),
        ("bit field, left", task, "0:3", Kind::FIELD_LSHIFT_U64, mov(61), mov(55)),
        ("bit field, right", task, "0:3", Kind::FIELD_RSHIFT_U64, mov(61), mov(59)),
        ("own id", task, "0", Kind::TYPE_ID_LOCAL, mov(0), mov(i32::try_from(task.0).unwrap())),
        ("the kernel's id", task, "0", Kind::TYPE_ID_TARGET, wide(5), wide(10)),
        ("a type", task, "0", Kind::TYPE_EXISTS, mov(1), mov(1)),
        ("no type", gone, "0", Kind::TYPE_EXISTS, mov(1), mov(0)),
        ("a name of another kind", number, "0", Kind::TYPE_EXISTS, mov(1), mov(0)),
        ("size of a type", task, "0", Kind::TYPE_SIZE, mov(56), mov(80)),
        ("enumerator", state, "0", Kind::ENUMVAL_EXISTS, mov(1), mov(1)),
        ("enumerator's value", state, "0", Kind::ENUMVAL_VALUE, wide(1), wide(7)),
    ];
    for (name, ty, access, kind, before, want) in rows {
        let got = relocate(&types, &before, ty, access, kind).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(got, want, "{name}");
    }
    assert_eq!(relocate(&types, &mov(1), task, "0", Kind::TYPE_MATCHES).unwrap(), mov(0), "a member is missing there");
    assert_eq!(relocate(&types, &mov(1), state, "0", Kind::TYPE_MATCHES).unwrap(), mov(1), "values do not matter");
    assert_eq!(
        relocate(&types, &wide(0), gone, "0:0", Kind::FIELD_BYTE_OFFSET).unwrap(),
        [poison(), poison()].concat()
    );
}

#[test]
fn what_core_refuses() {
    let types = types();
    let mov = |imm| vec![Insn::new(0xb7, 1, 0, 0, imm)];
    let Types { task, state, twin, .. } = types;
    for (name, ty, access, kind, insns, want) in [
        ("two answers", twin, "0:0", Kind::FIELD_BYTE_OFFSET, mov(0), "more than one type that fits"),
        ("no such member", task, "0:99", Kind::FIELD_BYTE_OFFSET, mov(0), "has no member 99"),
        ("no such element", task, "0:2:16", Kind::FIELD_BYTE_OFFSET, mov(0), "has no element 16"),
        ("no list", task, "0:x", Kind::FIELD_BYTE_OFFSET, mov(0), "not a list of numbers"),
        ("no such enumerator", state, "7", Kind::ENUMVAL_VALUE, mov(0), "not an enumerator"),
        ("another number", task, "0:1", Kind::FIELD_BYTE_OFFSET, mov(3), "holds 3, not 8"),
        ("no number in it", task, "0:0", Kind::FIELD_BYTE_OFFSET, vec![EXIT], "cannot hold"),
        ("no such type", TypeId(999), "0", Kind::TYPE_EXISTS, mov(1), "damaged"),
        ("no such kind", task, "0:0", Kind(13), mov(0), "not known"),
    ] {
        let error = relocate(&types, &insns, ty, access, kind).expect_err(name);
        assert!(error.contains(want), "{name}: {error}");
    }
}
