//! Stage: spec → verified, second step: everything up to the first map. Input: a spec and options. Output: [`Prepared`]:
//! programs in one piece, fitted to this kernel's types, symbols found. Only reads the kernel. Next file: `maps.rs`.

use std::cell::OnceCell;
use std::fmt;

use asm::insn::Op;

use super::externs::{self, Found};
use super::{Error, LoadOptions, attach, options};
use crate::btf::KernelBtf;
use crate::reloc::calls::byte_order;
use crate::reloc::core::{self, Candidates};
use crate::reloc::{Linked, link};
use crate::spec::Spec;

/// An object that is ready to be loaded, but for its maps' descriptors.
#[derive(Debug)]
pub struct Prepared {
    /// The spec with the options in it.
    pub spec: Spec,
    /// The programs to load, in the order of the object.
    pub progs: Vec<ReadyProg>,
    /// Optional programs that cannot be loaded here, and why.
    pub left_out: Vec<(String, Error)>,
    pub(super) found: Found,
}

/// A program that only waits for its maps.
#[derive(Debug)]
pub struct ReadyProg {
    /// Its name.
    pub name: String,
    /// Position in [`Spec::progs`].
    pub index: usize,
    /// Its code.
    pub linked: Linked,
    /// What it is for, in the kernel's numbers.
    pub(super) target: attach::Target,
}

/// The kernel's types, read when first needed.
pub(super) struct Kernel<'o> {
    options: &'o LoadOptions,
    btf: OnceCell<KernelBtf>,
}

impl Kernel<'_> {
    pub(super) fn btf(&self) -> Result<&KernelBtf, Error> {
        if let Some(btf) = self.options.kernel_btf.as_deref().or_else(|| self.btf.get()) {
            return Ok(btf);
        }
        let btf = KernelBtf::running()?;
        Ok(self.btf.get_or_init(|| btf))
    }
}

/// The dry run: does everything that loading does before it makes anything.
///
/// # Errors
/// As [`super::load`], as far as no map or program has to be made for it.
pub fn check(spec: &Spec, options: &LoadOptions) -> Result<Prepared, Error> {
    byte_order(spec)?;
    let mut spec = options::apply(spec, options)?;
    let kernel = Kernel { options, btf: OnceCell::new() };
    let refused = match prepare(spec.clone(), options, &kernel) {
        Err(refused) if !options.optional.is_empty() => refused,
        done => return done,
    };
    let left_out = leave_out(&mut spec, options, &kernel);
    if left_out.is_empty() {
        return Err(refused);
    }
    Ok(Prepared { left_out, ..prepare(spec, options, &kernel)? })
}

/// Switches off the optional programs that fail by themselves.
fn leave_out(spec: &mut Spec, options: &LoadOptions, kernel: &Kernel<'_>) -> Vec<(String, Error)> {
    let mut left_out = Vec::new();
    for name in &options.optional {
        let mut alone = spec.clone();
        alone.progs.iter_mut().for_each(|prog| prog.autoload &= prog.name == *name);
        if let Err(error) = prepare(alone, options, kernel) {
            spec.progs.iter_mut().for_each(|prog| prog.autoload &= prog.name != *name);
            left_out.push((name.clone(), error));
        }
    }
    left_out
}

fn prepare(mut spec: Spec, options: &LoadOptions, kernel: &Kernel<'_>) -> Result<Prepared, Error> {
    let mut linked = Vec::new();
    for (index, prog) in spec.progs.iter().enumerate().filter(|(_, prog)| prog.autoload) {
        linked.push((index, link(&spec, prog)?));
    }
    fit(&spec, &mut linked, kernel)?;
    let targets = attach::targets(&spec, linked.iter().map(|(index, _)| *index), options, kernel)?;
    let found = externs::find(&mut spec, linked.iter().map(|(_, linked)| linked), kernel)?;
    let progs = linked.into_iter().zip(targets).map(|((index, linked), target)| ReadyProg {
        name: spec.progs[index].name.clone(),
        index,
        linked,
        target,
    });
    let progs = progs.collect();
    Ok(Prepared { spec, progs, left_out: Vec::new(), found })
}

/// CO-RE, for the programs that need it.
fn fit(spec: &Spec, linked: &mut [(usize, Linked)], kernel: &Kernel<'_>) -> Result<(), Error> {
    if !linked.iter().any(|(_, linked)| core::is_needed(spec, linked)) {
        for (_, linked) in linked {
            core::apply(spec, linked, None)?;
        }
        return Ok(());
    }
    let mut candidates = Candidates::find(spec, linked.iter().map(|(_, linked)| linked), kernel.btf()?)?;
    for (_, linked) in linked {
        core::apply(spec, linked, Some(&mut candidates))?;
    }
    Ok(())
}

impl fmt::Display for Prepared {
    /// Each program's instructions, function by function, with what is still to be filled in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for prog in &self.progs {
            writeln!(f, "prog {}", prog.name)?;
            let mut at = 0;
            while let Some(rest) = prog.linked.insns.get(at..).filter(|rest| !rest.is_empty()) {
                if let Some((func, 0)) = prog.linked.place(at) {
                    writeln!(f, "{}:", self.spec.funcs.get(func).map_or("?", |func| func.name.as_str()))?;
                }
                let (op, slots) = Op::decode_lenient(rest).unwrap_or((Op::Raw(rest[0]), 1));
                write!(f, "  {at:4}: {op}")?;
                if let Ok(reloc) = prog.linked.relocs.binary_search_by_key(&at, |reloc| reloc.at) {
                    write!(f, "  <- {}", self.spec.reloc_text(prog.linked.relocs[reloc].kind))?;
                }
                writeln!(f)?;
                at += slots;
            }
        }
        Ok(())
    }
}
