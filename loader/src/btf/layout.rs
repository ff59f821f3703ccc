//! Stage: maps that outlive a program. Input: types of keys and values, as two objects know them. Output: [`Layout`], a type
//! as the flat list of its fields, and [`Moves`], which carry a value from one layout into another.
//!
//! Names, offsets, widths and byte order make a layout; the names of types do not. Read next: `../map/migrate.rs`.

use std::fmt;
use std::ops::Range;

use asm::btf::{Btf, Member, Type, TypeId};

use super::value::{bare, mask, number, place, put};

/// How deep types are nested at most; no real type comes near.
const DEPTH: u32 = 32;
/// Fields of a type at most; beyond that nothing is known about it.
const FIELDS: usize = 4096;

/// A type as the list of its fields, structs and arrays of structs taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    fields: Vec<Field>,
}

/// A number, or an array of numbers, or something that is only carried as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    /// Members and indexes on the way (`flows[3].port`); empty for a type that is a number itself.
    path: String,
    /// The bytes it is in.
    bytes: Range<usize>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// `count` numbers of `bits` each; `shift` bits into the bytes for a bit field.
    Numbers { count: usize, bits: u32, shift: u32, signed: bool, big: bool },
    /// A union, or a floating point number: what it is made of, in words.
    Whole(String),
}

impl Field {
    /// Whether the same bytes mean the same in both; a sign apart.
    fn is_same(&self, other: &Self) -> bool {
        let alike = match (&self.kind, &other.kind) {
            (
                Kind::Numbers { count, bits, shift, big, .. },
                Kind::Numbers { count: count2, bits: bits2, shift: shift2, big: big2, .. },
            ) => (count, bits, shift, big) == (count2, bits2, shift2, big2),
            (one, other) => one == other,
        };
        alike && self.bytes == other.bytes
    }
}

impl fmt::Display for Field {
    /// What it is and where: `4 bytes at byte 8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Numbers { count, bits, shift, big, .. } => {
                if *count != 1 {
                    write!(f, "{count} times ")?;
                }
                match (bits % 8, shift) {
                    (0, 0) => write!(f, "{} bytes at byte {}", bits / 8, self.bytes.start)?,
                    _ => write!(f, "{bits} bits at byte {}, bit {shift}", self.bytes.start)?,
                }
                f.write_str(if *big { " in network order" } else { "" })
            }
            Kind::Whole(what) => write!(f, "{what} at byte {}", self.bytes.start),
        }
    }
}

/// A field that is not where, or not what, it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path; empty for a type that is a number itself.
    pub path: String,
    /// In words; `None` where there is none.
    pub wanted: Option<String>,
    /// The same of the other layout.
    pub found: Option<String>,
}

impl Layout {
    /// Takes a type apart; `None` where that tells nothing (functions, types without a size, thousands of fields).
    #[must_use]
    pub fn of(btf: &Btf<'_>, id: TypeId) -> Option<Self> {
        let mut layout = Self { fields: Vec::new() };
        let size = btf.size_of(id).ok()? as usize;
        layout.add(btf, id, "", 0..size, DEPTH)?;
        Some(layout)
    }

    fn add(&mut self, btf: &Btf<'_>, id: TypeId, path: &str, bytes: Range<usize>, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let (ty, big) = bare(btf, id)?;
        match ty {
            Type::Struct { members, .. } => {
                for member in &members {
                    let (range, bits) = place(btf, member)?;
                    let range = bytes.start + range.start..bytes.start + range.end;
                    let path = inside(path, member);
                    match bits {
                        None => self.add(btf, member.ty, &path, range, depth)?,
                        Some((shift, bits)) => {
                            let signed = signed(&bare(btf, member.ty)?.0)?;
                            self.push(&path, range, Kind::Numbers { count: 1, bits, shift, signed, big: false })?;
                        }
                    }
                }
                Some(())
            }
            Type::DataSec { vars, .. } => vars.iter().try_for_each(|var| {
                let (start, size) = (bytes.start + var.offset as usize, var.size as usize);
                self.add(btf, var.ty, btf.name(var.ty).ok()?, start..start + size, depth)
            }),
            Type::Array { elem, len, .. } => self.add_array(btf, elem, len as usize, path, &bytes, depth),
            Type::Union { .. } | Type::Float { .. } => self.push(path, bytes, Kind::Whole(words(btf, id, depth)?)),
            number => {
                let bits = u32::try_from(bytes.len() * 8).ok()?;
                self.push(path, bytes, Kind::Numbers { count: 1, bits, shift: 0, signed: signed(&number)?, big })
            }
        }
    }

