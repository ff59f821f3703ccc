//! eBPF from source text to object file, in Rust alone.
//!
//! ```text
//! Rust (dsl) → IR (ir) → code generation (codegen) ─┐
//! text, or builder calls ───────────────────────────┴→ instructions (insn) → object file (object, btf)
//! ```
//!
//! - [`dsl`]: kernel programs in Rust; [`ir`], [`codegen`]: the compiler below it;
//! - [`insn`]: the instruction set, encoder, decoder, and a builder with labels;
//! - [`text`]: assembler and disassembler;
//! - [`vm`]: an interpreter that watches every access, for tests without a kernel;
//! - [`btf`], [`object`]: types and the ELF file.
//!
//! No kernel is asked and no clock read: the same input gives the same bytes. Next: `insn/mod.rs`.
//!
//! ```
//! use asm::insn::{Builder, R0};
//! let mut b = Builder::new();
//! b.mov(R0, 2); // XDP_PASS
//! b.exit();
//! let code = b.finish()?;
//! assert_eq!(code.insns.iter().map(ToString::to_string).collect::<Vec<_>>(), ["r0 = 2", "exit"]);
//! # Ok::<(), asm::insn::BuildError>(())
//! ```

#![forbid(unsafe_code)]

// What the derives write names this crate from outside, and from inside.
extern crate self as asm;

pub mod btf;
pub mod codegen;
pub mod dsl;
pub mod insn;
pub mod ir;
pub mod object;
pub mod text;
pub mod vm;
