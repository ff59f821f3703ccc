//! Objects to test with: some by our own writer, some by hand where other people's compilers do what ours does not.

#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod raw;

use asm::btf::{BtfBuilder, Int, Linkage, Type, TypeId, VarSecinfo};
use asm::insn::{Builder, Code, InsnIdx, LineRec, R0, R1, R2, R6, Size, Source, helper};
use asm::object::{ExternDef, MapDef, MapType, Object, Pinning, ProgDef, Ty};

/// What `build` writes with the instruction builder; lines of a text that does not depend on where this file lies.
pub(crate) fn code(lines: &[(u32, u32)], build: impl FnOnce(&mut Builder)) -> Code {
    let mut b = Builder::new();
    build(&mut b);
    let mut code = b.finish().expect("a whole function");
    let file: std::sync::Arc<str> = "sample.rs".into();
    let line = |&(at, line): &(u32, u32)| LineRec { at: InsnIdx(at), file: file.clone(), line, col: 1 };
    code.lines = lines.iter().map(line).collect();
    code.sources = vec![Source::new(file, "fn sample() {\n    one()\n    two()\n}\n")];
    code
}

/// A function that returns a number.
pub(crate) fn answer(number: i32) -> Code {
    code(&[(0, 1)], |b| {
        b.mov(R0, number);
        b.exit();
    })
}

/// Two programs, subprograms that call each other, all kinds of global data, a pinned map, a map of maps and a program
/// array with contents of their own, a callback.
pub(crate) fn sample() -> Object {
    let inner = || MapDef::new("inner", MapType::ARRAY).key_of::<u32>().value_of::<u64>().max_entries(1);
    Object::new("GPL")
        .map(
            MapDef::new("hits", MapType::HASH)
                .key_of::<u32>()
                .value_of::<u64>()
                .max_entries(16)
                .flags(1)
                .pinning(Pinning::ByName),
        )
        .map(MapDef::new("one", MapType::ARRAY).key_of::<u32>().value_of::<u64>().max_entries(1))
        .map(MapDef::new("table", MapType::ARRAY_OF_MAPS).key_of::<u32>().max_entries(4).inner(inner()).slot(2, "one"))
        .map(MapDef::new("next", MapType::PROG_ARRAY).key_size(4).max_entries(2).slot(1, "second"))
        .rodata("limit", Ty::of::<u32>(), &[9, 0, 0, 0])
        .data("start", Ty::of::<u64>(), &[1, 2, 3, 4, 5, 6, 7, 8])
        .bss("seen", Ty::of::<[u64; 2]>())
        .prog(ProgDef::new("xdp", "first", first()))
        .prog(ProgDef::new("xdp", "second", answer(2)))
        .prog(ProgDef::subprog("outer", outer()).param("n", Ty::of::<u64>()))
        .prog(ProgDef::subprog("leaf", leaf()).param("n", Ty::of::<u64>()))
        .prog(ProgDef::subprog("unused", answer(7)))
}

fn first() -> Code {
    code(&[(0, 1), (3, 2), (12, 3)], |b| {
        b.mov(R6, R1);
        b.map_value(R1, "limit", 0);
        b.load(Size::W, R1, R1, 0);
        b.call_fn("outer");
        b.map_value(R2, "seen", 8);
        b.store(Size::Dw, R2, 0, R0);
        b.map(R2, "next");
        b.mov(R1, R6);
        b.mov(asm::insn::R3, 1);
        b.call(helper::TAIL_CALL);
        b.mov(R0, 2);
        b.exit();
    })
}

fn outer() -> Code {
    code(&[(0, 2)], |b| {
        b.mov(R6, R1);
        b.call_fn("leaf");
        b.mov(R1, R6);
        b.add(R1, R0);
        b.call_fn("leaf");
        b.exit();
    })
}

fn leaf() -> Code {
    code(&[(0, 3)], |b| {
        b.map_value(R2, "start", 0);
        b.load(Size::Dw, R0, R2, 0);
        b.add(R0, R1);
        b.exit();
    })
}

