//! Stage: spec → text. Input: a [`Spec`]. Output: what a reader sees: head, maps, programs, externs, and each function's
//! instructions with the places to be filled in. Next file: `../reloc/mod.rs`.

use std::fmt;

use super::{Extern, ExternKind, Func, InitValue, KconfigType, MapSpec, Pinning, ProgSpec, RelocKind, Spec};
use asm::insn::Op;

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "license {:?}", self.license)?;
        if self.kernel_version != 0 {
            writeln!(f, "version {:#x}", self.kernel_version)?;
        }
        for (index, map) in self.maps.iter().enumerate() {
            writeln!(f, "map {index} {map}")?;
            print_bytes(f, map.contents.as_deref().unwrap_or_default())?;
            for &(at, value) in &map.init {
                match value {
                    InitValue::Map(map) => writeln!(f, "  [{at}] = map {}", self.map_name(map))?,
                    InitValue::Prog(prog) => {
                        writeln!(f, "  [{at}] = prog {}", name_of(&self.progs, prog, |p| &p.name))?
                    }
                }
            }
        }
        for ext in &self.externs {
            writeln!(f, "extern {ext}")?;
        }
        for prog in &self.progs {
            writeln!(f, "prog {prog}")?;
        }
        self.funcs.iter().try_for_each(|func| self.print_func(f, func))
    }
}

/// Sixteen bytes a row; rows of zeroes are left out.
fn print_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (row, bytes) in bytes.chunks(16).enumerate().filter(|(_, bytes)| bytes.iter().any(|&byte| byte != 0)) {
        write!(f, "  {:#06x}:", row * 16)?;
        bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))?;
        writeln!(f)?;
    }
    Ok(())
}

/// The name of part number `index`, or the number where there is none.
fn name_of<T>(parts: &[T], index: usize, name: impl Fn(&T) -> &String) -> String {
    parts.get(index).map_or_else(|| format!("#{index}"), |part| name(part).clone())
}

impl Spec {
    fn map_name(&self, index: usize) -> String {
        name_of(&self.maps, index, |map| &map.name)
    }

    fn print_func(&self, f: &mut fmt::Formatter<'_>, func: &Func) -> fmt::Result {
        let scope = if func.global { "global" } else { "static" };
        writeln!(f, "\n{scope} {} in {}+{}:", func.name, func.section, func.section_off)?;
        let mut at = 0;
        while let Some(rest) = func.insns.get(at..).filter(|rest| !rest.is_empty()) {
            if let Ok(line) = func.lines.binary_search_by_key(&at, |line| line.at).map(|found| func.lines[found]) {
                writeln!(
                    f,
                    "  ; {}:{}:{}  {}",
                    self.text(line.file),
                    line.line,
                    line.col,
                    self.text(line.text).trim()
                )?;
            }
            let (op, slots) = Op::decode_lenient(rest).unwrap_or((Op::Raw(rest[0]), 1));
            write!(f, "  {at:4}: {op}")?;
            if let Ok(reloc) = func.relocs.binary_search_by_key(&at, |reloc| reloc.at).map(|found| func.relocs[found]) {
                write!(f, "  <- {}", self.reloc_text(reloc.kind))?;
            }
            let first = func.core.partition_point(|core| core.at < at);
            for core in func.core.iter().skip(first).take_while(|core| core.at == at) {
                let ty = self.btf.as_ref().and_then(|btf| btf.name(core.type_id).ok()).unwrap_or_default();
                write!(f, "  <- {} {ty}{} {}", core.kind, core.type_id, core.access)?;
            }
            writeln!(f)?;
            at += slots;
        }
        Ok(())
    }

    pub(crate) fn text(&self, at: asm::btf::StrOff) -> String {
        let text = self.btf.as_ref().and_then(|btf| btf.string(at).ok());
        text.map_or_else(String::new, std::borrow::Cow::into_owned)
    }

    /// What a relocation asks for, by name.
    pub(crate) fn reloc_text(&self, kind: RelocKind) -> String {
        let func = |index| name_of(&self.funcs, index, |func| &func.name);
        let ext = |index| name_of(&self.externs, index, |ext| &ext.name);
        match kind {
            RelocKind::Map(map) => format!("map {}", self.map_name(map)),
            RelocKind::MapValue { map, off } => format!("value of {}+{off}", self.map_name(map)),
            RelocKind::Call(index) => format!("call {}", func(index)),
            RelocKind::FuncAddr(index) => format!("address of {}", func(index)),
            RelocKind::Extern(index) => format!("extern {}", ext(index)),
            RelocKind::ExternCall(index) => format!("call kernel {}", ext(index)),
        }
    }
}

impl fmt::Display for MapSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, key {} bytes, value {} bytes", self.name, self.map_type, self.key_size, self.value_size)?;
        write!(f, ", {} entries", self.max_entries)?;
        if self.flags != 0 {
            write!(f, ", flags {:#x}", self.flags)?;
        }
        if self.map_extra != 0 {
            write!(f, ", extra {:#x}", self.map_extra)?;
        }
        if let Some(node) = self.numa_node {
            write!(f, ", NUMA node {node}")?;
        }
        match self.pinning {
            Pinning::None => {}
            Pinning::ByName => f.write_str(", pinned by name")?,
            Pinning::Other(value) => write!(f, ", pinning {value}")?,
        }
        if let (Some(key), Some(value)) = (self.key_type, self.value_type) {
            write!(f, ", types {key} -> {value}")?;
        }
        if let Some(inner) = &self.inner {
            write!(f, ", of maps {{ {inner} }}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ProgSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.name, self.section)?;
        match self.prog_type {
            Some(prog_type) => write!(f, ": {prog_type}")?,
            None => f.write_str(": type unknown")?,
        }
        if let Some(attach_type) = self.attach_type {
            write!(f, ", attach type {attach_type}")?;
        }
        if let Some(target) = &self.attach_to {
            write!(f, ", for {target}")?;
        }
        for (name, _) in self.flags.iter_names() {
            write!(f, ", {}", name.to_lowercase())?;
        }
        if self.autoload { Ok(()) } else { f.write_str(", only on request") }
    }
}

impl fmt::Display for Extern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weak = if self.weak { "weak " } else { "" };
        write!(f, "{weak}{}: ", self.name)?;
        match self.kind {
            ExternKind::Kconfig { off, size, value } => write!(f, "configuration, {value}, {size} bytes at {off}"),
            ExternKind::Ksym => f.write_str("kernel symbol"),
            ExternKind::TypedKsym(ty) => write!(f, "kernel variable of type {ty}"),
            ExternKind::Kfunc(ty) => write!(f, "kernel function {ty}"),
        }
    }
}

impl fmt::Display for KconfigType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Tristate => "tristate",
            Self::Char => "char",
            Self::Int { signed: true } => "signed integer",
            Self::Int { signed: false } => "unsigned integer",
            Self::Text => "text",
        })
    }
}
