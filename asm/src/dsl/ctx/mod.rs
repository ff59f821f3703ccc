//! Contexts: what the kernel tells a program, and what the program may ask of it.
//!
//! Stage: after `packet.rs`. Input: the program's one argument. Output: fields as values, calls that act on the packet or
//! the socket. Read next: `xdp.rs`, `skb.rs`, `sock.rs`, `ops.rs`, `trace.rs`.

mod ops;
mod skb;
mod sock;
mod trace;
mod xdp;

pub use ops::{Reply, SockOps, TcpState};
pub use skb::{CgroupSkb, Tc, TcAction};
pub use sock::{Access, CgroupSock, SkAction, SkLookup, SkMsg, SkSkb, SockAddr, SockOpt};
pub use trace::{Fentry, Kprobe, Observed, RawTracepoint, TpBtf, Tracepoint};
pub use xdp::{Action, FibLookup, Xdp};

use super::layout::Scalar;
use super::map::Status;
use super::rec;
use super::value::{IntoVal, Val};
use crate::insn::{Size, helper};
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

/// Reads a field of the context as the program sees it, at an offset.
#[track_caller]
fn field<T: Scalar, C: Context>(ctx: &C, off: i32) -> Val<T> {
    rec::with(|r| Val::of(r.b.load_as(T::TY, T::TY.size(), ctx.pointer(), off)))
}

/// As [`field`], of 8 bytes.
#[track_caller]
fn word<C: Context>(ctx: &C, off: i32) -> Val<u64> {
    rec::with(|r| Val::of(r.b.load_as(crate::ir::Ty::I64, Size::Dw, ctx.pointer(), off)))
}

/// Writes a field of the context.
#[track_caller]
fn set_field<T: Scalar, C: Context>(ctx: &C, off: i32, value: impl IntoVal<T>) {
    let value = value.into_val();
    rec::with(|r| {
        let value = value.value(r);
        r.b.store(ctx.pointer(), off, value);
    });
}

/// Calls a helper with the context and a number.
#[track_caller]
fn called<C: Context>(ctx: &C, id: helper::Id, number: impl IntoVal<u32>) -> Status {
    let number = number.into_val();
    rec::with(|r| {
        let number = number.value(r);
        Status::of(r.b.call(id, &[ctx.pointer(), number]).unwrap_or(number))
    })
}

/// Calls a helper with the context alone.
#[track_caller]
fn asked<C: Context>(ctx: &C, id: helper::Id) -> Val<u64> {
    rec::with(|r| Val::of(r.b.call(id, &[ctx.pointer()]).unwrap_or(ctx.pointer())))
}

/// Declares which contexts know a number of their socket, or of their network namespace, since which kernel.
macro_rules! cookies {
    ($($what:ident $since:literal $name:ident;)*) => {
        $(cookies!(@ $what $since $name);)*
    };
    (@ netns $since:literal $name:ident) => {
        impl $name {
            #[doc = concat!("A number that stays with the network namespace for its life. C: `bpf_get_netns_cookie`, Linux ", $since, ".")]
            #[track_caller]
            pub fn netns_cookie(&self) -> Val<u64> {
                crate::dsl::ctx::asked(self, crate::insn::helper::GET_NETNS_COOKIE)
            }
        }
    };
    (@ socket $since:literal $name:ident) => {
        impl $name {
            #[doc = concat!("A number that stays with the socket for its life. C: `bpf_get_socket_cookie`, Linux ", $since, ".")]
            #[track_caller]
            pub fn cookie(&self) -> Val<u64> {
                crate::dsl::ctx::asked(self, crate::insn::helper::GET_SOCKET_COOKIE)
            }
        }
    };
}

use cookies;

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
