//! What each kernel's verifier accepts and refuses: a file a case, in assembly, judged by the running kernel.
//!
//! A case is an assembly file. Its comments say what it shows; marks say what must happen:
//!
//! ```text
//! # Arithmetic on a packet pointer comes after the check of the sum, never before.
//! #@ processed <= 20
//! .section xdp
//! case:
//!     …
//!     r4 = *(u16 *)(r1 + 12)      #! before 6.12: offset is outside of the packet
//! ```
//!
//! - A line with `#!` must be the one that is refused, with these words in what the verifier says behind the last
//!   instruction. `before 6.12:` and `since 6.1:` (or 6.18.44) say on which kernels; without them it holds on all. One more mark for the
//!   same line follows on a line of its own. `#!!` holds for the file as a whole: the refusal names no line.
//! - A kernel for which no mark holds must accept every program of the file.
//! - `#@ processed <= N` is the budget of the whole file in the verifier's own count.
//! - `#@ needs FEATURE X.Y` skips the case on older kernels. `#@ flag strict_alignment` loads it as on a machine without
//!   unaligned access.
//!
//! `cases/README.md` lists them all. A [`Twin`] (`twins/*.bpf`) is a program that runs, in the kernel and in the interpreter, with one result.
//!
//! Input: `cases/SUBJECT/*.bpf`. Output: an [`Outcome`]. Read next: `case.rs`, then `judge.rs`; `twin.rs`.
#![forbid(unsafe_code)]

mod case;
mod index;
mod judge;
mod twin;

pub use case::{Case, CaseError, Mark, Version};
pub use index::index;
pub use judge::{Judge, Outcome, Verdict};
pub use twin::{After, Contents, Twin, TwinError, TwinRun};
