//! Memory that helpers are handed: keys, values, buffers.
//!
//! Stage: after `layout.rs`. Input: `&x` of a value or a place. Output: a pointer. A place is handed over where it lies, in
//! the packet or a map; a value goes to the stack first. Read next: `map/mod.rs`.

use super::bytes;
use super::layout::{Addr, AnyPlace, ArrayPlace, Layout, Place, Scalar};
use super::packet::PktRef;
use super::rec::{self, Recorder};
use super::value::{IntoVal, Repr, Val};
use crate::ir::Value;

/// What `&x` can be where memory that holds a `T` is wanted.
#[diagnostic::on_unimplemented(
    message = "a `{T}` is wanted here, and this is `{Self}`",
    label = "not memory that holds a `{T}`"
)]
pub trait Pointed<T> {
    /// A pointer to it.
    #[track_caller]
    fn pointer(&self) -> Value;
}

/// The address of a value: where it lies on the stack.
fn spill<T: Layout>(r: &mut Recorder, value: Val<T>) -> Value {
    if let Repr::Stack(at) = value.repr {
        return at;
    }
    let at = r.b.stack(T::SIZE, if T::SIZE == 4 { 4 } else { bytes::STACK_ALIGN });
    bytes::store(r, Addr::of(at), value);
    at
}

impl<T: Scalar> Pointed<T> for Val<T> {
    fn pointer(&self) -> Value {
        rec::with(|r| spill(r, *self))
    }
}

impl<T: Scalar> Pointed<T> for Place<T> {
    fn pointer(&self) -> Value {
        rec::with(|r| self.addr().pointer(r))
    }
}

impl<T: Layout, const N: usize> Pointed<[T; N]> for ArrayPlace<T, N> {
    fn pointer(&self) -> Value {
        rec::with(|r| self.addr().pointer(r))
    }
}

impl<const N: usize> Pointed<[u8; N]> for Val<[u8; N]> {
    fn pointer(&self) -> Value {
        rec::with(|r| spill(r, *self))
    }
}

impl<T: Layout> Pointed<T> for PktRef<'_, T>
where
    T::Place: AnyPlace,
{
    fn pointer(&self) -> Value {
        let at = (**self).addr();
        rec::with(|r| at.pointer(r))
    }
}

impl<const N: usize> Pointed<[u8; N]> for [u8; N] {
    fn pointer(&self) -> Value {
        (*self).into_val().pointer()
    }
}

/// Constants of the host go to the stack.
macro_rules! constants {
    ($($ty:ty)*) => {$(
        impl Pointed<$ty> for $ty {
            fn pointer(&self) -> Value {
                (*self).into_val().pointer()
            }
        }
    )*};
}

constants! { u8 u16 u32 u64 i8 i16 i32 i64 super::be::Be16 super::be::Be32 super::be::Be64 }
