//! Types, functions and lines of an object.
//!
//! Stage: second of the object writer. Input: the layout. Output: the bytes of `.BTF` and `.BTF.ext`. Functions and lines
//! are recorded for every function or for none, lines from each function's first instruction on: the kernel refuses
//! anything else. Next: `elf.rs`.

use super::Object;
use super::context::context;
use super::def::{DeclTag, Extern, MapDef, ProgDef, Ty};
use super::error::Error;
use super::kinds::MapType;
use super::layout::{CodeSection, DataSection, LICENSE, Layout, Place};
use crate::btf::{
    Btf, BtfBuilder, BtfExt, CoreRelo, FuncInfo, LineInfo, Linkage, Member, Refused, SectionInfo, StrOff, Type, TypeId,
    VarSecinfo,
};
use crate::insn::{InsnIdx, LineRec};

/// `.BTF` and `.BTF.ext`.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) btf: Vec<u8>,
    pub(super) ext: Vec<u8>,
}

/// Describes the whole object.
pub(super) fn describe(object: &Object, layout: &Layout) -> Result<Types, Error> {
    let mut b = BtfBuilder::new();
    describe_maps(&mut b, object, layout)?;
    for section in &layout.data {
        describe_data(&mut b, object, section);
    }
    describe_externs(&mut b, object);
    describe_license(&mut b, object);
    let has_lines = object.progs.iter().any(|prog| !prog.code.lines.is_empty());
    let mut ext = BtfExt::default();
    for section in &layout.code {
        let name = b.string(&section.name);
        let funcs =
            section.funcs.iter().filter_map(|place| Some(describe_func(&mut b, *place, object.progs.get(place.item)?)));
        ext.funcs.push(SectionInfo { section: name, records: funcs.collect() });
        let core_relos = describe_core(&mut b, object, section)?;
        if !core_relos.is_empty() {
            ext.core_relos.push(SectionInfo { section: name, records: core_relos });
        }
        if has_lines {
            ext.lines.push(SectionInfo { section: name, records: describe_lines(&mut b, object, section)? });
        }
    }
    let btf = b.encode()?;
    Btf::parse(&btf).map_err(Refused::from)?.check()?;
    Ok(Types { btf, ext: ext.encode()? })
}

/// The variables of `.maps`, and the section.
fn describe_maps(b: &mut BtfBuilder, object: &Object, layout: &Layout) -> Result<(), Error> {
    let mut vars = Vec::new();
    for place in &layout.maps {
        let Some(map) = object.maps.get(place.item) else { continue };
        let ty = describe_map(b, map);
        let ty = b.var(&map.name, ty, Linkage::GLOBAL);
        vars.push(VarSecinfo { ty, offset: place.offset, size: place.size });
    }
    if let Some(last) = vars.last() {
        b.datasec(".maps", last.offset.saturating_add(last.size), &vars);
    }
    Ok(())
}

/// A map definition: a struct whose members say numbers by the length of an array and types by what they point to.
fn describe_map(b: &mut BtfBuilder, map: &MapDef) -> TypeId {
    let int = b.int("int", 4, true);
    let mut members: Vec<(&str, TypeId)> = Vec::new();
    for (field, number) in &map.numbers {
        let array = b.array(int, *number);
        members.push((field, b.ptr(array)));
    }
    for (field, ty) in &map.types {
        let ty = (ty.make)(b);
        members.push((field, b.ptr(ty)));
    }
    let values = match &map.inner {
        Some(inner) => Some(describe_map(b, inner)),
        None if map.map_type == MapType::PROG_ARRAY && !map.slots.is_empty() => {
            let ctx = b.ptr(TypeId::VOID);
            Some(b.func_proto(int, &[("ctx", ctx)]))
        }
        None => None,
    };
    let size = u32::try_from(members.len() * 8).unwrap_or(u32::MAX);
    if let Some(values) = values {
        let each = b.ptr(values);
        members.push(("values", b.array(each, 0)));
    }
    let each = |(&(name, ty), offset)| Member { name, ty, bit_offset: offset, bits: 0 };
    b.add(Type::Struct { name: "", size, members: members.iter().zip((0u32..).step_by(64)).map(each).collect() })
}

/// The variables of one data section, and the section.
fn describe_data(b: &mut BtfBuilder, object: &Object, section: &DataSection) {
    let mut vars = Vec::new();
    for place in &section.vars {
        let Some(global) = object.globals.get(place.item) else { continue };
        let mut ty = (global.ty.make)(b);
        if section.is_rodata() {
            ty = b.add(Type::Const { ty });
        }
        let ty = b.var(&global.name, ty, global.linkage);
        mark(b, ty, &global.tags);
        vars.push(VarSecinfo { ty, offset: place.offset, size: place.size });
    }
    b.datasec(&section.name, section.size, &vars);
}

/// The tags of a declaration.
fn mark(b: &mut BtfBuilder, ty: TypeId, tags: &[DeclTag]) {
    for tag in tags {
        b.push(Type::DeclTag { name: &tag.text, ty, component: tag.component, attr: tag.attr });
    }
}

