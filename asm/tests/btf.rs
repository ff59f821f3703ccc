//! BTF from outside: round trips of everything there is, both byte orders, damaged bytes, broken rules. The running kernel's
//! own types are read in `kernel/types.rs`.

#[path = "../fuzz/bodies/btf.rs"]
mod bodies;

use std::sync::Arc;

use asm::btf::{
    Btf, BtfBuilder, BtfExt, CoreRelo, CoreReloKind, Error, FuncInfo, Int, Kind, LineInfo, Linkage, Member, Param,
    SectionInfo, StrOff, Type, TypeId, VarSecinfo,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A name: often none, sometimes one that was used before.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-c]", "[a-zA-Z_][a-zA-Z0-9_]{0,12}", "\\PC{1,6}"]
}

/// The number of a type, whichever there are.
fn id() -> impl Strategy<Value = TypeId> {
    (0..40u32).prop_map(TypeId)
}

/// Members, with and without bit fields.
fn members() -> impl Strategy<Value = Vec<Member<String>>> {
    let plain =
        (name(), id(), any::<u32>()).prop_map(|(name, ty, bit_offset)| Member { name, ty, bit_offset, bits: 0 });
    let bits = (name(), id(), 0..1u32 << 24, 0..=255u8).prop_map(|(name, ty, bit_offset, bits)| Member {
        name,
        ty,
        bit_offset,
        bits,
    });
    prop_oneof![vec(plain, 0..6), vec(bits, 0..6)]
}

/// Any type of any kind.
fn any_type() -> impl Strategy<Value = Type<String>> {
    let int = (any::<u32>(), any::<[bool; 3]>(), any::<u8>(), any::<u8>())
        .prop_map(|(size, [signed, char, bool], bit_offset, bits)| Int { size, signed, char, bool, bit_offset, bits });
    let param = (name(), id()).prop_map(|(name, ty)| Param { name, ty });
    let var = (id(), any::<u32>(), any::<u32>()).prop_map(|(ty, offset, size)| VarSecinfo { ty, offset, size });
    let size = any::<u32>;
    prop_oneof![
        (name(), int).prop_map(|(name, int)| Type::Int { name, int }),
        id().prop_map(|ty| Type::Ptr { ty }),
        (id(), id(), size()).prop_map(|(elem, index, len)| Type::Array { elem, index, len }),
        (name(), size(), members()).prop_map(|(name, size, members)| Type::Struct { name, size, members }),
        (name(), size(), members()).prop_map(|(name, size, members)| Type::Union { name, size, members }),
        (name(), size(), any::<bool>(), vec((name(), any::<u32>()), 0..6))
            .prop_map(|(name, size, signed, values)| Type::Enum { name, size, signed, values }),
        (name(), any::<bool>()).prop_map(|(name, union)| Type::Fwd { name, union }),
        (name(), id()).prop_map(|(name, ty)| Type::Typedef { name, ty }),
        id().prop_map(|ty| Type::Volatile { ty }),
        id().prop_map(|ty| Type::Const { ty }),
        id().prop_map(|ty| Type::Restrict { ty }),
        (name(), id(), 0..3u32).prop_map(|(name, proto, l)| Type::Func { name, proto, linkage: Linkage(l) }),
        (id(), vec(param, 0..6)).prop_map(|(ret, params)| Type::FuncProto { ret, params }),
        (name(), id(), any::<u32>()).prop_map(|(name, ty, l)| Type::Var { name, ty, linkage: Linkage(l) }),
        (name(), size(), vec(var, 0..6)).prop_map(|(name, size, vars)| Type::DataSec { name, size, vars }),
        (name(), size()).prop_map(|(name, size)| Type::Float { name, size }),
        (name(), id(), proptest::option::of(0..1u32 << 31), any::<bool>())
            .prop_map(|(name, ty, component, attr)| Type::DeclTag { name, ty, component, attr }),
        (name(), id(), any::<bool>()).prop_map(|(name, ty, attr)| Type::TypeTag { name, ty, attr }),
        (name(), size(), any::<bool>(), vec((name(), any::<u64>()), 0..6))
            .prop_map(|(name, size, signed, values)| Type::Enum64 { name, size, signed, values }),
    ]
}

/// The same type, with its names borrowed.
fn borrowed(ty: &Type<String>) -> Type<&str> {
    ty.try_map_names(|name| Ok::<_, std::convert::Infallible>(name.as_str())).unwrap()
}

/// Writes 40 types or more: ids up to 39 are always there.
fn encode(types: &[Type<String>]) -> Vec<u8> {
    let mut b = BtfBuilder::new();
    for ty in types {
        b.push(borrowed(ty));
    }
    for _ in types.len()..40 {
        b.push(Type::Ptr { ty: TypeId::VOID });
    }
    b.encode().expect("any types can be written")
}

/// The same file in the other byte order: header and types swapped by their own rules.
fn big_endian(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let types = word(4) + word(8)..word(4) + word(8) + word(12);
    out[..2].reverse();
    out[4..24].chunks_exact_mut(4).for_each(<[u8]>::reverse);
    out[types].chunks_exact_mut(4).for_each(<[u8]>::reverse);
    out
}

