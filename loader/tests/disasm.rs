//! Object → text → object: the same functions, relocations, maps and variables.
//!
//! `FOREIGN_OBJECTS_DIR` may name directories (apart by `:`) of other people's objects: those with nothing that the text
//! cannot say must come back as well.

use std::path::{Path, PathBuf};

use asm::insn::{Builder, Cond, Insn, R0, R1, R2, R10, Size, helper};
use asm::object::{GlobalDef, MapDef, MapType, Object, ProgDef, Ty};
use loader::Spec;
use loader::disasm::disasm;
use loader::spec::Func;

fn sample() -> Vec<u8> {
    let mut b = Builder::new();
    let out = b.label("out");
    b.store(Size::W, R10, -4, 0);
    b.map(R1, "hits");
    b.mov(R2, R10);
    b.add(R2, -4);
    b.call(helper::MAP_LOOKUP_ELEM);
    b.jmp_if(Cond::Eq, R0, 0, out);
    b.map_value(R1, "second", 4);
    b.load(Size::W, R1, R1, 0);
    b.call_fn("helper");
    b.bind(out);
    b.mov(R0, 2);
    b.exit();
    let mut sub = Builder::new();
    sub.mov(R0, R1);
    sub.exit();
    Object::new("Dual MIT/GPL")
        .map(MapDef::new("hits", MapType::HASH).key_size(4).value_size(8).max_entries(16).flags(1))
        .map(MapDef::new("jumps", MapType::PROG_ARRAY).key_size(4).value_size(4).max_entries(2).slot(0, "main"))
        .global(GlobalDef::new(".data", "first", Ty::bytes(3), &[1, 2, 3]))
        .global(GlobalDef::new(".data", "second", Ty::bytes(8), &[0, 0, 0, 0, 9, 0, 0, 0]).align(8))
        .prog(ProgDef::new("xdp", "main", b.finish().expect("well-formed")))
        .prog(ProgDef::subprog("helper", sub.finish().expect("well-formed")).param("a", Ty::of::<u64>()))
        .write()
        .expect("an object")
}

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

/// The instructions without what relocations fill in: how much of an address stands there depends on what it is said from.
fn unrelocated(func: &Func) -> Vec<Insn> {
    let mut insns = func.insns.clone();
    func.relocs.iter().for_each(|reloc| insns[reloc.at].set_imm(0));
    insns
}

/// What must survive, as text, of anybody's object: everything but types, line records and the order of functions.
fn essence(spec: &Spec) -> Vec<String> {
    let mut parts: Vec<String> = spec
        .funcs
        .iter()
        .map(|f| {
            format!(
                "{} {} {:?} {:?}",
                f.section,
                f.name,
                unrelocated(f),
                f.relocs.iter().map(|r| named(spec, r.kind)).collect::<Vec<_>>()
            )
        })
        .collect();
    parts.extend(spec.maps.iter().map(|m| {
        // Whether data may be mapped depends on the linkage of its variables, which the text does not say.
        let flags = if m.origin.is_data() { m.flags & !MMAPABLE } else { m.flags };
        let content = m.contents.as_ref().filter(|bytes| bytes.iter().any(|b| *b != 0));
        format!(
            "{} {} {} {} {} {:#x} {:?} {:?} {content:?}",
            m.name, m.map_type, m.key_size, m.value_size, m.max_entries, flags, m.pinning, m.init
        )
    }));
    parts.sort();
    parts
}

fn named(spec: &Spec, kind: loader::spec::RelocKind) -> String {
    use loader::spec::RelocKind::{Call, Extern, ExternCall, FuncAddr, Map, MapValue};
    match kind {
        Map(map) => format!("map {}", spec.maps[map].name),
        MapValue { map, off } => format!("value {}+{off}", spec.maps[map].name),
        Call(func) | FuncAddr(func) => format!("func {}", spec.funcs[func].name),
        Extern(ext) | ExternCall(ext) => format!("extern {}", spec.externs[ext].name),
    }
}

