//! Atomic changes of memory that others share: map values and global variables.
//!
//! Stage: after `layout.rs`. Input: a [`Place`] of 32 or 64 bits, not in a packet. Output: what was there before, where that is
//! asked for. What nobody asks for costs nothing: the fetching goes, and an addition then is one that Linux 5.10 has. Read next: `bytes.rs`.

use super::layout::{Num, Place};
use super::rec;
use super::value::{IntoVal, Val};
use crate::insn::AtomicOp;

/// Numbers that can be changed atomically.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be changed atomically: numbers of 32 and 64 bits can")]
pub trait Atomic: Num {}

impl Atomic for u32 {}
impl Atomic for u64 {}
impl Atomic for i32 {}
impl Atomic for i64 {}

/// Declares operations that give nothing back.
macro_rules! plain {
    ($($name:ident $op:ident $says:literal;)*) => {
        impl<T: Atomic> Place<T> {$(
            #[doc = $says]
            #[track_caller]
            pub fn $name(self, value: impl IntoVal<T>) {
                let value = value.into_val();
                rec::with(|r| {
                    let (value, at) = (value.value(r), self.at());
                    let base = at.base(r);
                    r.b.atomic(AtomicOp::$op, base, at.off, value);
                });
            }
        )*}
    };
}

plain! {
    atomic_add Add "Adds atomically; what was there is not asked for.";
    atomic_or Or "Sets bits atomically. Linux 5.12.";
    atomic_and And "Clears bits atomically. Linux 5.12.";
    atomic_xor Xor "Flips bits atomically. Linux 5.12.";
}

/// Declares operations that give what was there.
macro_rules! fetching {
    ($($name:ident $op:ident $says:literal;)*) => {
        impl<T: Atomic> Place<T> {$(
            #[doc = $says]
            #[track_caller]
            pub fn $name(self, value: impl IntoVal<T>) -> Val<T> {
                let value = value.into_val();
                rec::with(|r| {
                    let (value, at) = (value.value(r), self.at());
                    let base = at.base(r);
                    Val::of(r.b.atomic_fetch(AtomicOp::$op, base, at.off, value))
                })
            }
        )*}
    };
}

fetching! {
    fetch_add FetchAdd "Adds atomically, and gives what was there. Linux 5.12.";
    fetch_or FetchOr "Sets bits atomically, and gives what was there. Linux 5.12.";
    fetch_and FetchAnd "Clears bits atomically, and gives what was there. Linux 5.12.";
    fetch_xor FetchXor "Flips bits atomically, and gives what was there. Linux 5.12.";
    swap Xchg "Puts a value there atomically, and gives what was there. Linux 5.12.";
}

impl<T: Atomic> Place<T> {
    /// Puts `new` there atomically if `old` is there, and gives what was there. Linux 5.12.
    #[track_caller]
    pub fn compare_exchange(self, old: impl IntoVal<T>, new: impl IntoVal<T>) -> Val<T> {
        let (old, new) = (old.into_val(), new.into_val());
        rec::with(|r| {
            let (old, new, at) = (old.value(r), new.value(r), self.at());
            let base = at.base(r);
            Val::of(r.b.cmpxchg(base, at.off, old, new))
        })
    }
}