proptest! {
    #[test]
    fn all_kinds_survive_a_round_trip(types in vec(any_type(), 1..60)) {
        let bytes = encode(&types);
        let btf = Btf::parse(&bytes).unwrap();
        for (ty, read) in types.iter().zip(btf.types()) {
            prop_assert_eq!(&borrowed(ty), &read.unwrap().1);
        }
        prop_assert_eq!(bytes, encode(&types), "built twice, different bytes");
    }

    #[test]
    fn both_byte_orders_read_alike(types in vec(any_type(), 1..60)) {
        let bytes = encode(&types);
        let swapped = big_endian(&bytes);
        let (little, big) = (Btf::parse(&bytes).unwrap(), Btf::parse(&swapped).unwrap());
        prop_assert!(big.is_big_endian() && !little.is_big_endian());
        prop_assert!(little.types().eq(big.types()));
    }

    #[test]
    fn damaged_bytes_never_panic(types in vec(any_type(), 1..60), cut in any::<prop::sample::Index>(), flips in vec((any::<prop::sample::Index>(), 0..8u8), 0..8)) {
        let mut bytes = encode(&types);
        bodies::btf(&bytes);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        bodies::btf(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        bodies::btf(&bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200), aim in 0..3u8) {
        // Two in three start like the real thing, or nothing would get past the header.
        if aim > 0 && bytes.len() >= 24 {
            bytes[..8].copy_from_slice(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
            if aim == 2 {
                let rest = u32::try_from(bytes.len() - 24).unwrap();
                let types = rest / 2 / 4 * 4;
                for (at, word) in [(8, 0), (12, types), (16, types), (20, rest - types)] {
                    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
                }
            }
        }
        bodies::btf(&bytes);
        bodies::ext(&bytes);
    }

    #[test]
    fn ext_survives_a_round_trip(ext in any_ext(), cut in any::<prop::sample::Index>(), flip in (any::<prop::sample::Index>(), 0..8u8)) {
        let mut bytes = ext.encode().unwrap();
        prop_assert_eq!(BtfExt::parse(&bytes).unwrap(), ext);
        let mut swapped = bytes.clone();
        swapped[..2].reverse();
        swapped[4..].chunks_exact_mut(4).for_each(<[u8]>::reverse);
        prop_assert_eq!(BtfExt::parse(&swapped), BtfExt::parse(&bytes));
        let at = flip.0.index(bytes.len());
        bytes[at] ^= 1 << flip.1;
        bodies::ext(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        bodies::ext(&bytes);
    }
}

/// Any `.BTF.ext`.
fn any_ext() -> impl Strategy<Value = BtfExt> {
    let func = (any::<u32>(), id()).prop_map(|(insn_off, ty)| FuncInfo { insn_off, ty });
    let line = (any::<[u32; 3]>(), 0..1u32 << 22, 0..1024u32).prop_map(|([insn_off, file, text], line, col)| {
        LineInfo { insn_off, file: StrOff(file), text: StrOff(text), line, col }
    });
    let core = (any::<[u32; 3]>(), id()).prop_map(|([insn_off, access, kind], ty)| CoreRelo {
        insn_off,
        ty,
        access: StrOff(access),
        kind: CoreReloKind(kind),
    });
    (vec(section(func), 0..3), vec(section(line), 0..3), vec(section(core), 0..3))
        .prop_map(|(funcs, lines, core_relos)| BtfExt { funcs, lines, core_relos })
}

/// Any records of one section.
fn section<T: std::fmt::Debug>(record: impl Strategy<Value = T>) -> impl Strategy<Value = SectionInfo<T>> {
    (any::<u32>(), vec(record, 0..5)).prop_map(|(section, records)| SectionInfo { section: StrOff(section), records })
}

/// A file of one type whose `info` word is `info`, with `tail` behind it, and layout records for `layouts` kinds.
fn one_type(info: u32, tail: &[u8], layouts: &[(u8, [u8; 2])]) -> Vec<u8> {
    let types = [&1u32.to_le_bytes()[..], &info.to_le_bytes(), &[0; 4], tail].concat();
    let strings = b"\0name\0\0\0";
    let kinds = layouts.iter().map(|(kind, _)| usize::from(*kind) + 1).max().unwrap_or(0);
    let mut layout = vec![0; kinds * 4];
    for (kind, sizes) in layouts {
        layout[usize::from(*kind) * 4..][..2].copy_from_slice(sizes);
    }
    let lens = [32, 0, types.len(), types.len(), strings.len(), types.len() + strings.len(), layout.len()];
    let words = lens.iter().flat_map(|len| u32::try_from(*len).expect("a short file").to_le_bytes());
    [&[0x9f, 0xeb, 1, 0][..], &words.collect::<Vec<_>>(), &types, strings, &layout].concat()
}

/// A kind that is not known is an error with its place; a file that says how long the kind is can still be read past it.
#[test]
fn unknown_kinds_are_named_or_stepped_over() {
    let known = [1u32, 2 << 24, 0].map(u32::to_le_bytes).concat();
    let tail = [&[7u8; 4 + 2 * 8][..], &known].concat();
    let bytes = one_type(77 << 24 | 2, &tail, &[]);
    let error = Error::UnknownKind { id: TypeId(1), kind: Kind(77), offset: 32 };
    assert_eq!(Btf::parse(&bytes).unwrap_err(), error);
    let bytes = one_type(77 << 24 | 2, &tail, &[(77, [4, 8])]);
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.get(TypeId(1)), Err(error));
    assert_eq!(btf.get(TypeId(2)), Ok(Type::Ptr { ty: TypeId::VOID }));
    assert_eq!(btf.find_name("name").collect::<Vec<_>>(), [TypeId(1), TypeId(2)]);
    bodies::btf(&bytes);
}

/// A module's types go on where the kernel's end: numbers and strings.
#[test]
fn split_types_continue_their_base() {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, true);
    let base = Btf::from_vec(b.encode().unwrap()).unwrap();
    // The split file says type 2 = struct "mod" { int member }, with its own strings from offset 5 on.
    let strings = b"mod\0member\0\0";
    let at = |own: u32| (5 + own).to_le_bytes();
    let types =
        [at(0), (4u32 << 24 | 1).to_le_bytes(), 4u32.to_le_bytes(), at(4), int.0.to_le_bytes(), [0; 4]].concat();
    let words = [24u32, 0, 24, 24, 12].map(u32::to_le_bytes).concat();
    let bytes = [&[0x9f, 0xeb, 1, 0][..], &words, &types, strings].concat();
    let split = Btf::parse_split(&bytes, Arc::new(base)).unwrap();
    let member = Member { name: "member", ty: int, bit_offset: 0, bits: 0 };
    assert_eq!(split.get(TypeId(2)), Ok(Type::Struct { name: "mod", size: 4, members: vec![member] }));
    assert_eq!(split.name(int), Ok("int"));
    assert_eq!((split.find("int", Kind::INT), split.find("mod", Kind::STRUCT)), (Some(int), Some(TypeId(2))));
    assert_eq!((split.len(), split.ids().collect::<Vec<_>>()), (3, vec![TypeId(2)]));
}

/// What goes in circles, or would be endless, is an error.
#[test]
fn circles_end() {
    let mut b = BtfBuilder::new();
    let (a, c) = (b.declare(), b.declare());
    b.define(a, Type::Typedef { name: "a", ty: c });
    b.define(c, Type::Const { ty: a });
    let array = b.declare();
    b.define(array, Type::Array { elem: array, index: a, len: 2 });
    let own = b.declare();
    b.define(
        own,
        Type::Struct { name: "s", size: 8, members: vec![Member { name: "s", ty: own, bit_offset: 0, bits: 0 }] },
    );
    let bytes = b.encode().unwrap();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.resolve(a), Err(Error::Loop { id: a }));
    assert_eq!(btf.size_of(array), Err(Error::TooLarge { id: array }));
    assert!(btf.check().is_err());
    bodies::btf(&bytes);
}