/// What the object names of the kernel's, and the sections `.ksyms` and `.kconfig`, which exist only here.
fn describe_externs(b: &mut BtfBuilder, object: &Object) {
    let (mut symbols, mut values) = (Vec::new(), Vec::new());
    for external in &object.externs {
        let var = |b: &mut BtfBuilder, ty: &Ty| {
            let ty = (ty.make)(b);
            b.var(&external.name, ty, Linkage::EXTERN)
        };
        let (ty, size) = match &external.what {
            Extern::Func { ret, params } => {
                let proto = describe_proto(b, ret, params);
                (b.func(&external.name, proto, Linkage::EXTERN), 0)
            }
            Extern::Proto(proto) => {
                let proto = (proto.make)(b);
                (b.func(&external.name, proto, Linkage::EXTERN), 0)
            }
            Extern::Var(ty) => (var(b, ty), 0),
            Extern::Config(ty) => (var(b, ty), ty.size),
        };
        mark(b, ty, &external.tags);
        let section = if size == 0 { &mut symbols } else { &mut values };
        section.push(VarSecinfo { ty, offset: 0, size });
    }
    for (name, vars) in [(".ksyms", symbols), (".kconfig", values)] {
        if !vars.is_empty() {
            b.datasec(name, 0, &vars);
        }
    }
}

/// The license, which is a variable like any other to tools that link objects.
fn describe_license(b: &mut BtfBuilder, object: &Object) {
    let size = u32::try_from(object.license.len() + 1).unwrap_or(u32::MAX);
    let letter = b.int("char", 1, true);
    let text = b.array(letter, size);
    let ty = b.var(LICENSE, text, Linkage::GLOBAL);
    b.datasec("license", size, &[VarSecinfo { ty, offset: 0, size }]);
}

/// A prototype.
fn describe_proto(b: &mut BtfBuilder, ret: &Ty, params: &[(std::sync::Arc<str>, Ty)]) -> TypeId {
    let ret = (ret.make)(b);
    let params: Vec<_> = params.iter().map(|(name, ty)| (&**name, (ty.make)(b))).collect();
    b.func_proto(ret, &params)
}

/// One function: its type, and where it starts.
fn describe_func(b: &mut BtfBuilder, place: Place, prog: &ProgDef) -> FuncInfo {
    let proto = match &prog.params {
        Some(params) => describe_proto(b, &prog.ret, params),
        None => {
            // The result first, as for a prototype that is given: then a listing of it comes back to the same bytes.
            let ret = (prog.ret.make)(b);
            let ctx = context(b, &prog.section);
            b.func_proto(ret, &[("ctx", ctx)])
        }
    };
    let ty = b.func(&prog.name, proto, prog.linkage);
    mark(b, ty, &prog.tags);
    FuncInfo { insn_off: place.offset, ty }
}

/// The line records of one section: every function has one at its first instruction.
fn describe_lines(b: &mut BtfBuilder, object: &Object, section: &CodeSection) -> Result<Vec<LineInfo>, Error> {
    let mut records: Vec<LineInfo> = Vec::new();
    for place in &section.funcs {
        let Some(prog) = object.progs.get(place.item) else { continue };
        let mut lines: Vec<&LineRec> = prog.code.lines.iter().collect();
        lines.sort_by_key(|line| line.at);
        lines.dedup_by_key(|line| line.at);
        let unknown = LineInfo { insn_off: place.offset, file: StrOff(0), text: StrOff(0), line: 0, col: 0 };
        if lines.first().is_none_or(|first| first.at != InsnIdx(0)) {
            let first = lines.first().map(|line| line_record(b, prog, *place, line));
            records.push(LineInfo { insn_off: place.offset, ..first.unwrap_or(unknown) });
        }
        for line in lines {
            // The second half of a 64-bit load has no operation of its own.
            if prog.code.insns.get(line.at.index()).is_none_or(|insn| insn.code() == 0) {
                return Err(Error::Line { func: prog.name.to_string(), at: line.at });
            }
            records.push(line_record(b, prog, *place, line));
        }
    }
    Ok(records)
}

/// The CO-RE relocations of one section.
fn describe_core(b: &mut BtfBuilder, object: &Object, section: &CodeSection) -> Result<Vec<CoreRelo>, Error> {
    let mut records = Vec::new();
    for place in &section.funcs {
        let Some(prog) = object.progs.get(place.item) else { continue };
        for core in &prog.core {
            // The second half of a 64-bit load has no operation of its own.
            if prog.code.insns.get(core.at.index()).is_none_or(|insn| insn.code() == 0) {
                return Err(Error::Core { func: prog.name.to_string(), at: core.at });
            }
            let insn_off = place.offset.saturating_add(u32::try_from(core.at.byte_off()).unwrap_or(u32::MAX));
            let ty = (core.ty.make)(b);
            records.push(CoreRelo { insn_off, ty, access: b.string(&core.access), kind: core.kind });
        }
    }
    records.sort_by_key(|record| record.insn_off);
    Ok(records)
}

/// One line record. Where the line's text is not known, its place stands in for it, so that the verifier's log says on every
/// kernel where an instruction comes from.
fn line_record(b: &mut BtfBuilder, prog: &ProgDef, place: Place, line: &LineRec) -> LineInfo {
    let insn_off = place.offset.saturating_add(u32::try_from(line.at.byte_off()).unwrap_or(u32::MAX));
    let text = match prog.code.line_text(line) {
        Some(text) => b.string(text.trim()),
        None => b.string(&format!("{}:{}:{}", line.file, line.line, line.col)),
    };
    LineInfo { insn_off, file: b.string(&line.file), text, line: line.line, col: line.col }
}
