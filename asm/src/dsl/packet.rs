//! The packet behind a context: a cursor that checks before it reads.
//!
//! Stage: after `layout.rs`. Input: a context. Output: references into the packet, which borrow the context: whatever moves
//! the packet takes the context mutably, so a reference that has gone stale is a borrow error. Read next: `ctx.rs`.

use std::marker::PhantomData;
use std::ops::Deref;

use super::flow::Fallible;
use super::layout::{Addr, Layout, Num, Ptr};
use super::rec;
use super::settle::{Mutable, Own, Stage};
use super::value::{IntoVal, Val};
use crate::insn::Cond;
use crate::ir::{Block, Ty, Value, Var};

/// The furthest that one step of the cursor goes: the verifier loses track of offsets of 16 bits and more.
const FURTHEST: u64 = 0x7fff;

/// A place in the packet from which reading goes on.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    at: Var,
    end: Value,
    of: PhantomData<&'a ()>,
}

impl<'a> Packet<'a> {
    /// The start of the packet, as a new cursor.
    #[track_caller]
    pub(crate) fn start() -> Self {
        rec::with(|r| {
            let (data, end) = (r.b.packet(), r.b.packet_end());
            let at = r.b.var(Ty::Packet);
            r.b.def(at, data);
            Self { at, end, of: PhantomData }
        })
    }

    /// The header here, if the packet has all of it; the cursor stands behind it afterwards.
    #[track_caller]
    pub fn read<T: Layout>(&mut self) -> Read<'a, T> {
        rec::with(|r| {
            let at = r.b.use_var(self.at);
            let next = r.b.ptr_offset(at, T::SIZE.into());
            r.b.def(self.at, next);
            Read { at, end: self.end, of: PhantomData }
        })
    }

    /// As [`Packet::read`], and the cursor stays.
    #[track_caller]
    pub fn peek<T: Layout>(&self) -> Read<'a, T> {
        rec::with(|r| Read { at: r.b.use_var(self.at), end: self.end, of: PhantomData })
    }

    /// Moves the cursor on by so many bytes, at most 32,767. Whether the packet has them is seen when it is read.
    #[track_caller]
    pub fn skip<N: Num>(&mut self, by: impl IntoVal<N>) -> Skip {
        let by = by.into_val();
        rec::with(|r| Skip { at: self.at, by: by.value(r) })
    }

    /// Bytes from the cursor to the packet's end. A number to compare lengths with: bounds are what `read` tests.
    #[track_caller]
    pub fn remaining(&self) -> Val<u64> {
        rec::with(|r| {
            let at = r.b.use_var(self.at);
            Val::of(r.b.ptr_sub(self.end, at))
        })
    }

    /// A second cursor at the same place.
    #[must_use]
    #[track_caller]
    pub fn fork(&self) -> Self {
        self.mutable()
    }
}

impl Mutable for Packet<'_> {
    fn mutable(self) -> Self {
        rec::with(|r| {
            let (now, at) = (r.b.use_var(self.at), r.b.var(Ty::Packet));
            r.b.def(at, now);
            Self { at, ..self }
        })
    }
}

impl Own for Packet<'_> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl Stage for Packet<'_> {
    type Out = Packet<'static>;
    fn stage(self) -> Packet<'static> {
        Packet { at: self.at, end: self.end, of: PhantomData }
    }
}

/// A step of the cursor that may be too far.
#[derive(Clone, Copy, Debug)]
#[must_use = "the cursor moves when it is tested: `pkt.skip(n)?`"]
pub struct Skip {
    at: Var,
    by: Value,
}

impl Fallible for Skip {
    type Found = ();
    fn some(self, other: Block) {
        rec::with(|r| {
            if r.max_of(self.by) > FURTHEST {
                let (next, furthest) = (r.b.block(), r.number(Ty::I64, FURTHEST));
                r.b.branch(Cond::Gt, self.by, furthest, other, next);
                r.enter(next);
            }
            let at = r.b.use_var(self.at);
            let next = r.b.ptr_add(at, self.by);
            r.b.def(self.at, next);
        });
    }
}

/// A `T` in a packet that is borrowed for `'a`.
type Of<'a, T> = (&'a (), fn() -> T);

/// A header that the packet may not have.
#[derive(Debug)]
#[must_use = "test it with `?`, `let else` or `match`"]
pub struct Read<'a, T> {
    at: Value,
    end: Value,
    of: PhantomData<Of<'a, T>>,
}

impl<T> Clone for Read<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Read<'_, T> {}

impl<'a, T: Layout> Fallible for Read<'a, T> {
    type Found = PktRef<'a, T>;
    fn some(self, other: Block) -> PktRef<'a, T> {
        rec::with(|r| r.b.check(self.at, T::SIZE, self.end, other));
        PktRef::at(Addr::of(self.at))
    }
}

impl<T> Own for Read<'_, T> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<T: 'static> Stage for Read<'_, T> {
    type Out = Read<'static, T>;
    fn stage(self) -> Self::Out {
        Read { at: self.at, end: self.end, of: PhantomData }
    }
}

/// A header in the packet: its fields can be read and assigned until the packet moves.
pub struct PktRef<'a, T: Layout> {
    at: Addr,
    place: T::Place,
    of: PhantomData<&'a ()>,
}

impl<T: Layout> std::fmt::Debug for PktRef<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PktRef({:?})", self.at)
    }
}

impl<T: Layout> Clone for PktRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Layout> Copy for PktRef<'_, T> {}

impl<T: Layout> PktRef<'_, T> {
    pub(crate) fn at(at: Addr) -> Self {
        Self { at, place: T::place(at), of: PhantomData }
    }

    /// Where it is.
    pub(crate) const fn addr(&self) -> Addr {
        self.at
    }
}

impl<T: Layout> Deref for PktRef<'_, T> {
    type Target = T::Place;
    fn deref(&self) -> &T::Place {
        &self.place
    }
}

impl<T: Layout> Own for PktRef<'_, T> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<T: Layout> Stage for PktRef<'_, T> {
    type Out = PktRef<'static, T>;
    fn stage(self) -> Self::Out {
        PktRef { at: self.at, place: self.place, of: PhantomData }
    }
}

impl<T: Layout> Mutable for PktRef<'_, T> {
    fn mutable(self) -> Self {
        let at = rec::with(|r| {
            let (now, var) = (self.at.pointer(r), r.b.var(Ty::Packet));
            r.b.def(var, now);
            Addr { ptr: Ptr::Var(var), off: 0 }
        });
        Self::at(at)
    }
}
