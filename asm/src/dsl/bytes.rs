//! Values of several bytes: arrays and whole structs, copied in the widest pieces there are.
//!
//! Stage: beside `layout.rs`. Input: an address or bytes. Output: a [`Val`] in up to four registers, or on the stack.
//! Accesses to the stack are aligned, as the verifier wants them; elsewhere it takes any. Read next: `flow.rs`.

use super::layout::{Addr, Layout};
use super::rec::Recorder;
use super::value::{PIECES, Repr, Val};
use crate::ir::{Region, Ty, Value};

/// Bytes that the address of every object on the stack is a multiple of.
pub(crate) const STACK_ALIGN: u32 = 8;

/// The pieces of `size` bytes, as offset and type. `places` are the offsets on the stack, if any, that a piece at offset 0
/// would have: pieces stay aligned to all of them.
fn pieces(size: u32, places: [Option<i32>; 2]) -> impl Iterator<Item = (i32, Ty)> {
    let mut at = 0;
    let size = size.cast_signed();
    std::iter::from_fn(move || {
        let fits = |width: i32| width <= size - at && places.iter().flatten().all(|place| (place + at) % width == 0);
        let widths = [(8, Ty::I64), (4, Ty::I32), (2, Ty::I16), (1, Ty::I8)];
        let (width, ty) = widths.into_iter().find(|(width, _)| fits(*width))?;
        at += width;
        Some((at - width, ty))
    })
}

/// The offset, if the pointer is one to the stack.
fn on_stack(r: &Recorder, base: Value, off: i32) -> Option<i32> {
    matches!(r.b.ty(base), Ty::Ptr(Region::Stack(_))).then_some(off)
}

/// The value at an address.
pub(crate) fn load<T: Layout>(r: &mut Recorder, at: Addr, size: u32) -> Val<T> {
    let base = at.base(r);
    let places = [on_stack(r, base, at.off), None];
    if pieces(size, places).count() > PIECES {
        let copy = r.b.stack(size, STACK_ALIGN);
        copy_bytes(r, (copy, 0), (base, at.off), size);
        return Val::new(Repr::Stack(copy));
    }
    let mut held = [None; PIECES];
    for (slot, (off, ty)) in held.iter_mut().zip(pieces(size, places)) {
        *slot = Some(r.b.load(ty, base, at.off + off));
    }
    Val::new(Repr::Pieces(held))
}

/// Sixteen bytes in words of four, as contexts and sockets let them be read.
pub(crate) fn words(r: &mut Recorder, base: Value, off: i32) -> Val<[u8; 16]> {
    let mut held = [None; PIECES];
    for (slot, at) in held.iter_mut().zip((off..).step_by(4)) {
        *slot = Some(r.b.load(Ty::I32, base, at));
    }
    Val::new(Repr::Pieces(held))
}

/// The value with these bytes.
pub(crate) fn constant<T>(r: &mut Recorder, bytes: &[u8]) -> Val<T> {
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut rest = bytes;
    let mut parts = Vec::new();
    for (off, ty) in pieces(size, [None; 2]) {
        let mut word = [0; 8];
        let (now, later) = rest.split_at((ty.bits().unwrap_or(8) / 8) as usize);
        word[..now.len()].copy_from_slice(now);
        rest = later;
        parts.push((off, r.number(ty, u64::from_le_bytes(word))));
    }
    if parts.len() > PIECES {
        let copy = r.b.stack(size, STACK_ALIGN);
        parts.into_iter().for_each(|(off, part)| r.b.store(copy, off, part));
        return Val::new(Repr::Stack(copy));
    }
    let mut held = [None; PIECES];
    held.iter_mut().zip(parts).for_each(|(slot, (_, part))| *slot = Some(part));
    Val::new(Repr::Pieces(held))
}

/// Puts a value to an address: a number, or several bytes.
pub(crate) fn store<T: Layout>(r: &mut Recorder, at: Addr, value: Val<T>) {
    let base = at.base(r);
    match value.repr {
        Repr::Stack(from) => copy_bytes(r, (base, at.off), (from, 0), T::SIZE),
        Repr::Pieces(held) => {
            let mut off = at.off;
            for piece in held.into_iter().flatten() {
                store_piece(r, base, off, piece);
                off += width(r, piece);
            }
        }
        Repr::Const(_) | Repr::Value(_) | Repr::Var(_) | Repr::Test(..) => {
            let number = number(r, value);
            r.b.store(base, at.off, number);
        }
    }
}

/// A value that is one number, in a register.
pub(crate) fn number<T: Layout>(r: &mut Recorder, value: Val<T>) -> Value {
    let ty = Ty::int(T::SIZE * 8).unwrap_or(Ty::I64);
    match value.repr {
        Repr::Const(number) => r.number(ty, number),
        Repr::Value(value) => value,
        Repr::Var(var) => r.b.use_var(var),
        Repr::Test(cond, a, b) => {
            let value = r.b.compare(cond, a, b);
            r.at_most(value, 1);
            value
        }
        // Longer values are no numbers.
        Repr::Pieces(_) | Repr::Stack(_) => r.number(ty, 0),
    }
}

/// Bytes of a number.
fn width(r: &Recorder, piece: Value) -> i32 {
    r.b.ty(piece).bits().unwrap_or(64).cast_signed() / 8
}

/// Stores a piece; where the stack is not aligned for it, in halves.
fn store_piece(r: &mut Recorder, base: Value, off: i32, piece: Value) {
    let width = width(r, piece);
    if on_stack(r, base, off).is_none_or(|off| off % width == 0) {
        return r.b.store(base, off, piece);
    }
    let ty = r.b.ty(piece);
    let half = Ty::int(width.cast_unsigned() * 4).unwrap_or(Ty::I8);
    let by = r.number(ty, u64::from(width.cast_unsigned()) * 4);
    let (low, high) = (r.b.trunc(piece, half), r.b.shr(piece, by));
    let high = r.b.trunc(high, half);
    store_piece(r, base, off, low);
    store_piece(r, base, off + width / 2, high);
}

/// Copies from one place to another; what is too long for registers, piece by piece.
pub(crate) fn copy<T: Layout>(r: &mut Recorder, to: Addr, from: Addr) {
    let (into, base) = (to.base(r), from.base(r));
    let places = [on_stack(r, into, to.off), on_stack(r, base, from.off)];
    if pieces(T::SIZE, places).count() > PIECES {
        copy_bytes(r, (into, to.off), (base, from.off), T::SIZE);
    } else {
        let value: Val<T> = load(r, from, T::SIZE);
        store(r, to, value);
    }
}

fn copy_bytes(r: &mut Recorder, to: (Value, i32), from: (Value, i32), size: u32) {
    let places = [on_stack(r, to.0, to.1), on_stack(r, from.0, from.1)];
    for (off, ty) in pieces(size, places) {
        let piece = r.b.load(ty, from.0, from.1 + off);
        r.b.store(to.0, to.1 + off, piece);
    }
}
