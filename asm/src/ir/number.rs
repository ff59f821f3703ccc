//! Stage: the intermediate representation. What the verifier knows of a number: bounds, signed and unsigned, and bits.
//!
//! Input: operations and comparisons. Output: [`Num`], never wider than what the kernel's verifier finds by the same
//! operation, or `None` where releases differ and this cannot tell. The bits are the kernel's "tnum": those that are not
//! in `unknown` are as in `value`. Next: `ranges.rs`.

use crate::insn::{AluOp, Cond, Width};

/// A set of numbers: all that obey both pairs of bounds and the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Num {
    pub(super) umin: u64,
    pub(super) umax: u64,
    pub(super) smin: i64,
    pub(super) smax: i64,
    value: u64,
    unknown: u64,
    /// The low half was compared by itself: the verifier knows something of it that is not here.
    half: bool,
}

const LOW: u64 = 0xffff_ffff;

impl Num {
    /// Any number at all.
    pub(super) const ANY: Self =
        Self { umin: 0, umax: u64::MAX, smin: i64::MIN, smax: i64::MAX, value: 0, unknown: u64::MAX, half: false };

    /// One number.
    pub(super) const fn of(number: u64) -> Self {
        let signed = number.cast_signed();
        Self { umin: number, umax: number, smin: signed, smax: signed, value: number, unknown: 0, half: false }
    }

