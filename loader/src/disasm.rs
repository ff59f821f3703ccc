//! Stage: spec → assembly text, the road backwards. Input: a [`Spec`]. Output: a file that the assembler reads into the
//! same instructions, symbols, maps and variables. Next file: `asm/src/text/mod.rs`, which reads it.
//!
//! What the text cannot say stands in it as a comment: map types without a name. Of types that no object that loads has (names
//! that are none in C) the sizes are kept.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use asm::btf::{Kind, Type, TypeId};
use asm::insn::{Code, InsnIdx, LineRec, Reloc, RelocKind as Named, Source};
use asm::text::{self, Declarations};

use crate::spec::{CoreReloc, Extern, ExternKind, Func, InitValue, MapOrigin, MapSpec, Pinning, RelocKind, Spec};

/// The object as assembly text; with `lines`, source positions and their texts too.
#[must_use]
pub fn disasm(spec: &Spec, lines: bool) -> String {
    let types = spec.btf.as_ref().map(Declarations::new);
    let variables = spec.maps.iter().map(|map| variables(spec, map)).collect();
    let mut body = String::new();
    let mut listing = Listing { spec, lines, variables, types };
    // Writing to a string does not fail.
    let _ = listing.write(&mut body);
    // What the body names is declared before it.
    let types = listing.types.as_mut().map_or("", |types| types.text());
    let gap = if types.is_empty() { "" } else { "\n" };
    format!(".license {:?}\n{gap}{types}{body}", spec.license)
}

/// A global variable: where it lies in its section.
struct Variable {
    name: String,
    off: u32,
    size: u32,
    /// The variable in the BTF, and its type.
    ty: Option<(TypeId, TypeId)>,
}

struct Listing<'s> {
    spec: &'s Spec,
    lines: bool,
    /// For each map: its variables, by offset; empty for declared maps.
    variables: Vec<Vec<Variable>>,
    /// The types that the text has words for.
    types: Option<Declarations<'s>>,
}

