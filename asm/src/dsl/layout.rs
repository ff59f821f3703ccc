//! Types with a layout in kernel memory, and places that hold them.
//!
//! Stage: after `value.rs`. Input: Rust types (`#[derive(Layout)]` for structs and enums). Output: places, whose fields are
//! places again: reading one is a load, assigning one is a store. Read next: `atomic.rs`, `bytes.rs`, `packet.rs`.

use std::fmt;
use std::marker::PhantomData;

use super::bytes;
use super::flow::Fallible;
use super::rec::{self, Recorder};
use super::settle::Stage;
use super::value::{IntoVal, Repr, Val};
use crate::btf::BtfType;
use crate::insn::Cond;
use crate::ir::{Block, Ty, Value, Var};

/// A type with a fixed layout: sizes, BTF, and what a place of it looks like. Derived.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no layout in kernel memory",
    note = "write `#[derive(Layout)] #[repr(C)]` on a struct, or `#[derive(Layout)] #[repr(u32)]` on an enum"
)]
pub trait Layout: BtfType + 'static {
    /// Bytes.
    const SIZE: u32;
    /// Bytes that its address is a multiple of.
    const ALIGN: u32;
    /// A place in memory that holds it.
    type Place: Copy;
    /// The place at an address.
    fn place(at: Addr) -> Self::Place;
}

/// A struct: its parts as staged values. Derived.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no struct of kernel memory",
    note = "write `#[derive(Layout)] #[repr(C)]` on it"
)]
pub trait Struct: Layout {
    /// The struct with a staged value for each field.
    type Parts;
}

/// A type that is one number: integers, booleans, byte-ordered integers, enums.
pub trait Scalar: Layout + Copy {
    /// The number's type.
    const TY: Ty;
    /// Compared and divided with its sign.
    const SIGNED: bool = false;
    /// Zero or one.
    const IS_BOOL: bool = false;
    /// The number, in the low bits.
    fn to_bits(self) -> u64;
}

/// Numbers that arithmetic is for.
pub trait Num: Scalar {}

/// A pointer: what was computed, or a variable that holds one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ptr {
    Value(Value),
    Var(Var),
}

/// An address: a pointer and a distance in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Addr {
    pub(crate) ptr: Ptr,
    pub(crate) off: i32,
}

impl Addr {
    pub(crate) const fn of(ptr: Value) -> Self {
        Self { ptr: Ptr::Value(ptr), off: 0 }
    }

    /// So many bytes further.
    #[must_use]
    pub const fn offset(self, by: usize) -> Self {
        // Structs of kernel memory are far smaller than 2³¹ bytes.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "bounded by the largest map value"
        )]
        Self { off: self.off + by as i32, ..self }
    }

    /// The pointer without the distance.
    pub(crate) fn base(self, r: &mut Recorder) -> Value {
        match self.ptr {
            Ptr::Value(value) => value,
            Ptr::Var(var) => r.b.use_var(var),
        }
    }

    /// The pointer itself.
    pub(crate) fn pointer(self, r: &mut Recorder) -> Value {
        let base = self.base(r);
        r.offset(base, self.off)
    }
}

/// A place that holds a number.
pub struct Place<T> {
    at: Addr,
    of: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Place<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({:?})", self.at)
    }
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Place<T> {}

impl<T: Scalar> Place<T> {
    /// The place at an address.
    #[must_use]
    pub const fn new(at: Addr) -> Self {
        Self { at, of: PhantomData }
    }

    /// Where it is.
    pub(crate) const fn at(self) -> Addr {
        self.at
    }

    /// What it holds.
    #[track_caller]
    pub fn load(self) -> Val<T> {
        rec::with(|r| {
            let base = self.at.base(r);
            Val::of(r.b.load(T::TY, base, self.at.off))
        })
    }

    /// Puts a value there.
    #[track_caller]
    pub fn store(self, value: impl IntoVal<T>) {
        let value = value.into_val();
        rec::with(|r| {
            let (value, base) = (value.value(r), self.at.base(r));
            r.b.store(base, self.at.off, value);
        });
    }
}

impl<T: Scalar> IntoVal<T> for Place<T> {
    #[track_caller]
    fn into_val(self) -> Val<T> {
        self.load()
    }
}

/// A place of any type: what `&place` and `*place` work with.
pub trait AnyPlace: Copy {
    /// What it holds.
    type Of: Layout;
    /// Where it is.
    fn addr(self) -> Addr;
}

impl<T: Scalar> AnyPlace for Place<T> {
    type Of = T;
    fn addr(self) -> Addr {
        self.at
    }
}

/// A place that holds `N` elements in a row.
pub struct ArrayPlace<T, const N: usize> {
    at: Addr,
    of: PhantomData<fn() -> T>,
}

impl<T, const N: usize> fmt::Debug for ArrayPlace<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArrayPlace({:?})", self.at)
    }
}

impl<T, const N: usize> Clone for ArrayPlace<T, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, const N: usize> Copy for ArrayPlace<T, N> {}

impl<T: Layout, const N: usize> AnyPlace for ArrayPlace<T, N> {
    type Of = [T; N];
    fn addr(self) -> Addr {
        self.at
    }
}

