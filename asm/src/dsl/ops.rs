//! Operators: what the macro makes of `+`, `==`, `as` and their kin.
//!
//! Stage: lowering's other end. Input: two values of one type. Output: a value. These functions are public because the
//! macro calls them; they can be called by hand too. Read next: `flow.rs`.

use super::be::Ordered;
use super::layout::{Num, Scalar};
use super::rec::{self, Recorder};
use super::value::{IntoVal, Repr, Val};
use crate::insn::{AluOp, Cond};
use crate::ir::{Ty, Value};

/// Declares an operator on two numbers of one type.
macro_rules! binary {
    ($($name:ident $op:ident $signed:ident $text:literal;)*) => {$(
        #[doc = concat!("`a ", $text, " b`")]
        #[track_caller]
        pub fn $name<T: Num, A: IntoVal<T>, B: IntoVal<T>>(a: A, b: B) -> Val<T> {
            let (a, b) = (a.into_val(), b.into_val());
            let op = if T::SIGNED { AluOp::$signed } else { AluOp::$op };
            rec::with(|r| alu(r, op, a, b))
        }
    )*};
}

binary! {
    add Add Add "+";
    sub Sub Sub "-";
    mul Mul Mul "*";
    div Div Sdiv "/";
    rem Mod Smod "%";
}

/// Declares an operator on two bit patterns of one type.
macro_rules! bitwise {
    ($($name:ident $op:ident $text:literal;)*) => {$(
        #[doc = concat!("`a ", $text, " b`")]
        #[track_caller]
        pub fn $name<T: Scalar, A: IntoVal<T>, B: IntoVal<T>>(a: A, b: B) -> Val<T> {
            let (a, b) = (a.into_val(), b.into_val());
            rec::with(|r| alu(r, AluOp::$op, a, b))
        }
    )*};
}

bitwise! {
    and And "&";
    or Or "|";
    xor Xor "^";
}

/// Declares a shift: the amount may be of another type.
macro_rules! shifts {
    ($($name:ident $op:ident $signed:ident $text:literal;)*) => {$(
        #[doc = concat!("`a ", $text, " b`")]
        #[track_caller]
        pub fn $name<T: Num, S: Num, A: IntoVal<T>, B: IntoVal<S>>(a: A, b: B) -> Val<T> {
            let (a, b) = (a.into_val(), b.into_val());
            let op = if T::SIGNED { AluOp::$signed } else { AluOp::$op };
            rec::with(|r| {
                // A constant amount stays one: it bounds what is shifted.
                if let Repr::Const(by) = b.repr {
                    return alu(r, op, a, Val::new(Repr::Const(by)));
                }
                let by = b.value(r);
                let by = r.b.trunc(by, T::TY);
                alu(r, op, a, Val::of(by))
            })
        }
    )*};
}

shifts! {
    shl Lsh Lsh "<<";
    shr Rsh Arsh ">>";
}

/// One operation, with what is known of its result's size.
fn alu<T: Scalar>(r: &mut Recorder, op: AluOp, a: Val<T>, b: Val<T>) -> Val<T> {
    let constant = if let Repr::Const(number) = b.repr { Some(number & T::TY.mask()) } else { None };
    let (a, b) = (a.value(r), b.value(r));
    let (x, y) = (r.max_of(a), r.max_of(b));
    let result = r.b.alu(op, a, b);
    let max = match (op, constant) {
        (AluOp::And, _) => x.min(y),
        (AluOp::Add, _) => x.saturating_add(y),
        (AluOp::Mul, _) => x.saturating_mul(y),
        (AluOp::Or | AluOp::Xor, _) => {
            (x | y).checked_add(1).and_then(u64::checked_next_power_of_two).map_or(u64::MAX, |n| n - 1)
        }
        (AluOp::Rsh, Some(by)) if by < 64 => x >> by,
        (AluOp::Lsh, Some(by)) if by < 64 && x <= u64::MAX >> by => x << by,
        (AluOp::Div, Some(by)) if by > 0 => x / by,
        (AluOp::Mod, Some(by)) if by > 0 => x.min(by - 1),
        _ => u64::MAX,
    };
    r.at_most(result, max);
    Val::of(result)
}

/// Declares a comparison: unsigned and signed condition.
macro_rules! compare {
    ($($name:ident $cond:ident $signed:ident $text:literal;)*) => {$(
        #[doc = concat!("`a ", $text, " b`")]
        #[track_caller]
        pub fn $name<T: Num, A: IntoVal<T>, B: IntoVal<T>>(a: A, b: B) -> Val<bool> {
            test::<T>(if T::SIGNED { Cond::$signed } else { Cond::$cond }, a.into_val(), b.into_val())
        }
    )*};
}

compare! {
    lt Lt Slt "<";
    le Le Sle "<=";
    gt Gt Sgt ">";
    ge Ge Sge ">=";
}

/// `a == b`
#[track_caller]
pub fn eq<T: Scalar, A: IntoVal<T>, B: IntoVal<T>>(a: A, b: B) -> Val<bool> {
    test(Cond::Eq, a.into_val(), b.into_val())
}

/// `a != b`
#[track_caller]
pub fn ne<T: Scalar, A: IntoVal<T>, B: IntoVal<T>>(a: A, b: B) -> Val<bool> {
    test(Cond::Ne, a.into_val(), b.into_val())
}