fn round_trip(name: &str, bytes: &[u8]) {
    let spec = Spec::parse(bytes).expect(name);
    for lines in [false, true] {
        let text = disasm(&spec, lines);
        let again = match asm::text::parse(name, &text) {
            Ok(program) => program.object().write().expect(name),
            Err(errors) => panic!("{name}: its disassembly does not assemble\n{errors}\n{text}"),
        };
        let second = Spec::parse(&again).expect(name);
        let differs = essence(&second).into_iter().zip(essence(&spec)).find(|(one, other)| one != other);
        assert_eq!(differs, None, "{name}, lines: {lines}\n{text}");
        assert_eq!(essence(&second).len(), essence(&spec).len(), "{name}, lines: {lines}");
        // From the first text on, nothing changes any more: neither the text nor a byte.
        let second = disasm(&second, lines);
        assert!(
            second == text,
            "{name}, lines: {lines}: not the same text again\n{}",
            first_difference(&text, &second)
        );
        let bytes = asm::text::parse(name, &second).expect("it was read before").object().write().expect(name);
        assert!(bytes == again, "{name}, lines: {lines}: not the same bytes again");
    }
}

/// The first lines that differ.
fn first_difference(one: &str, other: &str) -> String {
    let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    differs.map_or_else(|| "one is longer".to_owned(), |(one, other)| format!("{one}\n{other}"))
}

#[test]
fn an_object_comes_back_from_its_text() {
    round_trip("sample", &sample());
}

/// With every part of a file in it, and types: text → bytes → text → bytes is the identity, lines and all.
#[test]
fn a_text_comes_back_to_the_last_byte() {
    let text = include_str!("../../asm/tests/golden/text/lb.s");
    let bytes = asm::text::parse("lb.s", text).expect("assembles").object().write().expect("an object");
    let again = disasm(&Spec::parse(&bytes).expect("our object"), true);
    let program = asm::text::parse("again.s", &again).unwrap_or_else(|e| panic!("{e}\n{again}"));
    let second = program.object().write().expect("an object");
    assert!(second == bytes, "not the same bytes from\n{again}");
}

#[test]
fn the_text_is_for_people() {
    insta::assert_snapshot!(disasm(&Spec::parse(&sample()).expect("our object"), false));
}

/// Nothing that the text can only say as a comment.
fn can_be_said(spec: &Spec) -> bool {
    let mut names: Vec<_> = spec.funcs.iter().map(|f| (&f.section, &f.name)).collect();
    names.sort();
    let unique = names.windows(2).all(|pair| pair[0].1 != pair[1].1);
    let legacy = spec.maps.iter().any(|m| m.origin == loader::spec::MapOrigin::Legacy || m.numa_node.is_some());
    unique && !legacy
}

/// What a compiler makes of C with everything that types can say: the text has words for all of it.
#[test]
fn what_a_compiler_writes_comes_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, object) = (dir.path().join("all.c"), dir.path().join("all.o"));
    std::fs::write(&source, include_str!("common/all.c")).expect("room for it");
    let mut clang = std::process::Command::new("clang-22");
    clang.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", "-c", "-o"]).arg(&object).arg(&source);
    let Ok(output) = clang.output() else {
        assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "clang-22 is not installed");
        return println!("clang-22 is not installed: nothing of a compiler's to read");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(&object).expect("clang wrote it");
    round_trip("all.c", &bytes);
    let text = disasm(&Spec::parse(&bytes).expect("a compiler's object"), false);
    for want in [
        "flags: \"unsigned int\" : 3",
        "union { whole: __u32, half: __u16[2] }",
        ".enum wide {",
        ".typedef visit_t = fn(*node, *void) -> int",
        "next: *node",
        ".extern config LINUX_KERNEL_VERSION: int",
        ".extern weak config CONFIG_BPF_SYSCALL: bool",
        ".extern weak func bpf_task_acquire(*task_struct) -> *task_struct",
        ".extern var bpf_prog_active: const int",
        "tag(\"kptr\")",
        "decl_tag(\"contains:node:link\")",
        ".var static calls: volatile __u64",
        "weight: double",
    ] {
        assert!(text.contains(want), "{want:?} is missing in\n{text}");
    }
}

#[test]
fn other_peoples_objects_come_back_too() {
    let Some(dirs) = std::env::var_os("FOREIGN_OBJECTS_DIR") else {
        println!("FOREIGN_OBJECTS_DIR is not set: no object to read");
        return;
    };
    let mut seen = 0;
    for path in std::env::split_paths(&dirs).flat_map(|dir| objects(&dir)) {
        let bytes = std::fs::read(&path).expect("readable");
        let Ok(spec) = Spec::parse(&bytes) else { continue };
        if can_be_said(&spec) {
            seen += 1;
            round_trip(&path.display().to_string(), &bytes);
        }
    }
    println!("{seen} objects came back");
    assert!(seen > 0, "no object that the text can say in {}", dirs.to_string_lossy());
}

fn objects(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "o")).collect()
}