impl<T: Layout, const N: usize> ArrayPlace<T, N> {
    /// Element number `index`, which must be known to be less than `N`: a constant, or a number that is masked or of a
    /// small type. Otherwise use [`ArrayPlace::get`].
    #[track_caller]
    pub fn at<I: Scalar>(self, index: impl IntoVal<I>) -> T::Place {
        let index = index.into_val();
        if let Repr::Const(index) = index.repr {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            if index < N {
                return T::place(self.at.offset(index * T::SIZE as usize));
            }
        }
        let at = rec::with(|r| {
            let index = index.value(r);
            if r.max_of(index) >= N as u64 {
                r.b.problem(crate::ir::ProblemKind::Malformed(format!(
                    "an index of up to {} into an array of {N}: mask it, or use `.get(index)?`",
                    r.max_of(index)
                )));
            }
            element(r, self.at, index, T::SIZE)
        });
        T::place(at)
    }

    /// Element number `index`, if there is one.
    pub fn get<I: Scalar>(self, index: impl IntoVal<I>) -> Element<T, I, N> {
        Element { array: self, index: index.into_val() }
    }
}

impl<const N: usize> ArrayPlace<u8, N> {
    /// Is every byte zero? Of at most 32 bytes.
    #[track_caller]
    pub fn is_zero(self) -> Val<bool> {
        rec::with(|r| {
            let bytes: Val<[u8; N]> = bytes::load(r, self.at, <[u8; N]>::SIZE);
            let mut all = r.number(Ty::I64, 0);
            if let Repr::Pieces(pieces) = bytes.repr {
                for piece in pieces.into_iter().flatten() {
                    let wide = r.b.zext(piece, Ty::I64);
                    all = r.b.or(wide, all);
                }
            } else {
                r.b.problem(crate::ir::ProblemKind::Malformed(format!(
                    "{N} bytes are more than can be tested at once"
                )));
            }
            let zero = r.number(Ty::I64, 0);
            Val::new(Repr::Test(Cond::Eq, all, zero))
        })
    }
}

/// An element that may not be there.
#[derive(Clone, Copy, Debug)]
#[must_use = "test it with `?`, `let else` or `match`"]
pub struct Element<T, I, const N: usize> {
    pub(crate) array: ArrayPlace<T, N>,
    pub(crate) index: Val<I>,
}

impl<T: Layout, I: Scalar, const N: usize> Fallible for Element<T, I, N>
where
    T::Place: Stage,
{
    type Found = T::Place;
    fn some(self, other: Block) -> T::Place {
        let at = rec::with(|r| {
            let (index, next) = (self.index.value(r), r.b.block());
            let bound = r.number(I::TY, N as u64);
            r.b.branch(Cond::Lt, index, bound, next, other);
            r.enter(next);
            element(r, self.array.at, index, T::SIZE)
        });
        T::place(at)
    }
}

/// The address of an element.
pub(crate) fn element(r: &mut Recorder, at: Addr, index: Value, size: u32) -> Addr {
    let wide = r.b.zext(index, Ty::I64);
    let size = r.number(Ty::I64, size.into());
    let by = r.b.mul(wide, size);
    let ptr = at.pointer(r);
    Addr::of(r.b.ptr_add(ptr, by))
}

impl<T: Layout, const N: usize> IntoVal<[T; N]> for ArrayPlace<T, N> {
    #[track_caller]
    fn into_val(self) -> Val<[T; N]> {
        rec::with(|r| bytes::load(r, self.at, <[T; N]>::SIZE))
    }
}

impl<T: Layout, const N: usize> Layout for [T; N] {
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the largest map value")]
    const SIZE: u32 = T::SIZE * N as u32;
    const ALIGN: u32 = T::ALIGN;
    type Place = ArrayPlace<T, N>;
    fn place(at: Addr) -> Self::Place {
        ArrayPlace { at, of: PhantomData }
    }
}

impl<const N: usize> IntoVal<[u8; N]> for [u8; N] {
    #[track_caller]
    fn into_val(self) -> Val<[u8; N]> {
        rec::with(|r| bytes::constant(r, &self))
    }
}

/// Integers of the host.
macro_rules! integers {
    ($($ty:ty, $bits:ident, $signed:literal, |$self:ident| $to_bits:expr;)*) => {$(
        impl Layout for $ty {
            const SIZE: u32 = <$ty>::BITS / 8;
            const ALIGN: u32 = <$ty>::BITS / 8;
            type Place = Place<$ty>;
            fn place(at: Addr) -> Place<$ty> {
                Place::new(at)
            }
        }

        impl Scalar for $ty {
            const TY: Ty = Ty::$bits;
            const SIGNED: bool = $signed;
            fn to_bits(self) -> u64 {
                let $self = self;
                $to_bits
            }
        }

        impl Num for $ty {}
    )*};
}

integers! {
    u8, I8, false, |n| n.into();
    u16, I16, false, |n| n.into();
    u32, I32, false, |n| n.into();
    u64, I64, false, |n| n;
    i8, I8, true, |n| i64::from(n).cast_unsigned();
    i16, I16, true, |n| i64::from(n).cast_unsigned();
    i32, I32, true, |n| i64::from(n).cast_unsigned();
    i64, I64, true, |n| n.cast_unsigned();
}

impl Layout for bool {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;
    type Place = Place<bool>;
    fn place(at: Addr) -> Place<bool> {
        Place::new(at)
    }
}

impl Scalar for bool {
    const TY: Ty = Ty::I8;
    const IS_BOOL: bool = true;
    fn to_bits(self) -> u64 {
        self.into()
    }
}
