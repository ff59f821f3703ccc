//! Stage: text in. Where the fields of a struct lie.
//!
//! Input: fields, and what the text says about the whole. Output: a [`Type`] with every field at its place, as C has it on
//! machines that eBPF runs beside: bit fields share units of their own type, and never cross from one unit into the next.
//! Next: `describe.rs`.

use std::sync::Arc;

use super::{Field, Form, Struct, Tag, Type};

/// How a struct is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::text) struct Rules {
    /// All fields at 0.
    pub(in crate::text) union: bool,
    /// No padding, unless a field says where it is.
    pub(in crate::text) packed: bool,
    /// Bytes, when they do not follow from the fields.
    pub(in crate::text) size: Option<u32>,
    /// Does `struct` or `union` stand before the name wherever it is used? Without, the name would be a number's.
    pub(in crate::text) keyword: bool,
}

/// Where a field lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::text) struct Place {
    /// Bits from the start of the struct.
    pub(in crate::text) bit: u32,
    /// Bits of a bit field.
    pub(in crate::text) bits: Bits,
}

/// How many bits a bit field has; nothing for an ordinary field.
pub(in crate::text) type Bits = Option<std::num::NonZeroU8>;

impl Place {
    /// Bytes from the start of the struct; of a bit field, the byte that it begins in.
    pub(in crate::text) const fn byte(self) -> u32 {
        self.bit / 8
    }
}

/// A field to be laid out: its place only where that does not follow from the fields before it.
#[derive(Clone, Debug)]
pub(in crate::text) struct Wanted {
    pub(in crate::text) name: Arc<str>,
    pub(in crate::text) ty: Type,
    pub(in crate::text) bits: Bits,
    pub(in crate::text) bit: Option<u32>,
    pub(in crate::text) tags: Vec<Tag>,
}

impl Wanted {
    /// An ordinary field, placed by the rules.
    #[cfg(test)]
    pub(in crate::text) fn plain(name: &str, ty: Type) -> Self {
        Self { name: name.into(), ty, bits: None, bit: None, tags: Vec::new() }
    }

    /// Bits that the field takes.
    fn len(&self) -> u64 {
        self.bits.map_or(u64::from(self.ty.size) * 8, |bits| u64::from(bits.get()))
    }

    /// Where the field begins when nothing is said, in bits: behind `at`.
    fn natural(&self, at: u64, packed: bool) -> u64 {
        let align = u64::from(self.ty.align.max(1)) * 8;
        match self.bits {
            None if packed => at.next_multiple_of(8),
            None => at.next_multiple_of(align),
            Some(_) if packed => at,
            Some(bits) => {
                let unit = (u64::from(self.ty.size) * 8).max(1);
                let last = at + u64::from(bits.get()) - 1;
                if at / unit == last / unit { at } else { at.next_multiple_of(align) }
            }
        }
    }
}

/// Lays fields out. Nothing when that outgrows 32 bits, or a field ends behind the size that was asked for.
pub(in crate::text) fn lay_out(name: &str, fields: Vec<Wanted>, rules: Rules, tags: Vec<Tag>) -> Option<Type> {
    let (mut at, mut end, mut align, mut depth, mut weight) = (0u64, 0u64, 1u32, 0u16, 1u32);
    let mut out = Vec::with_capacity(fields.len());
    for field in fields {
        let natural = if rules.union { 0 } else { field.natural(at, rules.packed) };
        let bit = field.bit.map_or(natural, u64::from);
        at = bit + field.len();
        end = end.max(at);
        if !rules.packed {
            align = align.max(field.ty.align.max(1));
        }
        (depth, weight) = (depth.max(field.ty.depth), weight.saturating_add(field.ty.weight()));
        let place = Place { bit: u32::try_from(bit).ok()?, bits: field.bits };
        out.push(Field { name: field.name, place, ty: field.ty, tags: field.tags });
    }
    let end = u32::try_from(end.div_ceil(8)).ok()?;
    let size = rules.size.unwrap_or(end.checked_next_multiple_of(align)?);
    let def = Struct { name: name.into(), rules, fields: out, tags, weight };
    let depth = depth.saturating_add(1);
    (end <= size).then(|| Type { size, align, depth, form: Form::Struct(Arc::new(def)) })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;

    fn ty(name: &str) -> Type {
        Type::builtin(name).unwrap()
    }

    fn bit_field(name: &str, of: &str, bits: u8) -> Wanted {
        Wanted { bits: NonZeroU8::new(bits), ..Wanted::plain(name, ty(of)) }
    }

    fn places(ty: &Type) -> Vec<u32> {
        ty.fields().iter().map(|field| field.place.bit).collect()
    }

    fn plain(fields: Vec<Wanted>, rules: Rules) -> Option<Type> {
        lay_out("s", fields, rules, Vec::new())
    }

    #[test]
    fn offsets_and_sizes_can_be_given() {
        let fields = vec![Wanted { bit: Some(24), ..Wanted::plain("a", ty("u8")) }, Wanted::plain("b", ty("u16"))];
        let got = plain(fields.clone(), Rules { size: Some(9), ..Rules::default() }).unwrap();
        assert_eq!((got.size, places(&got)), (9, vec![24, 32]));
        assert!(plain(fields, Rules { size: Some(5), ..Rules::default() }).is_none());
    }

    #[test]
    fn structs_are_laid_out_as_in_c() {
        let fields = || {
            let shorts = ty("u16").array(3).unwrap();
            vec![Wanted::plain("a", ty("u8")), Wanted::plain("b", ty("u64")), Wanted::plain("c", shorts)]
        };
        let got = plain(fields(), Rules::default()).unwrap();
        assert_eq!((got.size, got.align, places(&got)), (24, 8, vec![0, 64, 128]));
        let packed = plain(fields(), Rules { packed: true, ..Rules::default() }).unwrap();
        assert_eq!((packed.size, packed.align, places(&packed)), (15, 1, vec![0, 8, 72]));
        let union = plain(fields(), Rules { union: true, ..Rules::default() }).unwrap();
        assert_eq!((union.size, places(&union)), (8, vec![0, 0, 0]));
    }

    /// As gcc and clang lay them out on x86-64.
    #[test]
    fn bit_fields_share_units_of_their_type() {
        let fields = vec![
            bit_field("a", "u32", 3),
            bit_field("b", "u32", 5),
            bit_field("c", "u16", 10),
            Wanted::plain("d", ty("u8")),
            bit_field("e", "u32", 31),
            bit_field("f", "u64", 40),
        ];
        let got = plain(fields.clone(), Rules::default()).unwrap();
        assert_eq!((got.size, got.align, places(&got)), (24, 8, vec![0, 3, 16, 32, 64, 128]));
        let packed = plain(fields, Rules { packed: true, ..Rules::default() }).unwrap();
        assert_eq!((packed.size, packed.align, places(&packed)), (13, 1, vec![0, 3, 8, 24, 32, 63]));
    }

    #[test]
    fn sizes_do_not_wrap() {
        assert!(ty("u64").array(u32::MAX).is_none());
        let half = ty("u8").array(u32::MAX - 1).unwrap();
        assert!(plain(vec![Wanted::plain("a", half.clone()), Wanted::plain("b", half)], Rules::default()).is_none());
    }
}
