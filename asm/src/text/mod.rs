//! Assembly text, both ways.
//!
//! Stage: source. Input: text in one of two languages, or instructions. Output: instructions, a whole [`Program`], or text.
//!
//! The first language is the pseudo-C that LLVM and the verifier's log write; the second is the mnemonics of ubpf and of the
//! `bpf_conformance` suite. A file in either is a full program: sections, maps, variables, functions with their types.
//!
//! ```
//! let program = asm::text::parse("pass.s", r#"
//! .license "Dual MIT/GPL"
//! .map hits: array { key: u32, value: u64, max_entries: 1 }
//! .section xdp
//! pass:
//!     *(u32 *)(r10 - 4) = 0
//!     r2 = r10
//!     r2 += -4
//!     r1 = hits ll
//!     call bpf_map_lookup_elem
//!     if r0 == 0 goto out
//!     r1 = 1
//!     lock *(u64 *)(r0 + 0) += r1
//! out:
//!     r0 = 2              # XDP_PASS
//!     exit
//! "#)?;
//! let bytes = program.object().write()?;
//! assert_eq!(&bytes[..4], b"\x7fELF");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Next: `lex.rs`, `parse/mod.rs`, `unit.rs`, `resolve.rs`, `file.rs`, `program.rs` (text in); `print.rs`, `listing.rs` (text out).

pub mod conformance;
mod declare;
mod diag;
mod file;
mod ink;
mod lex;
mod listing;
mod parse;
mod print;
mod program;
mod resolve;
mod types;
mod unit;

pub use declare::Declarations;
pub use diag::{Diagnostic, Diagnostics, MAX_SHOWN};
pub use listing::{Options, print, print_noted, print_with};
pub use parse::Dialect;
pub use program::{Function, Program};

use crate::insn::Code;
use file::File;
use parse::Parser;

/// Assembles a snippet of pseudo-C: instructions and labels, one function. Names of maps become relocations.
///
/// ```
/// let code = asm::text::assemble("r0 = 2\nexit")?;
/// assert_eq!(code.insns.len(), 2);
///
/// let wrong = asm::text::assemble("r0 = w2\nexit").unwrap_err();
/// assert!(wrong.to_string().contains("write r2"));
/// # Ok::<(), asm::text::Diagnostics>(())
/// ```
///
/// # Errors
///
/// Every mistake of the text, each with its line, a caret and advice.
pub fn assemble(text: &str) -> Result<Code, Diagnostics> {
    assemble_as(Dialect::PseudoC, "<text>", text)
}

/// As [`assemble`], in either language; `name` is the file's name in errors and line records.
///
/// # Errors
///
/// As [`assemble`].
pub fn assemble_as(dialect: Dialect, name: &str, text: &str) -> Result<Code, Diagnostics> {
    let mut parser = read(dialect, name, text);
    let (file, mut errors) = (parser.file, std::mem::take(&mut parser.errors));
    let code = file.finish_snippet(text, &mut errors);
    if errors.is_empty() { Ok(code) } else { Err(errors.finish(name.into(), text)) }
}

/// Reads a whole file of pseudo-C: sections, functions, maps, variables and types.
///
/// # Errors
///
/// As [`assemble`].
pub fn parse(name: &str, text: &str) -> Result<Program, Diagnostics> {
    let mut parser = read(Dialect::PseudoC, name, text);
    let (file, mut errors) = (parser.file, std::mem::take(&mut parser.errors));
    let program = file.finish(text, &mut errors);
    if errors.is_empty() { Ok(program) } else { Err(errors.finish(name.into(), text)) }
}

fn read<'s>(dialect: Dialect, name: &str, text: &'s str) -> Parser<'s> {
    // A text that is longer than positions can count is read as an empty one with one mistake.
    let too_long = text.len() > lex::MAX_FILE;
    let mut parser = Parser::new(if too_long { "" } else { text }, dialect, File::new(name));
    if too_long {
        parser.errors.add(0..0, "the file is longer than 4 GiB", None);
    }
    parser.run();
    if dialect == Dialect::Mnemonic {
        parser.file.imply_exit();
    }
    parser
}