    /// The numbers of that many bits.
    pub(super) fn bits(bits: u32) -> Self {
        Self { unknown: if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }, ..Self::ANY }
            .settled()
            .unwrap_or(Self::ANY)
    }

    const fn with_bits(value: u64, unknown: u64) -> Self {
        Self { value, unknown, ..Self::ANY }
    }

    /// The number, if there is one only.
    pub(super) const fn constant(self) -> Option<u64> {
        if self.umin == self.umax { Some(self.umin) } else { None }
    }

    /// Each kind of knowledge learns from the others; `None` where nothing is left.
    pub(super) fn settled(mut self) -> Option<Self> {
        for _ in 0..2 {
            self.umin = self.umin.max(self.value);
            self.umax = self.umax.min(self.value | self.unknown);
            let (sign, rest) = (self.unknown & 1 << 63, self.unknown & !(1 << 63));
            self.smin = self.smin.max((self.value | sign).cast_signed());
            self.smax = self.smax.min((self.value | rest).cast_signed());
            if self.umin.cast_signed() <= self.umax.cast_signed() {
                self.smin = self.smin.max(self.umin.cast_signed());
                self.smax = self.smax.min(self.umax.cast_signed());
            }
            if self.smin.cast_unsigned() <= self.smax.cast_unsigned() {
                self.umin = self.umin.max(self.smin.cast_unsigned());
                self.umax = self.umax.min(self.smax.cast_unsigned());
            }
            if self.umin > self.umax || self.smin > self.smax {
                return None;
            }
            let same = !(u64::MAX.checked_shr((self.umin ^ self.umax).leading_zeros()).unwrap_or(0));
            if (self.value ^ self.umin) & !self.unknown & same != 0 {
                return None;
            }
            self.value |= self.umin & same & self.unknown;
            self.unknown &= !same;
        }
        Some(self)
    }

    /// The low half, as the verifier sees it after a 32-bit operation; `None` where it may know more than this.
    fn low_half(self) -> Option<Self> {
        match self {
            _ if self.umax <= LOW => Some(self),
            _ if self.half || self.umin != 0 || self.umax != u64::MAX => None,
            _ => Self::with_bits(self.value & LOW, self.unknown & LOW).settled(),
        }
    }

    /// The low bits.
    pub(super) fn low(self, bits: u32) -> Option<Self> {
        match bits {
            32 => self.low_half(),
            64 => Some(self),
            // A mask: an `and` of the low half.
            _ => self.low_half()?.and(Self::of((1 << bits) - 1)),
        }
    }

    fn and(self, b: Self) -> Option<Self> {
        let value = self.value & b.value;
        let unknown = (self.value | self.unknown) & (b.value | b.unknown) & !value;
        Self { umax: self.umax.min(b.umax), ..Self::with_bits(value, unknown) }.settled()
    }

    fn or(self, b: Self) -> Option<Self> {
        let value = self.value | b.value;
        let unknown = (self.unknown | b.unknown) & !value;
        Self { umin: self.umin.max(b.umin), ..Self::with_bits(value, unknown) }.settled()
    }

    fn xor(self, b: Self) -> Option<Self> {
        let unknown = self.unknown | b.unknown;
        Self::with_bits((self.value ^ b.value) & !unknown, unknown).settled()
    }

    fn add(self, b: Self) -> Option<Self> {
        let sum = self.value.wrapping_add(b.value);
        let carries = self.unknown.wrapping_add(b.unknown).wrapping_add(sum) ^ sum;
        let unknown = carries | self.unknown | b.unknown;
        let mut new = Self::with_bits(sum & !unknown, unknown);
        match (self.umin.checked_add(b.umin), self.umax.checked_add(b.umax)) {
            (Some(min), Some(max)) => (new.umin, new.umax) = (min, max),
            (Some(_), None) => {}
            // Both ends wrap: newer kernels know the bounds all the same.
            (None, _) => return None,
        }
        if let (Some(min), Some(max)) = (self.smin.checked_add(b.smin), self.smax.checked_add(b.smax)) {
            (new.smin, new.smax) = (min, max);
        }
        new.settled()
    }

    fn sub(self, b: Self) -> Option<Self> {
        let difference = self.value.wrapping_sub(b.value);
        let borrows = difference.wrapping_add(self.unknown) ^ difference.wrapping_sub(b.unknown);
        let unknown = borrows | self.unknown | b.unknown;
        let mut new = Self::with_bits(difference & !unknown, unknown);
        match (self.umin.checked_sub(b.umax), self.umax.checked_sub(b.umin)) {
            (Some(min), Some(max)) => (new.umin, new.umax) = (min, max),
            (None, Some(_)) => {}
            // As above.
            (_, None) => return None,
        }
        if let (Some(min), Some(max)) = (self.smin.checked_sub(b.smax), self.smax.checked_sub(b.smin)) {
            (new.smin, new.smax) = (min, max);
        }
        new.settled()
    }

    /// A product with a constant of which the verifier knows the bounds on every kernel.
    fn mul(self, k: u64) -> Option<Self> {
        if self.umax > LOW || k > LOW || self.umax.checked_mul(k)? > u64::MAX >> 1 {
            return None;
        }
        Self { umin: self.umin * k, umax: self.umax * k, ..Self::ANY }.settled()
    }

    fn shift(self, op: AluOp, by: u32) -> Option<Self> {
        let ends = |f: fn(u64, u32) -> u64| Self {
            umin: f(self.umin, by),
            umax: f(self.umax, by),
            ..Self::with_bits(f(self.value, by), f(self.unknown, by))
        };
        match op {
            AluOp::Rsh => ends(|a, by| a >> by).settled(),
            AluOp::Lsh if self.umax.leading_zeros() > by => ends(|a, by| a << by).settled(),
            AluOp::Lsh => Self::with_bits(self.value << by, self.unknown << by).settled(),
            _ => None,
        }
    }

    /// `a op b`, as the verifier follows it.
    pub(super) fn alu(op: AluOp, width: Width, a: Self, b: Self) -> Option<Self> {
        let (bits, a, b) = match width {
            Width::W64 => (64, a, b),
            Width::W32 => (32, a.low_half()?, b.low_half()?),
        };
        let new = match (op, b.constant()) {
            (AluOp::And, _) => a.and(b),
            (AluOp::Or, _) => a.or(b),
            (AluOp::Xor, _) => a.xor(b),
            (AluOp::Add, _) => a.add(b),
            (AluOp::Sub, _) => a.sub(b),
            (AluOp::Mul, Some(k)) => a.mul(k),
            (AluOp::Lsh | AluOp::Rsh, Some(by)) => a.shift(op, u32::try_from(by).ok()? & (bits - 1)),
            // Up to 6.18 nothing is known of a quotient or a rest.
            (AluOp::Div | AluOp::Mod, _) => Some(Self::ANY),
            _ => None,
        }?;
        if width == Width::W64 || new.umax <= LOW {
            return Some(new);
        }
        // What does not fit into 32 bits may be anything of 32 bits.
        Some(Self::bits(32))
    }

    /// What is left of two numbers where `a cond b` is `holds`; `None` where the verifier never comes there.
    pub(super) fn where_it_is(cond: Cond, holds: bool, a: Self, b: Self) -> Option<(Self, Self)> {
        let (mut x, mut y) = (a, b);
        let strict = |strict: bool| u64::from(strict);
        match if holds { Some(cond) } else { cond.inverse() } {
            Some(Cond::Eq) => {
                let value = x.value | y.value;
                let unknown = x.unknown & y.unknown;
                let (umin, umax) = (x.umin.max(y.umin), x.umax.min(y.umax));
                let (smin, smax) = (x.smin.max(y.smin), x.smax.min(y.smax));
                x = Self { umin, umax, smin, smax, value: value & !unknown, unknown, half: x.half };
                y = Self { half: y.half, ..x };
            }
            Some(Cond::Ne) => {
                if let Some(k) = y.constant() {
                    x.umin += strict(x.umin == k && x.umin < x.umax);
                    x.umax -= strict(x.umax == k && x.umin < x.umax);
                }
            }
            Some(less @ (Cond::Lt | Cond::Le)) => {
                let by = strict(less == Cond::Lt);
                (x.umax, y.umin) = (x.umax.min(y.umax.checked_sub(by)?), y.umin.max(x.umin.checked_add(by)?));
            }
            Some(more @ (Cond::Gt | Cond::Ge)) => {
                let by = strict(more == Cond::Gt);
                (x.umin, y.umax) = (x.umin.max(y.umin.checked_add(by)?), y.umax.min(x.umax.checked_sub(by)?));
            }
            Some(less @ (Cond::Slt | Cond::Sle)) => {
                let by = i64::from(less == Cond::Slt);
                (x.smax, y.smin) = (x.smax.min(y.smax.checked_sub(by)?), y.smin.max(x.smin.checked_add(by)?));
            }
            Some(more @ (Cond::Sgt | Cond::Sge)) => {
                let by = i64::from(more == Cond::Sgt);
                (x.smin, y.smax) = (x.smin.max(y.smin.checked_add(by)?), y.smax.min(x.smax.checked_sub(by)?));
            }
            // No bit of the mask is set.
            None if !holds => {
                if let Some(mask) = y.constant() {
                    (x.value, x.unknown) = (x.value & !mask, x.unknown & !mask);
                }
            }
            _ => {}
        }
        Some((x.settled()?, y.settled()?))
    }

    /// As [`Num::where_it_is`], for a comparison of the low halves with a constant.
    pub(super) fn where_half_is(cond: Cond, holds: bool, a: Self, k: u64) -> Option<Option<Self>> {
        let signed = matches!(cond, Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle);
        if a.umax > LOW {
            return Some(Some(Self { half: true, ..a }));
        }
        if signed {
            return Some(None);
        }
        Self::where_it_is(cond, holds, a, Self::of(k & LOW)).map(|(a, _)| Some(a))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::eval;

    fn alu(op: AluOp, a: Num, k: u64) -> Num {
        Num::alu(op, Width::W64, a, Num::of(k)).expect("it is known")
    }

    #[test]
    fn bounds_are_the_verifiers() {
        let byte = Num::bits(8);
        assert_eq!((byte.umin, byte.umax, byte.smin, byte.smax), (0, 255, 0, 255));
        assert_eq!(alu(AluOp::And, Num::ANY, 31).umax, 31);
        assert_eq!(alu(AluOp::Mul, alu(AluOp::And, Num::ANY, 7), 8).umax, 56);
        assert_eq!(alu(AluOp::Mod, byte, 31).umax, u64::MAX);
        let below = Num::where_it_is(Cond::Gt, false, Num::bits(32), Num::of(31)).expect("it is reached").0;
        assert_eq!(below.umax, 31);
        let masked = Num::where_it_is(Cond::Set, false, Num::bits(32), Num::of(!31)).expect("it is reached").0;
        assert_eq!(masked.umax, 31);
        let signed = Num::where_it_is(Cond::Sgt, false, Num::ANY, Num::of(31)).expect("it is reached").0;
        assert_eq!((signed.smin, signed.umax), (i64::MIN, u64::MAX));
        assert!(Num::where_it_is(Cond::Gt, true, byte, Num::of(255)).is_none(), "never");
    }

    /// Whatever two numbers are, the result is one of those that are said to come out, and a comparison leaves them in.
    #[test]
    fn nothing_that_comes_out_is_left_out() {
        let edges = [0, 1, 2, 31, 63, 255, 0x7fff_ffff, 0x8000_0000, LOW, 1 << 32, u64::MAX >> 1, 1 << 63, u64::MAX];
        let around = |k: u64| {
            let upper = Num { umax: k, ..Num::ANY };
            let bits = Num::with_bits(k & 0xf0f0, !0xf0f0);
            [Num::of(k), upper, bits].into_iter().filter_map(Num::settled)
        };
        let member = |n: Num, k: u64| {
            let s = k.cast_signed();
            k >= n.umin && k <= n.umax && s >= n.smin && s <= n.smax && (k ^ n.value) & !n.unknown == 0
        };
        let ops = [AluOp::And, AluOp::Or, AluOp::Xor, AluOp::Add, AluOp::Sub, AluOp::Mul, AluOp::Lsh, AluOp::Rsh];
        let conds = [Cond::Eq, Cond::Ne, Cond::Lt, Cond::Le, Cond::Gt, Cond::Ge, Cond::Slt, Cond::Sge, Cond::Set];
        let (mut known, mut checked) = (0, 0);
        for (a, b) in edges.iter().flat_map(|a| edges.iter().map(move |b| (*a, *b))) {
            for (x, y) in around(a).flat_map(|x| around(b).map(move |y| (x, y))) {
                checked += 1;
                for (op, width) in ops.iter().flat_map(|op| [(*op, Width::W64), (*op, Width::W32)]) {
                    let got = eval::alu(op, width, a, b);
                    if let Some(n) = Num::alu(op, width, x, y) {
                        known += 1;
                        assert!(member(n, got), "{x:?} {op:?} {y:?} gave {got:#x}, not in {n:?}");
                    }
                }
                for cond in conds {
                    let holds = eval::compare(cond, Width::W64, a, b);
                    let (left, right) = Num::where_it_is(cond, holds, x, y).expect("both are possible");
                    assert!(member(left, a) && member(right, b), "{x:?} {cond:?} {y:?}: {left:?} {right:?}");
                }
            }
        }
        assert!(known > checked, "{known} of {checked}");
    }
}
