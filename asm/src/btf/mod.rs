//! BTF, the type format that eBPF objects and the kernel share.
//!
//! Stage: types → `.BTF` and `.BTF.ext` bytes, and back. Input: [`Type`] values pushed into a [`BtfBuilder`], or the bytes
//! of a section, of `/sys/kernel/btf/vmlinux` or of a module. Output: deterministic bytes, or a [`Btf`], which is an index
//! over the bytes and not a tree of objects: the five to ten megabytes of a kernel cost about a quarter more than themselves.
//!
//! ```
//! use asm::btf::{Btf, BtfBuilder, Type};
//!
//! let mut b = BtfBuilder::new();
//! let word = b.int("u32", 4, false);
//! b.typedef("__be32", word);
//! let bytes = b.encode()?;
//!
//! let btf = Btf::parse(&bytes)?;
//! let id = btf.find_name("__be32").next().expect("just written");
//! assert_eq!(btf.get(id)?, Type::Typedef { name: "__be32", ty: word });
//! assert_eq!(btf.size_of(id)?, 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Next: `wire.rs` (the bytes), `types.rs` (the values), `decode.rs` and `encode.rs` (between the two), `ext.rs`
//! (function, line and relocation records), `describe.rs` (Rust types that describe themselves), `check.rs` (the kernel's rules), `dump.rs` (text).

mod check;
mod decode;
mod describe;
mod dump;
mod encode;
mod error;
mod ext;
mod header;
mod names;
mod query;
mod strings;
mod types;
pub mod wire;

pub use check::Refused;
pub(crate) use check::{is_c_identifier, is_variable_name};
pub use decode::Btf;
pub use describe::BtfType;
#[doc(hidden)]
pub use describe::member;
pub use encode::{BtfBuilder, EncodeError};
pub use error::Error;
pub use ext::{BtfExt, CoreRelo, CoreReloKind, FuncInfo, LineInfo, SectionInfo};
pub use strings::{StrOff, StringTable};
pub use types::{Int, Kind, Linkage, Member, Param, Type, TypeId, VarSecinfo};