impl Listing<'_> {
    fn write(&mut self, out: &mut String) -> fmt::Result {
        let spec = self.spec;
        for map in spec.maps.iter().filter(|map| !map.origin.is_data()) {
            self.map(out, map)?;
        }
        for (map, variables) in spec.maps.iter().zip(std::mem::take(&mut self.variables)) {
            self.data(out, map, &variables)?;
            self.variables.push(variables);
        }
        for external in &spec.externs {
            self.external(out, external)?;
        }
        let mut first = 0;
        for func in &spec.funcs {
            self.func(out, func, first)?;
            first += func.insns.len();
        }
        Ok(())
    }

    /// A type as an expression, where the text has words for it.
    fn expr(&mut self, id: Option<TypeId>) -> Option<String> {
        self.types.as_mut()?.expr(id?)
    }

    fn external(&mut self, out: &mut String, external: &Extern) -> fmt::Result {
        let (name, weak) = (&external.name, if external.weak { "weak " } else { "" });
        match external.kind {
            ExternKind::Kfunc(ty) => {
                let signature = self.types.as_mut().and_then(|types| types.signature(ty));
                writeln!(out, ".extern {weak}func {name}{}", signature.as_deref().unwrap_or("()"))
            }
            ExternKind::Ksym | ExternKind::TypedKsym(_) => {
                let ty = self.declared(name).unwrap_or_else(|| "void".to_owned());
                writeln!(out, ".extern {weak}var {name}: {ty}")
            }
            ExternKind::Kconfig { size, .. } => {
                let ty = self.declared(name).unwrap_or_else(|| format!("u{}", size * 8));
                writeln!(out, ".extern {weak}config {name}: {ty}")
            }
        }
    }

    /// The type that the object's own types give a variable.
    fn declared(&mut self, name: &str) -> Option<String> {
        let btf = self.spec.btf.as_ref()?;
        let Type::Var { ty, .. } = btf.get(btf.find(name, Kind::VAR)?).ok()? else { return None };
        self.expr(Some(ty))
    }

    fn map(&mut self, out: &mut String, map: &MapSpec) -> fmt::Result {
        write!(out, "\n.map {}: {} {{ {}", map.name, map.map_type, self.fields(map))?;
        if let Some(inner) = &map.inner {
            write!(out, ", inner: {} {{ {} }}", inner.map_type, self.fields(inner))?;
        }
        let in_order = map.init.iter().zip(0..).all(|((at, _), n)| *at == n);
        if !map.init.is_empty() && in_order {
            let names: Vec<_> = map.init.iter().map(|(_, value)| self.init_name(*value)).collect();
            write!(out, ", slots: [{}]", names.join(", "))?;
        }
        writeln!(out, " }}")?;
        for (at, value) in map.init.iter().filter(|_| !in_order) {
            writeln!(out, "// {}[{at}] = {}", map.name, self.init_name(*value))?;
        }
        Ok(())
    }

    /// A map's fields, as the directive has them: types where the text has words for them, else sizes.
    fn fields(&mut self, map: &MapSpec) -> String {
        let mut fields = Vec::new();
        for (what, ty, size) in [("key", map.key_type, map.key_size), ("value", map.value_type, map.value_size)] {
            match self.expr(ty) {
                Some(ty) => fields.push(format!("{what}: {ty}")),
                None if size > 0 => fields.push(format!("{what}_size: {size}")),
                None => {}
            }
        }
        if map.max_entries != 0 {
            fields.push(format!("max_entries: {}", map.max_entries));
        }
        if map.flags != 0 {
            fields.push(format!("flags: {:#x}", map.flags));
        }
        fields.extend(map.numa_node.map(|node| format!("numa_node: {node}")));
        if map.pinning == Pinning::ByName {
            fields.push("pinning: by_name".to_owned());
        }
        fields.join(", ")
    }

    fn init_name(&self, value: InitValue) -> &str {
        match value {
            InitValue::Map(index) => self.map_name(index),
            InitValue::Prog(index) => self.spec.progs.get(index).map_or("?", |prog| &prog.name),
        }
    }

    fn map_name(&self, index: usize) -> &str {
        self.spec.maps.get(index).map_or("?", |map| &map.name)
    }

    fn func(&mut self, out: &mut String, func: &Func, first: usize) -> fmt::Result {
        writeln!(out, "\n.section {}", section_name(&func.section))?;
        let global = func.global && func.section == ".text";
        if global {
            writeln!(out, ".globl {}", func.name)?;
        }
        let signature = func.btf_type.and_then(|ty| self.types.as_mut()?.signature(ty));
        if let Some(signature) = signature {
            let linkage = if func.global { "" } else { "static " };
            writeln!(out, ".func {linkage}{}{signature}", func.name)?;
        } else if func.global && !global {
            writeln!(out, ".globl {}", func.name)?;
        }
        writeln!(out, "{}:", func.name)?;
        let options = text::Options { numbers: false, lines: self.lines, first };
        let notes = self.core_notes(func);
        out.push_str(&text::print_noted(&self.code(func), options, &notes));
        Ok(())
    }

    /// The instructions that depend on the kernel's types.
    fn core_notes(&mut self, func: &Func) -> Vec<(InsnIdx, String)> {
        let note = |core: &CoreReloc| {
            let (kind, access) = (core.kind, &core.access);
            let text = match self.expr(Some(core.type_id)) {
                Some(ty) => format!(".core {kind}, {ty}, \"{access}\""),
                None => format!("// {kind} of type {} at {access}, by the kernel's types", core.type_id),
            };
            (InsnIdx::from(core.at), text)
        };
        func.core.iter().map(note).collect()
    }

    fn code(&self, func: &Func) -> Code {
        let relocs =
            func.relocs.iter().map(|reloc| Reloc { at: InsnIdx::from(reloc.at), kind: self.named(reloc.kind) });
        let (lines, sources) = if self.lines { self.lines_of(func) } else { Default::default() };
        Code { insns: func.insns.clone(), relocs: relocs.collect(), lines, labels: Vec::new(), sources }
    }

    /// What a relocation names, by name.
    fn named(&self, kind: RelocKind) -> Named {
        let func = |index: usize| self.spec.funcs.get(index).map_or("?", |func| &func.name).into();
        let external = |index: usize| self.spec.externs.get(index).map_or("?", |external| &external.name).into();
        match kind {
            RelocKind::Map(index) => Named::Map { name: self.map_name(index).into() },
            RelocKind::MapValue { map, off } => {
                let variables = self.variables.get(map).map_or(&[][..], Vec::as_slice);
                let found = variables.iter().rfind(|variable| variable.off <= off);
                let (name, start) = found.map_or((self.map_name(map), 0), |v| (v.name.as_str(), v.off));
                Named::MapValue { name: name.into(), off: off.wrapping_sub(start).cast_signed() }
            }
            RelocKind::Call(index) => Named::Call { name: func(index) },
            RelocKind::FuncAddr(index) => Named::Func { name: func(index) },
            RelocKind::Extern(index) => Named::Ksym { name: external(index) },
            RelocKind::ExternCall(index) => Named::Kfunc { name: external(index) },
        }
    }

    /// A section of variables, with their types and first values.
    fn data(&mut self, out: &mut String, map: &MapSpec, variables: &[Variable]) -> fmt::Result {
        // The loader makes the configuration's map from the names alone.
        if variables.is_empty() || map.origin == MapOrigin::Kconfig {
            return Ok(());
        }
        writeln!(out, "\n.section {}", section_name(&map.name))?;
        let mut end = 0;
        for variable in variables {
            let Variable { name, off, size, .. } = variable;
            let start = *off as usize;
            let bytes = map.contents.as_deref().and_then(|all| all.get(start..start.checked_add(*size as usize)?));
            let typed = self.typed(variable, bytes.unwrap_or_default(), map.origin == MapOrigin::Rodata);
            let align = typed.as_ref().map_or(1, |typed| typed.align);
            if end_of(end, align) != Some(*off) {
                // Between two variables lies nothing else: what is missing is alignment.
                let align = (0..=12).map(|n| 1u32 << n).find(|align| end_of(end, *align) == Some(*off));
                writeln!(out, ".balign {}", align.unwrap_or(1))?;
            }
            match typed {
                Some(typed) => writeln!(out, ".var {}{name}: {}", typed.linkage, typed.text)?,
                None => writeln!(out, ".var {name}: {}", untyped(*size, bytes.unwrap_or_default()))?,
            }
            end = off.saturating_add(*size);
        }
        Ok(())
    }

    /// A variable's type and first value, where the text has words for both.
    fn typed(&mut self, variable: &Variable, bytes: &[u8], constant: bool) -> Option<Typed> {
        let (types, (var, ty)) = (self.types.as_mut()?, variable.ty?);
        let (size, align) = types.layout(ty).filter(|(size, _)| *size == variable.size)?;
        let zeros;
        let bytes = if bytes.is_empty() {
            zeros = vec![0; size as usize];
            &zeros
        } else {
            bytes
        };
        let (expr, value) = (types.variable(var, constant)?, types.initial(ty, bytes, self.spec.big_endian)?);
        let text = if value.is_empty() { expr } else { format!("{expr} = {value}") };
        let linkage = if types.is_static(var) { "static " } else { "" };
        Some(Typed { linkage, text, align })
    }

    fn lines_of(&self, func: &Func) -> (Vec<LineRec>, Vec<Source>) {
        let mut files: BTreeMap<Arc<str>, BTreeMap<u32, String>> = BTreeMap::new();
        let mut records = Vec::new();
        for line in &func.lines {
            let file: Arc<str> = self.spec.text(line.file).into();
            let text = self.spec.text(line.text).replace(['\n', '\r'], " ");
            // A place alone stands for a line that was not known.
            if text != format!("{file}:{}:{}", line.line, line.col) {
                files.entry(file.clone()).or_default().insert(line.line, text);
            }
            let same = |last: &LineRec| (&last.file, last.line, last.col) == (&file, line.line, line.col);
            if !records.last().is_some_and(same) {
                records.push(LineRec { at: InsnIdx::from(line.at), file, line: line.line, col: line.col });
            }
        }
        let sources = files.iter().map(|(file, lines)| {
            Source::from_lines(file.clone(), lines.iter().map(|(number, text)| (*number, text.as_str())))
        });
        (records, sources.collect())
    }
}

