//! Stage: spec → assembly text, the road backwards. Input: a [`Spec`]. Output: a file that the assembler reads into the
//! same instructions, symbols, maps and variables. Next file: `asm/src/text/mod.rs`, which reads it.
//!
//! What the text cannot say stands in it as a comment: values of the host's configuration, map types without a name, and
//! the C types of keys and values, of which only the sizes are kept.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use asm::btf::Type;
use asm::insn::{Code, InsnIdx, LineRec, Reloc, RelocKind as Named, Source};
use asm::text;

use crate::spec::{ExternKind, Func, InitValue, MapSpec, Pinning, RelocKind, Spec};

/// The object as assembly text; with `lines`, source positions and their texts too.
#[must_use]
pub fn disasm(spec: &Spec, lines: bool) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ =
        Listing { spec, lines, variables: spec.maps.iter().map(|map| variables(spec, map)).collect() }.write(&mut out);
    out
}

/// A global variable: where it lies in its section.
struct Variable {
    name: String,
    off: u32,
    size: u32,
}

struct Listing<'s> {
    spec: &'s Spec,
    lines: bool,
    /// For each map: its variables, by offset, without gaps; empty for declared maps.
    variables: Vec<Vec<Variable>>,
}

impl Listing<'_> {
    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, ".license {:?}", self.spec.license)?;
        for map in self.spec.maps.iter().filter(|map| !map.origin.is_data()) {
            self.map(out, map)?;
        }
        for external in &self.spec.externs {
            let (name, weak) = (&external.name, if external.weak { "weak " } else { "" });
            match external.kind {
                ExternKind::Kfunc(_) => writeln!(out, ".extern {weak}func {name}()")?,
                ExternKind::Ksym | ExternKind::TypedKsym(_) => writeln!(out, ".extern {weak}var {name}: u64")?,
                ExternKind::Kconfig { size, .. } => {
                    writeln!(out, "// {size} bytes of the host's configuration: {name}")?
                }
            }
        }
        for (map, variables) in self.spec.maps.iter().zip(&self.variables) {
            data(out, map, variables)?;
        }
        let mut first = 0;
        for func in &self.spec.funcs {
            self.func(out, func, first)?;
            first += func.insns.len();
        }
        Ok(())
    }

    fn map(&self, out: &mut String, map: &MapSpec) -> fmt::Result {
        write!(out, "\n.map {}: {} {{ {}", map.name, map.map_type, sizes(map))?;
        if let Some(inner) = &map.inner {
            write!(out, ", inner: {} {{ {} }}", inner.map_type, sizes(inner))?;
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

    fn init_name(&self, value: InitValue) -> &str {
        match value {
            InitValue::Map(index) => self.map_name(index),
            InitValue::Prog(index) => self.spec.progs.get(index).map_or("?", |prog| &prog.name),
        }
    }

    fn map_name(&self, index: usize) -> &str {
        self.spec.maps.get(index).map_or("?", |map| &map.name)
    }

    fn func(&self, out: &mut String, func: &Func, first: usize) -> fmt::Result {
        writeln!(out, "\n.section {}", section_name(&func.section))?;
        if func.global {
            writeln!(out, ".globl {}", func.name)?;
        }
        writeln!(out, "{}:", func.name)?;
        let options = text::Options { numbers: false, lines: self.lines, first };
        out.push_str(&text::print_with(&self.code(func), options));
        Ok(())
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

    fn lines_of(&self, func: &Func) -> (Vec<LineRec>, Vec<Source>) {
        let mut files: BTreeMap<Arc<str>, BTreeMap<u32, String>> = BTreeMap::new();
        let mut records = Vec::new();
        for line in &func.lines {
            let file: Arc<str> = self.spec.text(line.file).into();
            let text = self.spec.text(line.text).replace(['\n', '\r'], " ");
            files.entry(file.clone()).or_default().insert(line.line, text);
            records.push(LineRec { at: InsnIdx::from(line.at), file, line: line.line, col: line.col });
        }
        let sources = files.iter().map(|(file, lines)| {
            Source::from_lines(file.clone(), lines.iter().map(|(number, text)| (*number, text.as_str())))
        });
        (records, sources.collect())
    }
}

/// A map's fields, as the directive has them.
fn sizes(map: &MapSpec) -> String {
    let mut out =
        format!("key_size: {}, value_size: {}, max_entries: {}", map.key_size, map.value_size, map.max_entries);
    if map.flags != 0 {
        let _ = write!(out, ", flags: {:#x}", map.flags);
    }
    if let Some(node) = map.numa_node {
        let _ = write!(out, ", numa_node: {node}");
    }
    if map.pinning == Pinning::ByName {
        out.push_str(", pinning: by_name");
    }
    out
}

/// A section's name, quoted where it is not a plain word.
fn section_name(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'));
    if plain { name.to_owned() } else { format!("{name:?}") }
}

/// A section of variables, with their bytes.
fn data(out: &mut String, map: &MapSpec, variables: &[Variable]) -> fmt::Result {
    if variables.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n.section {}", section_name(&map.name))?;
    for Variable { name, off, size } in variables {
        write!(out, ".var {name}: u8[{size}]")?;
        let start = *off as usize;
        let bytes = map.contents.as_deref().and_then(|all| all.get(start..start.checked_add(*size as usize)?));
        if let Some(bytes) = bytes.filter(|bytes| bytes.iter().any(|byte| *byte != 0)) {
            let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:#04x}")).collect();
            write!(out, " = {}", bytes.join(", "))?;
        }
        out.push('\n');
    }
    Ok(())
}

/// The variables of a data section: those that the types name, and one for each gap, so that offsets stay.
fn variables(spec: &Spec, map: &MapSpec) -> Vec<Variable> {
    if !map.origin.is_data() {
        return Vec::new();
    }
    let mut named = named_variables(spec, map).unwrap_or_default();
    named.sort_by_key(|variable| variable.off);
    let mut all: Vec<Variable> = Vec::new();
    let stem = map.name.trim_start_matches('.').replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let mut end = 0;
    let gap = |from: u32, to: u32| Variable { name: format!("{stem}_{from}"), off: from, size: to - from };
    for variable in named {
        // Two names for the same bytes: the first one stands for both.
        if variable.off < end || variable.size == 0 {
            continue;
        }
        if variable.off > end {
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
    vars.iter().map(|var| Some(Variable { name: name(var)?, off: var.offset, size: var.size })).collect()
}
