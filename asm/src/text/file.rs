//! Stage: text in. A file while it is read: its sections, names and declarations; and its end, a [`Program`].
//!
//! Input: calls from the statements of `parse/`. Output: a [`Program`] of functions, maps and variables, or one [`Code`] for
//! a snippet. Next: `program.rs`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::diag::Collector;
use super::parse::{Parsed, wrong, wrong_help};
use super::program::{External, Function, Program, Variable};
use super::types::{Proto, Tag, Type, Types};
use super::unit::{Known, Unit};
use crate::insn::{Code, Source};
use crate::object::MapDef;

/// A prototype, from `.func`.
#[derive(Clone, Debug)]
pub(super) struct Prototype {
    pub(super) proto: Proto,
    /// Does the text say anything of parameters?
    pub(super) has_params: bool,
    pub(super) is_static: bool,
    pub(super) tags: Vec<Tag>,
    pub(super) span: Range<usize>,
}

/// A variable while its section is read.
#[derive(Debug)]
pub(super) struct Var<'s> {
    pub(super) name: &'s str,
    pub(super) span: Range<usize>,
    pub(super) at: usize,
    pub(super) ty: Option<Type>,
    pub(super) align: u32,
    pub(super) is_static: bool,
    pub(super) tags: Vec<Tag>,
    /// Functions that it holds the addresses of: bytes from its start, name, place in the text.
    pub(super) pointers: Vec<(u32, &'s str, Range<usize>)>,
}

impl<'s> Var<'s> {
    /// A variable of which only the place is known.
    pub(super) fn untyped(name: &'s str, span: Range<usize>, at: usize, align: u32) -> Self {
        Self { name, span, at, ty: None, align, is_static: false, tags: Vec::new(), pointers: Vec::new() }
    }
}

/// Bytes of a data section.
#[derive(Debug, Default)]
pub(super) struct Data<'s> {
    pub(super) bytes: Vec<u8>,
    pub(super) vars: Vec<Var<'s>>,
    /// The last `.balign`: bytes, and where that led to.
    pub(super) aligned: (u32, usize),
}

#[derive(Debug)]
enum Body<'s> {
    Code(Unit<'s>),
    Data(Data<'s>),
}

#[derive(Debug)]
struct Section<'s> {
    name: &'s str,
    body: Body<'s>,
}