/// What stands behind a variable's name, and what it is aligned to.
struct Typed {
    linkage: &'static str,
    text: String,
    align: u32,
}

/// Where the next variable of this alignment begins.
fn end_of(end: u32, align: u32) -> Option<u32> {
    end.checked_next_multiple_of(align)
}

/// A variable of which only the bytes are known.
fn untyped(size: u32, bytes: &[u8]) -> String {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let bytes: Vec<_> = bytes[..used].iter().map(ToString::to_string).collect();
    let value = if used > 0 { format!(" = {}", bytes.join(", ")) } else { String::new() };
    format!("u8[{size}]{value}")
}

/// A section's name, quoted where it is not a plain word.
fn section_name(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'));
    if plain { name.to_owned() } else { format!("{name:?}") }
}

/// The variables of a data section: those that the types name, and one for each gap that alignment does not explain, so that
/// offsets stay.
fn variables(spec: &Spec, map: &MapSpec) -> Vec<Variable> {
    if !map.origin.is_data() {
        return Vec::new();
    }
    let mut named = named_variables(spec, map).unwrap_or_default();
    named.sort_by_key(|variable| variable.off);
    let mut all: Vec<Variable> = Vec::new();
    let stem = map.name.trim_start_matches('.').replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let mut end = 0;
    let gap = |from: u32, to: u32| Variable { name: format!("{stem}_{from}"), off: from, size: to - from, ty: None };
    let aligned = |from: u32, to: u32| {
        let zero = map.contents.as_deref().and_then(|all| all.get(from as usize..to as usize));
        let zero = zero.is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0));
        zero && (0..=12).any(|n| end_of(from, 1 << n) == Some(to))
    };
    for variable in named {
        // Two names for the same bytes: the first one stands for both.
        if variable.off < end || variable.size == 0 {
            continue;
        }
        if variable.off > end && !aligned(end, variable.off) {
            all.push(gap(end, variable.off));
        }
        end = variable.off.saturating_add(variable.size);
        all.push(variable);
    }
    if end < map.value_size {
        all.push(gap(end, map.value_size));
    }
    all
}

fn named_variables(spec: &Spec, map: &MapSpec) -> Option<Vec<Variable>> {
    let btf = spec.btf.as_ref()?;
    let Type::DataSec { vars, .. } = btf.get(map.value_type?).ok()? else { return None };
    let name = |var: &asm::btf::VarSecinfo| btf.name(var.ty).ok().filter(|name| !name.is_empty()).map(str::to_owned);
    let ty = |var: &asm::btf::VarSecinfo| match btf.get(var.ty).ok()? {
        Type::Var { ty, .. } => Some((var.ty, ty)),
        _ => None,
    };
    let variable =
        |var: &asm::btf::VarSecinfo| Some(Variable { name: name(var)?, off: var.offset, size: var.size, ty: ty(var) });
    vars.iter().map(variable).collect()
}