    fn add_array(
        &mut self,
        btf: &Btf<'_>,
        elem: TypeId,
        len: usize,
        path: &str,
        bytes: &Range<usize>,
        depth: u32,
    ) -> Option<()> {
        let size = btf.size_of(elem).ok()? as usize;
        let (ty, big) = bare(btf, elem)?;
        if let Some(signed) = signed(&ty) {
            let bits = u32::try_from(size * 8).ok()?;
            return self.push(path, bytes.clone(), Kind::Numbers { count: len, bits, shift: 0, signed, big });
        }
        (0..len).try_for_each(|at| {
            let start = bytes.start + at * size;
            self.add(btf, elem, &format!("{path}[{at}]"), start..start + size, depth)
        })
    }

    fn push(&mut self, path: &str, bytes: Range<usize>, kind: Kind) -> Option<()> {
        self.fields.push(Field { path: path.to_owned(), bytes, kind });
        (self.fields.len() <= FIELDS).then_some(())
    }

    /// The bytes that a field is in; `None` if there is no such field.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<Range<usize>> {
        self.find(path).map(|field| field.bytes.clone())
    }

    fn find(&self, path: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.path == path)
    }

    /// Every field that differs from the same field of `found`, those that only one of both has among them.
    #[must_use]
    pub fn changes(&self, found: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for field in &self.fields {
            let other = found.find(&field.path);
            if other.is_none_or(|other| !field.is_same(other)) {
                let found = other.map(ToString::to_string);
                changes.push(Change { path: field.path.clone(), wanted: Some(field.to_string()), found });
            }
        }
        let gone = found.fields.iter().filter(|field| self.find(&field.path).is_none());
        changes.extend(gone.map(|field| Change {
            path: field.path.clone(),
            wanted: None,
            found: Some(field.to_string()),
        }));
        changes
    }
}

fn inside(path: &str, member: &Member<&str>) -> String {
    match (path, member.name) {
        (path, "") => path.to_owned(),
        ("", name) => name.to_owned(),
        (path, name) => format!("{path}.{name}"),
    }
}

/// Whether a number has a sign; `None` for what is no number.
fn signed(ty: &Type<&str>) -> Option<bool> {
    match ty {
        Type::Int { int, .. } => Some(int.signed),
        Type::Enum { signed, .. } | Type::Enum64 { signed, .. } => Some(*signed),
        Type::Ptr { .. } => Some(false),
        _ => None,
    }
}

/// A type that is carried as a whole: equal words, equal meaning of the bytes.
fn words(btf: &Btf<'_>, id: TypeId, depth: u32) -> Option<String> {
    match bare(btf, id)?.0 {
        Type::Union { members, .. } => {
            let each = members.iter().map(|member| {
                let mut layout = Layout { fields: Vec::new() };
                let size = btf.size_of(member.ty).ok()? as usize;
                layout.add(btf, member.ty, member.name, 0..size, depth)?;
                let fields = layout.fields.iter().map(|field| format!("{}: {field}", field.path));
                Some(fields.collect::<Vec<_>>().join(", "))
            });
            Some(format!("union {{ {} }}", each.collect::<Option<Vec<_>>>()?.join(" | ")))
        }
        Type::Float { size, .. } => Some(format!("floating point number of {size} bytes")),
        _ => None,
    }
}

/// How values of one layout become values of another: fields of the same path are carried over, numbers in the new width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moves {
    moves: Vec<(Field, Field)>,
    /// Fields that the new layout does not have, or has as something else.
    pub dropped: Vec<String>,
    /// Fields that the old layout does not have: they keep what is in the bytes already.
    pub added: Vec<String>,
}

impl Moves {
    /// From the fields of `old` to those of `new`.
    #[must_use]
    pub fn new(old: &Layout, new: &Layout) -> Self {
        let mut moves = Self { moves: Vec::new(), dropped: Vec::new(), added: Vec::new() };
        for field in &new.fields {
            match old.find(&field.path).filter(|from| can_move(from, field)) {
                Some(from) => moves.moves.push((from.clone(), field.clone())),
                None => moves.added.push(field.path.clone()),
            }
        }
        let moved = |field: &&Field| !moves.moves.iter().any(|(from, _)| from.path == field.path);
        moves.dropped = old.fields.iter().filter(moved).map(|field| field.path.clone()).collect();
        moves
    }

    /// Whether nothing at all is carried over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// Whether nothing is dropped and nothing added: what a key needs to stay the same key.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.dropped.is_empty() && self.added.is_empty()
    }

    /// Carries a value over, into bytes that may hold something already.
    ///
    /// # Errors
    /// The path of the first field whose number does not fit; `new` may be written in part.
    pub fn apply<'m>(&'m self, old: &[u8], new: &mut [u8]) -> Result<(), &'m str> {
        self.moves.iter().try_for_each(|(from, to)| move_field(from, to, old, new).ok_or(to.path.as_str()))
    }
}