/// Names a kernel function and two kernel variables, all of them weak and none of them there.
pub(crate) fn externs() -> Object {
    let code = code(&[(0, 1)], |b| {
        b.ksym(R1, "no_such_symbol");
        b.ksym(R2, "no_such_variable");
        b.mov(R0, R1);
        let out = b.label("out");
        b.jmp_if(asm::insn::Cond::Eq, R0, 0, out);
        b.call_kfunc("no_such_function");
        b.bind(out);
        b.mov(R0, 2);
        b.exit();
    });
    Object::new("GPL")
        .external(ExternDef::ksym("no_such_symbol", Ty::void()).weak())
        .external(ExternDef::ksym("no_such_variable", Ty::of::<u32>()).weak())
        .external(ExternDef::kfunc("no_such_function", Ty::of::<u32>()).weak())
        .prog(ProgDef::new("xdp", "weak", code))
}

/// Objects in files and directory trees, a list of paths as in `PATH`: files that are BPF objects, and those that programs
/// carry inside of them.
pub(crate) fn foreign(paths: &std::ffi::OsStr) -> Vec<(String, Vec<u8>)> {
    std::env::split_paths(paths).flat_map(|path| foreign_at(&path)).collect()
}

fn foreign_at(path: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    if path.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect();
        entries.sort();
        return entries.iter().flat_map(|path| foreign_at(path)).collect();
    }
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    let name = path.display().to_string();
    if is_bpf(&bytes) {
        return vec![(name, bytes)];
    }
    embedded(&bytes).enumerate().map(|(number, object)| (format!("{name}#{number}"), object)).collect()
}

fn is_bpf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF") && bytes.get(18..20) == Some(&[247, 0])
}

/// Skeletons keep their object as it is; its length follows from its section header table, which compilers write last.
fn embedded(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let starts = (1..bytes.len().saturating_sub(64)).filter(|&at| is_bpf(&bytes[at..]));
    starts.filter_map(|at| {
        let field = |from: usize, len: usize| {
            let mut word = [0; 8];
            word[..len].copy_from_slice(bytes.get(at + from..at + from + len)?);
            usize::try_from(u64::from_le_bytes(word)).ok()
        };
        let len = field(40, 8)?.checked_add(field(58, 2)?.checked_mul(field(60, 2)?)?)?;
        bytes.get(at..at.checked_add(len)?).map(<[u8]>::to_vec)
    })
}

/// One type of each kind that 5.10 does not know, and a variable that uses them.
pub(crate) fn all_kinds() -> Vec<u8> {
    let mut b = BtfBuilder::new();
    let long = b.add(Type::Int { name: "long", int: Int { size: 8, bits: 64, signed: true, ..Int::default() } });
    let float = b.add(Type::Float { name: "double", size: 8 });
    let tag = b.add(Type::TypeTag { name: "user", ty: long, attr: false });
    let ptr = b.ptr(tag);
    let values = vec![("SMALL", 1), ("LARGE", 1 << 40)];
    let wide = b.add(Type::Enum64 { name: "wide", size: 8, signed: false, values });
    let s = b.struct_("s", 24, &[("f", float, 0), ("p", ptr, 8), ("e", wide, 16)]);
    let var = b.var("v", s, Linkage::GLOBAL);
    b.datasec(".data", 24, &[VarSecinfo { ty: var, offset: 0, size: 24 }]);
    b.add(Type::DeclTag { name: "tag", ty: var, component: None, attr: false });
    let void = b.add(Type::Const { ty: TypeId::VOID });
    let symbol = b.var("symbol", void, Linkage::EXTERN);
    let int = b.int("int", 4, true);
    let proto = b.func_proto(int, &[("", ptr)]);
    let function = b.func("function", proto, Linkage::EXTERN);
    let at = |ty| VarSecinfo { ty, offset: 0, size: 0 };
    b.datasec(".ksyms", 0, &[at(symbol), at(function)]);
    let config = b.var("CONFIG_HZ", int, Linkage::EXTERN);
    b.datasec(".kconfig", 0, &[VarSecinfo { ty: config, offset: 0, size: 4 }]);
    b.encode().expect("types of a known shape")
}
