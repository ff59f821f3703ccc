//! eBPF from source text to object file, in Rust alone.
//!
//! ```text
//! text  ─┐
//! calls ─┴→ instructions (insn) → object file (object, btf)
//! ```
//!
//! - [`insn`]: the instruction set, encoder, decoder, and a builder with labels;
//! - `text`: assembler and disassembler;
//! - `btf`, `object`: types and the ELF file.
//!
//! No kernel is asked and no clock read: the same input gives the same bytes. Next: `insn/mod.rs`.

#![forbid(unsafe_code)]

pub mod btf;
pub mod insn;
mod text;