#[track_caller]
fn test<T: Scalar>(cond: Cond, a: Val<T>, b: Val<T>) -> Val<bool> {
    rec::with(|r| Val::new(Repr::Test(cond, a.value(r), b.value(r))))
}

/// `!a`: every bit the other way; of a condition, its opposite.
#[track_caller]
pub fn not<T: Scalar, A: IntoVal<T>>(a: A) -> Val<T> {
    let a = a.into_val();
    if let Repr::Test(cond, x, y) = a.repr
        && let Some(opposite) = opposite(cond)
    {
        return Val::new(Repr::Test(opposite, x, y));
    }
    rec::with(|r| {
        let value = a.value(r);
        if T::IS_BOOL {
            let one = r.number(T::TY, 1);
            let result = r.b.xor(value, one);
            r.at_most(result, 1);
            return Val::of(result);
        }
        Val::of(r.b.not(value))
    })
}

/// The condition that holds where this one does not.
pub(crate) const fn opposite(cond: Cond) -> Option<Cond> {
    Some(match cond {
        Cond::Eq => Cond::Ne,
        Cond::Ne => Cond::Eq,
        Cond::Lt => Cond::Ge,
        Cond::Ge => Cond::Lt,
        Cond::Gt => Cond::Le,
        Cond::Le => Cond::Gt,
        Cond::Slt => Cond::Sge,
        Cond::Sge => Cond::Slt,
        Cond::Sgt => Cond::Sle,
        Cond::Sle => Cond::Sgt,
        Cond::Set => return None,
    })
}

/// `-a`
#[track_caller]
pub fn neg<T: Num, A: IntoVal<T>>(a: A) -> Val<T> {
    let a = a.into_val();
    rec::with(|r| {
        let value = a.value(r);
        Val::of(r.b.neg(value))
    })
}

/// `a as To`: wider by the sign of `From`, narrower by the low bits; a condition is 0 or 1.
#[track_caller]
pub fn cast<To: Num, From: Scalar, A: IntoVal<From>>(a: A) -> Val<To> {
    let a = a.into_val();
    rec::with(|r| {
        let value = a.value(r);
        let max = r.max_of(value);
        let result = resize(r, value, To::TY, From::SIGNED);
        if !From::SIGNED {
            r.at_most(result, max);
        }
        Val::of(result)
    })
}

/// A number in another width.
pub(crate) fn resize(r: &mut Recorder, value: Value, to: Ty, signed: bool) -> Value {
    let (from, bits) = (r.b.ty(value).bits().unwrap_or(64), to.bits().unwrap_or(64));
    match (from < bits, signed) {
        (true, true) => r.b.sext(value, to),
        (true, false) => r.b.zext(value, to),
        (false, _) => r.b.trunc(value, to),
    }
}

impl<T: Num> Val<T> {
    /// The bits moved to the left, those that leave come back on the right.
    #[track_caller]
    pub fn rotate_left<S: Num>(self, by: impl IntoVal<S>) -> Self {
        let by = by.into_val();
        rec::with(|r| {
            let (value, by) = (self.value(r), by.value(r));
            let by = r.b.trunc(by, T::TY);
            Self::of(r.b.rotl(value, by))
        })
    }

    /// The bits moved to the right, those that leave come back on the left.
    #[track_caller]
    pub fn rotate_right<S: Num>(self, by: impl IntoVal<S>) -> Self {
        let by = by.into_val();
        rec::with(|r| {
            let (value, by) = (self.value(r), by.value(r));
            let by = r.b.trunc(by, T::TY);
            Self::of(r.b.rotr(value, by))
        })
    }

    /// `self + other`, which wraps: as `+` does here.
    #[track_caller]
    pub fn wrapping_add(self, other: impl IntoVal<T>) -> Self {
        add::<T, _, _>(self, other)
    }

    /// `self - other`, which wraps: as `-` does here.
    #[track_caller]
    pub fn wrapping_sub(self, other: impl IntoVal<T>) -> Self {
        sub::<T, _, _>(self, other)
    }

    /// `self * other`, which wraps: as `*` does here.
    #[track_caller]
    pub fn wrapping_mul(self, other: impl IntoVal<T>) -> Self {
        mul::<T, _, _>(self, other)
    }

    /// The lesser of two.
    #[track_caller]
    pub fn min(self, other: impl IntoVal<T>) -> Self {
        self.choose(other, Cond::Lt, Cond::Slt)
    }

    /// The greater of two.
    #[track_caller]
    pub fn max(self, other: impl IntoVal<T>) -> Self {
        self.choose(other, Cond::Gt, Cond::Sgt)
    }

    #[track_caller]
    fn choose(self, other: impl IntoVal<T>, cond: Cond, signed: Cond) -> Self {
        let other = other.into_val();
        rec::with(|r| {
            let (a, b) = (self.value(r), other.value(r));
            let (x, y) = (r.max_of(a), r.max_of(b));
            let result = r.b.select(if T::SIGNED { signed } else { cond }, a, b, a, b);
            r.at_most(result, if cond == Cond::Lt { x.min(y) } else { x.max(y) });
            Self::of(result)
        })
    }

    /// The number in network order.
    #[track_caller]
    pub fn to_be(self) -> Val<T::Be>
    where
        T: Ordered,
    {
        rec::with(|r| {
            let value = self.value(r);
            Val::of(r.b.bswap(value))
        })
    }
}
