//! Stage: the intermediate representation. Typed SSA whose types are the verifier's.
//!
//! Input: calls on a [`FuncBuilder`], or text. Output: a [`Func`], which `codegen` turns into instructions. Everything a
//! value may be used for follows from its [`Ty`], and these are the types that the kernel's verifier tells apart: an
//! optimiser may only do what keeps them.
//!
//! ```
//! use asm::insn::Cond;
//! use asm::ir::{FuncBuilder, Ty};
//!
//! let mut b = FuncBuilder::prog("xdp", "short");
//! let pass = b.block();
//! let (data, end) = (b.packet(), b.packet_end());
//! b.check(data, 14, end, pass); // goes on where 14 bytes are there
//! let proto = b.load(Ty::I16, data, 12);
//! let (ipv4, drop) = (b.iconst(Ty::I16, 0x0008), b.block());
//! b.branch(Cond::Eq, proto, ipv4, drop, pass);
//! for (block, action) in [(drop, 1), (pass, 2)] {
//!     b.switch_to(block);
//!     let action = b.iconst(Ty::I32, action);
//!     b.ret(Some(action));
//! }
//! let func = b.finish()?;
//! assert!(func.to_string().contains("check v1 + 14 <= v2"), "{func}");
//! # Ok::<(), asm::ir::Error>(())
//! ```
//!
//! Next: `types.rs`, `func.rs` (the data), `build.rs` and `ops.rs` (the builder), `print.rs`.

mod build;
mod calls;
mod core;
pub(crate) mod dom;
pub(crate) mod error;
mod func;
pub mod interp;
mod number;
mod ops;
mod parse;
mod paths;
mod print;
mod ranges;
mod rules;
pub(crate) mod sight;
mod types;
mod unwritten;
pub(crate) mod vars;
mod verify;

pub use self::core::{Core, Leaf};
pub use build::FuncBuilder;
pub use error::{Error, Problem, ProblemKind};
pub use func::{BlockData, Callee, Func, Inst, Linkage, Loc, LocId, Op, Param, Target, Term};
pub use parse::ParseError;
pub use sight::Sight;
pub use types::{Block, GlobalDecl, GlobalId, MapDecl, MapId, Region, StackDecl, StackId, Ty, Value, Var};
pub use verify::verify;

/// Functions that go into one object, and the texts that their lines refer to.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Programs and subprograms, in the order of the object.
    pub funcs: Vec<Func>,
    /// Source files, as far as they are known: they put the source text into the line records.
    pub sources: Vec<crate::insn::Source>,
}
