//! Programs become an object: recorded one by one, with the maps and variables that they name.
//!
//! Stage: last of `dsl`. Input: what the attributes made of functions. Output: [`ir::Module`], and from
//! there an [`Object`]. Nothing but the maps that a program uses goes into the object. Read next:
//! `../ir/mod.rs`.

use std::collections::BTreeMap;

use super::ctx::Context;
use super::layout::Scalar;
use super::rec;
use super::{flow, value::IntoVal};
use crate::codegen::{self, Compiled, Profile};
use crate::insn::Source;
use crate::ir::{self, Func, FuncBuilder};
use crate::object::{GlobalDef, MapDef, Object};

/// Why programs did not become an object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program does something that has no meaning, or that no kernel would take.
    #[error(transparent)]
    Record(#[from] ir::Error),
    /// A program cannot be compiled for that kernel.
    #[error(transparent)]
    Compile(#[from] codegen::Error),
}

/// What a recording gives.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) funcs: Vec<Func>,
    pub(crate) maps: BTreeMap<&'static str, MapDef>,
    pub(crate) globals: BTreeMap<&'static str, GlobalDef>,
    pub(crate) texts: Vec<Text>,
}

/// The text of a function, for line records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Path, as the compiler names it.
    pub file: &'static str,
    /// Number of the first line.
    pub line: u32,
    /// The lines.
    pub text: &'static str,
}

/// A kernel program. The attributes make functions that return one.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    section: &'static str,
    name: &'static str,
    record: fn(),
    text: Text,
}

impl Program {
    /// The program `name` in that ELF section, whose body `record` records. Written by the attributes.
    #[must_use]
    pub const fn new(section: &'static str, name: &'static str, record: fn(), text: Text) -> Self {
        Self { section, name, record, text }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    fn record(&self) -> Result<Recorded, ir::Error> {
        let mut recorded = rec::record(FuncBuilder::prog(self.section, self.name), self.record)?;
        recorded.texts.push(self.text);
        Ok(recorded)
    }
}

/// Runs the body of a program: its context, its verdict where `?` goes, the body. Written by the attributes.
#[track_caller]
pub fn program<C: Context>(default: Option<C::Verdict>, body: impl FnOnce(&mut C)) {
    let mut ctx = C::begin();
    body(&mut ctx);
    if let Some(default) = default {
        flow::leave_by_default(default.to_bits());
    }
}

/// The result of a program of this type is that type. Written by the attributes, for rustc to judge.
pub const fn verdict<C: Context<Verdict = V>, V: Scalar + IntoVal<V>>() {}

/// Programs that share maps and variables, and go into one object.
#[derive(Clone, Debug)]
pub struct Module {
    license: String,
    programs: Vec<Program>,
}

impl Module {
    /// An empty module; its license is what the kernel is told, such as `Dual MIT/GPL`.
    #[must_use]
    pub fn new(license: &str) -> Self {
        Self { license: license.to_owned(), programs: Vec::new() }
    }

    /// Adds a program.
    #[must_use]
    pub fn prog(mut self, program: Program) -> Self {
        self.programs.push(program);
        self
    }

    /// The names of the programs, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.programs.iter().map(Program::name)
    }

    /// Records every program.
    ///
    /// # Errors
    /// Everything that is wrong with a program, each with its place in source.
    pub fn ir(&self) -> Result<ir::Module, Error> {
        Ok(self.record()?.0)
    }

    /// The instructions of every function, for the kernels of that profile.
    ///
    /// # Errors
    /// As [`Module::ir`]; and what that kernel cannot do, or too large a stack.
    pub fn compile(&self, profile: &Profile) -> Result<Vec<Compiled>, Error> {
        Ok(codegen::compile(&self.record()?.0, profile)?)
    }

    /// The object, for the kernels of that profile.
    ///
    /// # Errors
    /// As [`Module::compile`].
    pub fn object(&self, profile: &Profile) -> Result<Object, Error> {
        let (ir, recorded) = self.record()?;
        let mut object = Object::new(&self.license);
        for map in recorded.maps.into_values() {
            object = object.map(map);
        }
        for global in recorded.globals.into_values() {
            object = object.global(global);
        }
        for compiled in codegen::compile(&ir, profile)? {
            object = object.prog(compiled.definition());
        }
        Ok(object)
    }

    /// The functions, and what the object needs besides.
    fn record(&self) -> Result<(ir::Module, Recorded), Error> {
        let mut all =
            Recorded { funcs: Vec::new(), maps: BTreeMap::new(), globals: BTreeMap::new(), texts: Vec::new() };
        for program in &self.programs {
            let one = program.record()?;
            for func in one.funcs {
                // Programs that share a subprogram have each recorded it.
                if !all.funcs.iter().any(|known| known.name == func.name) {
                    all.funcs.push(func);
                }
            }
            all.maps.extend(one.maps);
            all.globals.extend(one.globals);
            all.texts.extend(one.texts);
        }
        let funcs = std::mem::take(&mut all.funcs);
        Ok((ir::Module { funcs, sources: sources(&all.texts) }, all))
    }
}

/// The texts, file by file.
fn sources(texts: &[Text]) -> Vec<Source> {
    let mut files: BTreeMap<&str, Vec<(u32, &str)>> = BTreeMap::new();
    for text in texts {
        files.entry(text.file).or_default().extend((text.line..).zip(text.text.lines()));
    }
    files.into_iter().map(|(file, lines)| Source::from_lines(file, lines)).collect()
}