/// Everything a file has said so far.
#[derive(Debug)]
pub(super) struct File<'s> {
    pub(super) name: Arc<str>,
    pub(super) types: Types<'s>,
    pub(super) maps: Vec<(&'s str, MapDef)>,
    /// What the kernel has: name, whether it may be missing, what it is.
    pub(super) externs: Vec<(&'s str, bool, External)>,
    pub(super) protos: HashMap<&'s str, Prototype>,
    pub(super) globals: HashMap<&'s str, Range<usize>>,
    pub(super) license: Option<String>,
    /// Names of source files, for line marks; 0 is this file.
    pub(super) files: Vec<Arc<str>>,
    /// Texts that `.loc` gave: number of the file, line, text.
    pub(super) line_texts: Vec<(u32, u32, String)>,
    sections: Vec<Section<'s>>,
    current: usize,
    names: HashMap<&'s str, Known>,
}

/// The sections of a file together have at most so many bytes, so that `.zero` in a hostile text cannot exhaust memory.
pub(super) const MAX_DATA: usize = 64 << 20;

/// Does a section of this name hold variables?
pub(super) fn is_data(name: &str) -> bool {
    let family = |family: &str| name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    [".data", ".rodata", ".bss", ".struct_ops"].into_iter().any(family) || name == "license"
}

impl<'s> File<'s> {
    /// An empty file; code goes to `.text` until a section is named.
    pub(super) fn new(name: &str) -> Self {
        let name: Arc<str> = name.into();
        Self {
            files: vec![name.clone()],
            line_texts: Vec::new(),
            name,
            types: Types::default(),
            maps: Vec::new(),
            externs: Vec::new(),
            protos: HashMap::new(),
            globals: HashMap::new(),
            license: None,
            sections: vec![Section { name: ".text", body: Body::Code(Unit::default()) }],
            current: 0,
            names: HashMap::new(),
        }
    }

    /// Goes on in this section, new or not.
    pub(super) fn enter(&mut self, name: &'s str) {
        if matches!(&self.sections[..], [Section { body: Body::Code(unit), .. }] if unit.is_untouched()) {
            self.sections.clear();
        }
        self.current = self.sections.iter().position(|section| section.name == name).unwrap_or_else(|| {
            let body = if is_data(name) { Body::Data(Data::default()) } else { Body::Code(Unit::default()) };
            self.sections.push(Section { name, body });
            self.sections.len() - 1
        });
    }

    /// The current section's code.
    pub(super) fn code(&mut self, span: &Range<usize>) -> Parsed<&mut Unit<'s>> {
        let section = &mut self.sections[self.current];
        match &mut section.body {
            Body::Code(unit) => Ok(unit),
            Body::Data(_) => {
                let help = "go back with `.text`, or `.section xdp` for a program";
                wrong_help(span.clone(), format!("`{}` holds variables, not code", section.name), help)
            }
        }
    }

    /// The current section's bytes.
    pub(super) fn data(&mut self, span: &Range<usize>) -> Parsed<(&'s str, &mut Data<'s>)> {
        let section = &mut self.sections[self.current];
        match &mut section.body {
            Body::Data(data) => Ok((section.name, data)),
            Body::Code(_) => {
                let help = "enter a section for variables first: `.data`, `.rodata` or `.bss`";
                wrong_help(span.clone(), format!("`{}` holds code, not variables", section.name), help)
            }
        }
    }

    /// Bytes of all data sections so far.
    pub(super) fn data_len(&self) -> usize {
        let len = |section: &Section<'_>| match &section.body {
            Body::Data(data) => data.bytes.len(),
            Body::Code(_) => 0,
        };
        self.sections.iter().map(len).sum()
    }

    /// Takes a name that must be the only one of its kind in the file.
    pub(super) fn take_name(&mut self, name: &'s str, what: Known, span: &Range<usize>) -> Parsed<()> {
        match self.names.insert(name, what) {
            None => Ok(()),
            Some(_) => wrong(span.clone(), format!("`{name}` is defined a second time")),
        }
    }

    /// A label here: a place in code, or an untyped variable.
    pub(super) fn label(&mut self, name: &'s str, span: Range<usize>) -> Parsed<()> {
        let section = &mut self.sections[self.current];
        match &mut section.body {
            Body::Code(unit) => match unit.label(name, span.clone()) {
                None => Ok(()),
                Some(_) => {
                    wrong_help(span, format!("the label `{name}` is defined a second time"), "rename one of them")
                }
            },
            Body::Data(data) => {
                let (aligned, at) = data.aligned;
                let align = if at == data.bytes.len() { aligned.max(1) } else { 1 };
                data.vars.push(Var::untyped(name, span.clone(), data.bytes.len(), align));
                self.take_name(name, Known::Variable, &span)
            }
        }
    }

    pub(super) fn imply_exit(&mut self) {
        for section in &mut self.sections {
            if let Body::Code(unit) = &mut section.body {
                unit.imply_exit();
            }
        }
    }

    fn known(&self, name: &str) -> Known {
        self.names.get(name).copied().unwrap_or_else(|| {
            let section = self.sections.iter().any(|s| s.name == name && matches!(s.body, Body::Data(_)));
            if section { Known::Variable } else { Known::Nothing }
        })
    }

    /// The end of a snippet: all code is one function.
    pub(super) fn finish_snippet(mut self, text: &str, errors: &mut Collector) -> Code {
        let units: Vec<_> = self.sections.drain(..).collect();
        let mut code = Code::default();
        for section in units {
            match section.body {
                Body::Code(unit) if unit.len() > 0 && code.insns.is_empty() => {
                    if !unit.cores.is_empty() {
                        errors.add(0..0, "`.core` needs a file: a snippet has no types", None);
                    }
                    let known = |name: &str| self.known(name);
                    code = unit.finish(&[], &self.files, known, errors).pop().unwrap_or_default();
                }
                Body::Code(unit) if unit.len() > 0 => {
                    let help = Some("assemble it as a file with sections".to_owned());
                    errors.add(0..0, "this is more than one section of code", help);
                }
                _ => {}
            }
        }
        code.sources = self.sources(text);
        code
    }

    /// This file's text, and the lines of others that `.loc` quoted.
    fn sources(&self, text: &str) -> Vec<Source> {
        let mut sources = vec![Source::new(self.name.clone(), text)];
        let mut quoted: HashMap<u32, Vec<(u32, &str)>> = HashMap::new();
        for (file, line, text) in &self.line_texts {
            quoted.entry(*file).or_default().push((*line, text));
        }
        for (file, number) in self.files.iter().zip(0..).skip(1) {
            if let Some(lines) = quoted.remove(&number) {
                sources.push(Source::from_lines(file.clone(), lines));
            }
        }
        sources
    }

    /// The end of a file.
    pub(super) fn finish(mut self, text: &str, errors: &mut Collector) -> Program {
        let sections = std::mem::take(&mut self.sections);
        let mut code = Vec::new();
        let mut variables = Vec::new();
        let mut pointers = Vec::new();
        for section in sections {
            match section.body {
                Body::Code(unit) if unit.len() > 0 => code.push((section.name, unit)),
                Body::Code(_) => {}
                Body::Data(data) if section.name == "license" => self.set_license(&data),
                Body::Data(data) => {
                    pointers.extend(data.vars.iter().flat_map(|var| var.pointers.clone()));
                    cut_data(section.name, data, &mut variables, errors);
                }
            }
        }
        // All names of functions are known before the first reference is resolved.
        let starts: Vec<_> = code.iter().map(|(section, unit)| self.starts(section, unit, errors)).collect();
        for (_, name, span) in pointers.into_iter().filter(|(_, name, _)| self.known(name) != Known::Function) {
            let help = Some("a pointer in a variable holds the address of a function of this file, or 0".to_owned());
            errors.add(span, format!("there is no function `{name}`"), help);
        }
        let sources = self.sources(text);
        let mut functions = Vec::new();
        for ((section, unit), starts) in code.into_iter().zip(starts) {
            let places: Vec<usize> = starts.iter().map(|&(_, at)| at).collect();
            let ends = places.iter().skip(1).copied().chain([unit.len()]);
            let cores: Vec<_> = places.iter().zip(ends).map(|(start, end)| unit.cores_of(*start, end)).collect();
            let codes = unit.finish(&places, &self.files, |name| self.known(name), errors);
            for (((name, _), mut code), core) in starts.into_iter().zip(codes).zip(cores) {
                code.sources.clone_from(&sources);
                functions.push(Function { core, ..self.function(section, name, code) });
            }
        }
        self.check_leftovers(&functions, errors);
        self.types.close();
        let license = self.license.take().unwrap_or_default();
        let maps = self.maps.into_iter().map(|(_, map)| map).collect();
        let externs = self.externs.into_iter().map(|(name, weak, external)| (name.into(), weak, external)).collect();
        Program { license, functions, variables, maps, externs, tags: self.types.tags }
    }

    fn set_license(&mut self, data: &Data<'_>) {
        let text = String::from_utf8_lossy(&data.bytes);
        self.license.get_or_insert_with(|| text.trim_end_matches('\0').to_owned());
    }

    /// Name and start of each function of a section.
    fn starts(&mut self, section: &str, unit: &Unit<'s>, errors: &mut Collector) -> Vec<(&'s str, usize)> {
        let called: std::collections::HashSet<&str> = unit.called().collect();
        let mut starts: Vec<(&'s str, usize)> = Vec::new();
        for (name, at) in unit.label_list() {
            let declared = self.protos.contains_key(name) || self.globals.contains_key(name);
            let first = at == 0 && starts.is_empty() && !name.starts_with('.');
            if !(declared || first || called.contains(name)) || at >= unit.len() {
                continue;
            }
            if starts.last().is_some_and(|last| last.1 == at) {
                errors.add(unit.label_span(name), "two functions start here", None);
                continue;
            }
            if section != ".text" && !declared && !first {
                let help = format!("functions that programs call live in `.text`: put `.text` before `{name}:`");
                errors.add(unit.label_span(name), format!("`{name}` is called, but stands in `{section}`"), Some(help));
            }
            if let Err(error) = self.take_name(name, Known::Function, &unit.label_span(name)) {
                error.file(errors);
            }
            starts.push((name, at));
        }
        if starts.first().is_none_or(|first| first.1 != 0) {
            let help = Some("put a label before the first instruction; it names the function".to_owned());
            errors.add(0..0, format!("the code at the start of `{section}` belongs to no function"), help);
            starts.insert(0, ("", 0));
        }
        starts
    }

    fn function(&self, section: &str, name: &str, code: Code) -> Function {
        let proto = self.protos.get(name);
        let global = self.globals.contains_key(name) || (section != ".text" && !proto.is_some_and(|p| p.is_static));
        let params = proto.filter(|p| p.has_params).map(|p| p.proto.params.clone());
        let ret = proto.map(|p| p.proto.ret.clone());
        let tags = proto.map_or_else(Vec::new, |p| p.tags.clone());
        Function { section: section.into(), name: name.into(), global, params, ret, tags, code, core: Vec::new() }
    }

    /// Declarations without a definition.
    fn check_leftovers(&self, functions: &[Function], errors: &mut Collector) {
        for (name, proto) in &self.protos {
            if !functions.iter().any(|function| &*function.name == *name) {
                let help = format!("add the label `{name}:` before its code");
                errors.add(proto.span.clone(), format!("the function `{name}` has no code"), Some(help));
            }
        }
        for (name, span) in &self.globals {
            if self.known(name) == Known::Nothing {
                errors.add(span.clone(), format!("`{name}` is declared global, but never defined"), None);
            }
        }
    }
}

/// Cuts a data section into its variables.
fn cut_data(section: &str, data: Data<'_>, out: &mut Vec<Variable>, errors: &mut Collector) {
    if data.vars.first().is_some_and(|first| first.at > 0) || (data.vars.is_empty() && !data.bytes.is_empty()) {
        let help = Some("put a label before them".to_owned());
        errors.add(0..0, format!("the bytes at the start of `{section}` have no name"), help);
    }
    for (i, var) in data.vars.iter().enumerate() {
        let end = data.vars.get(i + 1).map_or(data.bytes.len(), |next| next.at);
        let end = var.ty.as_ref().map_or(end, |ty| var.at + ty.size as usize).min(data.bytes.len());
        let bytes = data.bytes.get(var.at..end).unwrap_or_default().to_vec();
        if bytes.is_empty() {
            errors.add(var.span.clone(), format!("the variable `{}` has no bytes", var.name), None);
        }
        let pointers = var.pointers.iter().map(|&(at, name, _)| (at, name.into())).collect();
        out.push(Variable {
            section: section.into(),
            name: var.name.into(),
            ty: var.ty.clone(),
            bytes,
            align: var.align,
            is_static: var.is_static,
            tags: var.tags.clone(),
            pointers,
        });
    }
}
