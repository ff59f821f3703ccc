//! Stage: from the intermediate representation to instructions.
//!
//! Input: a [`Module`] and the [`Profile`] of the kernel it is for. Output: one [`Compiled`] a function, whose code goes to
//! the object writer. The road of one function is the body of [`compile_func`]: passes over the IR, choice of instructions,
//! register allocation, order of blocks, labels filled in.
//!
//! ```
//! use asm::codegen::{Profile, compile_func};
//! use asm::ir::{FuncBuilder, Ty};
//!
//! let mut b = FuncBuilder::prog("xdp", "pass");
//! let pass = b.iconst(Ty::I32, 2);
//! b.ret(Some(pass));
//! let compiled = compile_func(&b.finish()?, &[], &Profile::linux_5_10())?;
//! assert_eq!(compiled.code.insns.iter().map(ToString::to_string).collect::<Vec<_>>(), ["r0 = 2", "exit"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Next: `profile.rs`, `opt/mod.rs` (the pass list), `mir.rs`, `select.rs`, `regalloc.rs`, `layout.rs`, `emit.rs`.

mod emit;
mod error;
mod frame;
mod layout;
mod liveness;
mod mir;
mod moves;
mod opt;
mod profile;
mod regalloc;
mod select;
mod spill;

pub use error::Error;
pub use profile::{Allocation, Profile};

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::insn::{Code, InsnIdx, Source};
use crate::ir::sight::{judge, movers};
use crate::ir::{Core, Func, Linkage, Module, Param, Ty, verify};
use crate::object::{self, ProgDef};

/// A function as instructions, and what its definition in an object needs.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Symbol.
    pub name: Arc<str>,
    /// Who may call it.
    pub linkage: Linkage,
    /// Parameters.
    pub params: Vec<Param>,
    /// What it returns.
    pub ret: Option<Ty>,
    /// The instructions, with relocations and lines.
    pub code: Code,
    /// Questions about the kernel's types, and the instructions that get the answers.
    pub questions: Vec<(InsnIdx, Arc<Core>)>,
    /// Bytes of stack, at most 512.
    pub stack: u32,
}

impl Compiled {
    /// The function as the object writer takes it. Numbers are described as what they are, pointers as 64-bit numbers.
    #[must_use]
    pub fn definition(self) -> ProgDef {
        let def = match self.linkage {
            Linkage::Prog { section, .. } => {
                return asking(ProgDef::new(&section, &self.name, self.code), &self.questions);
            }
            Linkage::Static => ProgDef::subprog(&self.name, self.code),
            Linkage::Global => ProgDef::subprog(&self.name, self.code).global(),
        };
        let def = asking(def, &self.questions);
        let def = self.params.iter().fold(def, |def, param| def.param(&param.name, described(param.ty)));
        def.returns(self.ret.map_or_else(object::Ty::void, described))
    }
}

/// With its questions about the kernel's types.
fn asking(def: ProgDef, questions: &[(InsnIdx, Arc<Core>)]) -> ProgDef {
    questions.iter().fold(def, |def, (at, core)| def.core(*at, core.kind, core.ty(), &core.access()))
}

/// A type for BTF.
fn described(ty: Ty) -> object::Ty {
    match ty {
        Ty::I8 => object::Ty::of::<u8>(),
        Ty::I16 => object::Ty::of::<u16>(),
        Ty::I32 => object::Ty::of::<u32>(),
        _ => object::Ty::of::<u64>(),
    }
}

/// Functions of the object in which packets move.
type Movers = BTreeSet<Arc<str>>;

/// Compiles every function of a module.
///
/// # Errors
/// The first function that breaks a rule, needs what the profile lacks, or more stack than there is.
pub fn compile(module: &Module, profile: &Profile) -> Result<Vec<Compiled>, Error> {
    let movers = movers(module);
    module.funcs.iter().map(|func| compile_among(&movers, func, &module.sources, profile)).collect()
}

/// Runs the passes over a function. Each that changed something is told to `watch`, with what it left: to print it, or to
/// run it in the interpreter of [`crate::ir::interp`].
///
/// # Errors
/// The function breaks a rule, the verifier of that kernel would certainly refuse it, or a pass does something wrong.
pub fn optimize(func: &Func, profile: &Profile, watch: &mut dyn FnMut(&'static str, &Func)) -> Result<Func, Error> {
    optimize_among(&Movers::new(), func, profile, watch)
}

fn optimize_among(
    movers: &Movers,
    func: &Func,
    profile: &Profile,
    watch: &mut dyn FnMut(&'static str, &Func),
) -> Result<Func, Error> {
    verify(func)?;
    let mut small = func.clone();
    opt::run(&mut small, profile, watch)?;
    verify(&small)?;
    judge(&small, &profile.sight, movers)?;
    Ok(small)
}

/// Compiles one function; `sources` are the texts that its lines refer to.
///
/// # Errors
/// As [`compile`].
pub fn compile_func(func: &Func, sources: &[Source], profile: &Profile) -> Result<Compiled, Error> {
    compile_among(&Movers::new(), func, sources, profile)
}

fn compile_among(movers: &Movers, func: &Func, sources: &[Source], profile: &Profile) -> Result<Compiled, Error> {
    let small = optimize_among(movers, func, profile, &mut |_, _| {})?;
    let mut machine = select::select(&small, profile)?;
    regalloc::allocate(&mut machine, profile)?;
    let frame = frame::lay_out(&machine)?;
    layout::order(&mut machine);
    let (mut code, questions) = emit::emit(&machine, &frame)?;
    code.sources = sources.iter().filter(|s| code.lines.iter().any(|line| line.file == *s.file())).cloned().collect();
    let Func { name, linkage, params, ret, .. } = func.clone();
    Ok(Compiled { name, linkage, params, ret, code, questions, stack: frame.size })
}
