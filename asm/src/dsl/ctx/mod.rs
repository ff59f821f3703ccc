//! Contexts: what the kernel tells a program, and what the program may ask of it.
//!
//! Stage: after `packet.rs`. Input: the program's one argument. Output: fields as values, calls that act on the packet or
//! the socket. Read next: `xdp.rs`, `sock.rs`, `trace.rs`.

mod sock;
mod trace;
mod xdp;

pub use sock::{Access, CgroupSkb, SkAction, SkLookup, SkMsg, SkSkb, SockAddr, SockOps, Tc, TcAction};
pub use trace::{Fentry, Kprobe, Tracepoint};
pub use xdp::{Action, Xdp};

use super::layout::Scalar;
use super::rec;
use super::value::Val;
use crate::insn::Size;
use crate::ir::Value;

/// The context of a type of program.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no context",
    note = "the argument of a kernel program is `&mut` the context of its type: `&mut Xdp`, `&mut SkMsg`, .."
)]
pub trait Context: Sized {
    /// What the program returns.
    type Verdict: Scalar;
    /// The context of the program that is being recorded.
    #[doc(hidden)]
    #[track_caller]
    fn begin() -> Self;
    /// The program's first argument.
    #[doc(hidden)]
    fn pointer(&self) -> Value;
}

/// Reads a field of the context as the program sees it: 4 bytes at an offset.
#[track_caller]
fn field<T: Scalar, C: Context>(ctx: &C, off: i32) -> Val<T> {
    rec::with(|r| Val::of(r.b.load_as(T::TY, T::TY.size(), ctx.pointer(), off)))
}

/// As [`field`], of 8 bytes.
#[track_caller]
fn word<C: Context>(ctx: &C, off: i32) -> Val<u64> {
    rec::with(|r| Val::of(r.b.load_as(crate::ir::Ty::I64, Size::Dw, ctx.pointer(), off)))
}

/// Declares a context: type, verdict, fields as name, offset, type and what it says.
macro_rules! contexts {
    ($($(#[$doc:meta])* $name:ident -> $verdict:ty { $($field:ident $off:literal $ty:ty, $says:literal;)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            ctx: crate::ir::Value,
        }

        impl crate::dsl::ctx::Context for $name {
            type Verdict = $verdict;
            fn begin() -> Self {
                Self { ctx: crate::dsl::rec::with(|r| r.b.ctx()) }
            }
            fn pointer(&self) -> crate::ir::Value {
                self.ctx
            }
        }

        impl $name {
            $(
                #[doc = $says]
                #[track_caller]
                pub fn $field(&self) -> crate::dsl::Val<$ty> {
                    crate::dsl::ctx::field(self, $off)
                }
            )*
        }
    )*};
}

use contexts;