/// The kernel's rules, one broken at a time.
#[test]
fn check_names_the_broken_rule() {
    type Break = fn(&mut BtfBuilder) -> TypeId;
    let cases: &[(&str, Break)] = &[
        ("C identifier", |b| b.fwd("has space")),
        ("C identifier", |b| b.struct_("a<b>", 0, &[])),
        ("in order", |b| {
            let int = b.int("int", 4, true);
            b.struct_("s", 8, &[("b", int, 4), ("a", int, 0)])
        }),
        ("inside", |b| {
            let int = b.int("int", 4, true);
            b.struct_("s", 4, &[("a", int, 2)])
        }),
        ("must be a prototype", |b| {
            let int = b.int("int", 4, true);
            b.func("f", int, Linkage::GLOBAL)
        }),
        ("needs a name", |b| {
            let int = b.int("int", 4, true);
            let proto = b.func_proto(int, &[("", int)]);
            b.func("f", proto, Linkage::GLOBAL)
        }),
        ("a value or a pointer", |b| b.func_proto(TypeId::VOID, &[("ctx", TypeId::VOID)])),
        ("must have a size", |b| b.var("v", TypeId::VOID, Linkage::GLOBAL)),
        ("1, 2, 4, 8 or 16", |b| b.int("odd", 3, false)),
        ("must not overlap", |b| {
            let int = b.int("int", 4, true);
            let v = b.var("v", int, Linkage::GLOBAL);
            b.datasec(".data", 8, &[VarSecinfo { ty: v, offset: 0, size: 4 }, VarSecinfo { ty: v, offset: 2, size: 4 }])
        }),
        ("contains itself", |b| {
            let own = b.declare();
            let m = Member { name: "s", ty: own, bit_offset: 0, bits: 0 };
            b.define(own, Type::Union { name: "u", size: 4, members: vec![m] });
            own
        }),
    ];
    for (want, case) in cases {
        let mut b = BtfBuilder::new();
        let id = case(&mut b);
        let bytes = b.encode().unwrap();
        let error = Btf::parse(&bytes).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(want) && error.contains(&id.to_string()), "want {want:?} of {id}, got: {error}");
    }
}