fn can_move(from: &Field, to: &Field) -> bool {
    match (&from.kind, &to.kind) {
        (Kind::Numbers { .. }, Kind::Numbers { .. }) => true,
        (one, other) => one == other,
    }
}

fn move_field(from: &Field, to: &Field, old: &[u8], new: &mut [u8]) -> Option<()> {
    let (old, new) = (old.get(from.bytes.clone())?, new.get_mut(to.bytes.clone())?);
    let (
        &Kind::Numbers { count, bits, shift, signed, big },
        &Kind::Numbers { count: room, bits: wide, shift: up, signed: to_signed, big: to_big },
    ) = (&from.kind, &to.kind)
    else {
        new.copy_from_slice(old);
        return Some(());
    };
    let (size, to_size) = (old.len() / count.max(1), new.len() / room.max(1));
    for at in 0..count.max(room) {
        let value = match old.get(at * size..(at + 1) * size).filter(|_| at < count) {
            Some(bytes) => extend(number(bytes, big)? >> shift & mask(bits), bits, signed),
            None => 0,
        };
        let Some(place) = new.get_mut(at * to_size..(at + 1) * to_size).filter(|_| at < room) else {
            // An element that the new array has no room for must have nothing to say.
            if value == 0 {
                continue;
            }
            return None;
        };
        if !fits(value, wide, to_signed) {
            return None;
        }
        let kept = number(place, to_big)? & !(mask(wide) << up);
        put(place, kept | (value.cast_unsigned() & mask(wide)) << up, to_big);
    }
    Some(())
}

fn extend(number: u128, bits: u32, signed: bool) -> i128 {
    let shift = 128 - bits.clamp(1, 128);
    if signed { (number << shift).cast_signed() >> shift } else { number.cast_signed() }
}

fn fits(value: i128, bits: u32, signed: bool) -> bool {
    if bits >= 128 {
        return true;
    }
    let unsigned = value >= 0 && value.cast_unsigned() <= mask(bits);
    // A field that merely changed its sign keeps its bits.
    unsigned || signed && (-(1_i128 << (bits - 1))..0).contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use asm::btf::BtfBuilder;
    use proptest::prelude::*;

    type Shape<'s> = (u32, &'s [(&'static str, &'static str, u32)]);

    /// A struct of the given size with members of the named types at byte offsets.
    fn layout((size, members): Shape<'_>) -> Layout {
        let mut b = BtfBuilder::new();
        let (u8_, u16_) = (b.int("u8", 1, false), b.int("u16", 2, false));
        let (u32_, s32, u64_) = (b.int("u32", 4, false), b.int("s32", 4, true), b.int("u64", 8, false));
        let be16 = b.typedef("__be16", u16_);
        let pair = b.array(u16_, 2);
        let four = b.array(u16_, 4);
        let inner = b.struct_("inner", 4, &[("a", u8_, 0), ("b", u16_, 2)]);
        let both = b.array(inner, 2);
        let either = b.add(Type::Union {
            name: "either",
            size: 4,
            members: vec![
                Member { name: "x", ty: u32_, bit_offset: 0, bits: 0 },
                Member { name: "y", ty: s32, bit_offset: 0, bits: 0 },
            ],
        });
        let of = |name: &str| match name {
            "u8" => u8_,
            "u16" => u16_,
            "u32" => u32_,
            "s32" => s32,
            "u64" => u64_,
            "be16" => be16,
            "pair" => pair,
            "four" => four,
            "both" => both,
            "either" => either,
            other => panic!("no type {other}"),
        };
        let members: Vec<_> = members.iter().map(|(name, ty, at)| (*name, of(ty), *at)).collect();
        let id = b.struct_("value", size, &members);
        let btf = Btf::from_vec(b.encode().unwrap()).unwrap();
        Layout::of(&btf, id).unwrap()
    }

    fn changes(wanted: Shape<'_>, found: Shape<'_>) -> Vec<String> {
        let changes = layout(wanted).changes(&layout(found));
        let words = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        changes.into_iter().map(|one| format!("{}: {}, {}", one.path, words(one.wanted), words(one.found))).collect()
    }

    #[test]
    fn each_change_of_a_layout_is_told() {
        let same: Shape<'_> = (8, &[("a", "u32", 0), ("b", "u32", 4)]);
        let table: [(&str, Shape<'_>, &[&str]); 6] = [
            ("the same", same, &[]),
            ("only a sign", (8, &[("a", "s32", 0), ("b", "u32", 4)]), &[]),
            (
                "swapped",
                (8, &[("b", "u32", 0), ("a", "u32", 4)]),
                &["a: 4 bytes at byte 0, 4 bytes at byte 4", "b: 4 bytes at byte 4, 4 bytes at byte 0"],
            ),
            ("narrower", (8, &[("a", "u32", 0), ("b", "u16", 4)]), &["b: 4 bytes at byte 4, 2 bytes at byte 4"]),
            (
                "a field less and one more",
                (8, &[("a", "u32", 0), ("c", "pair", 4)]),
                &["b: 4 bytes at byte 4, none", "c: none, 2 times 2 bytes at byte 4"],
            ),
            (
                "an array of structs",
                (8, &[("both", "both", 0)]),
                &[
                    "a: 4 bytes at byte 0, none",
                    "b: 4 bytes at byte 4, none",
                    "both[0].a: none, 1 bytes at byte 0",
                    "both[0].b: none, 2 bytes at byte 2",
                    "both[1].a: none, 1 bytes at byte 4",
                    "both[1].b: none, 2 bytes at byte 6",
                ],
            ),
        ];
        for (name, found, want) in table {
            assert_eq!(changes(same, found), want, "{name}");
        }
    }

    #[test]
    fn values_move_field_by_field() {
        let old = layout((16, &[("a", "s32", 0), ("port", "be16", 4), ("gone", "u8", 6), ("e", "either", 8)]));
        let new = layout((24, &[("e", "either", 0), ("more", "u32", 4), ("a", "u64", 8), ("port", "u16", 16)]));
        let moves = Moves::new(&old, &new);
        assert_eq!((moves.dropped.as_slice(), moves.added.as_slice()), (&["gone".into()][..], &["more".into()][..]));
        let mut bytes = [0_u8; 16];
        bytes[..4].copy_from_slice(&7_i32.to_ne_bytes());
        bytes[4..6].copy_from_slice(&[0x01, 0xbb]);
        bytes[8..12].copy_from_slice(&9_u32.to_ne_bytes());
        let mut out = [0xff_u8; 24];
        moves.apply(&bytes, &mut out).unwrap();
        assert_eq!(out[..4], 9_u32.to_ne_bytes());
        assert_eq!(out[4..8], [0xff; 4], "what the old one does not have is left alone");
        assert_eq!(out[8..16], 7_u64.to_ne_bytes());
        assert_eq!(out[16..18], 443_u16.to_ne_bytes());
        bytes[..4].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(moves.apply(&bytes, &mut out), Err("a"), "no place for a sign");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        type Row<'r> = (&'r str, Shape<'r>, Shape<'r>, &'r [u8], Option<&'r [u8]>);
        let table: [Row<'_>; 5] = [
            ("narrow fits", (4, &[("a", "u32", 0)]), (2, &[("a", "u16", 0)]), &[1, 2, 0, 0], Some(&[1, 2])),
            ("narrow does not", (4, &[("a", "u32", 0)]), (2, &[("a", "u16", 0)]), &[1, 2, 1, 0], None),
            (
                "more elements",
                (4, &[("p", "pair", 0)]),
                (8, &[("p", "four", 0)]),
                &[1, 0, 2, 0],
                Some(&[1, 0, 2, 0, 0, 0, 0, 0]),
            ),
            (
                "fewer elements",
                (8, &[("p", "four", 0)]),
                (4, &[("p", "pair", 0)]),
                &[1, 0, 2, 0, 0, 0, 0, 0],
                Some(&[1, 0, 2, 0]),
            ),
            ("an element lost", (8, &[("p", "four", 0)]), (4, &[("p", "pair", 0)]), &[1, 0, 2, 0, 3, 0, 0, 0], None),
        ];
        for (name, old, new, bytes, want) in table {
            let mut out = vec![0; new.0 as usize];
            let moved = Moves::new(&layout(old), &layout(new)).apply(bytes, &mut out).is_ok();
            assert_eq!(moved.then_some(&out[..]), want, "{name}");
        }
    }

    proptest! {
        /// To a layout that has room for everything, and back: nothing is lost.
        #[test]
        fn there_and_back(bytes in prop::collection::vec(any::<u8>(), 16)) {
            let narrow = layout((16, &[("a", "u16", 0), ("p", "pair", 2), ("b", "s32", 8), ("c", "be16", 12)]));
            let wide = layout((32, &[("c", "u32", 0), ("b", "s32", 4), ("p", "four", 8), ("a", "u64", 16)]));
            let (mut there, mut back) = (vec![0; 32], vec![0; 16]);
            prop_assert!(Moves::new(&narrow, &wide).apply(&bytes, &mut there).is_ok());
            prop_assert!(Moves::new(&wide, &narrow).apply(&there, &mut back).is_ok());
            for range in [0..6, 8..14] {
                prop_assert_eq!(&bytes[range.clone()], &back[range]);
            }
        }
    }
}
