//! Stage: maps, for people. Input: a type and bytes of the kernel, or JSON that somebody wrote. Output: JSON, or bytes.
//!
//! Integers are in this machine's byte order, but for the types that say otherwise (`__be32` and its like). What types cannot
//! describe stays hexadecimal. Read next: `../map/mod.rs`.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use asm::btf::{Btf, Member, Type, TypeId};
use serde_json::{Map, Value, json};

/// How deep values are nested at most; no real type comes near.
const DEPTH: u32 = 32;
/// Names of types in network byte order.
const BIG_ENDIAN: [&str; 6] = ["__be16", "__be32", "__be64", "be16", "be32", "be64"];
/// Name of the type of IPv6 addresses, which are written as such.
const ADDRESS: &str = "in6_addr";

/// Why a value cannot be made of JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", if .path.is_empty() { "the value" } else { .path.as_str() })]
pub struct ValueError {
    /// Members and indexes on the way, such as `flows[3].port`; empty for the whole.
    pub path: String,
    /// What is wrong there, and what would be right.
    pub problem: String,
}

fn wrong<T>(problem: impl Into<String>) -> Result<T, ValueError> {
    Err(ValueError { path: String::new(), problem: problem.into() })
}

/// Bytes as JSON. What the type does not describe is a string of hexadecimal digits.
///
/// ```
/// use asm::btf::{Btf, BtfBuilder};
/// let mut types = BtfBuilder::new();
/// let port = types.int("u16", 2, false);
/// let key = types.struct_("key", 4, &[("from", port, 0), ("to", port, 2)]);
/// let btf = Btf::from_vec(types.encode()?)?;
/// let bytes = [80_u16.to_ne_bytes(), 443_u16.to_ne_bytes()].concat();
/// let value = loader::btf::value::decode(&btf, key, &bytes);
/// assert_eq!(value, serde_json::json!({ "from": 80, "to": 443 }));
/// assert_eq!(loader::btf::value::encode(&btf, key, &value, 4)?, bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn decode(btf: &Btf<'_>, id: TypeId, bytes: &[u8]) -> Value {
    read(btf, id, bytes, DEPTH).unwrap_or_else(|| json!(hex(bytes)))
}

/// JSON as `size` bytes of a type; members that are not named are zero.
///
/// # Errors
/// What does not fit, and where.
pub fn encode(btf: &Btf<'_>, id: TypeId, value: &Value, size: usize) -> Result<Vec<u8>, ValueError> {
    let mut bytes = vec![0; size];
    write(btf, id, value, &mut bytes, DEPTH)?;
    Ok(bytes)
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A type without its other names and qualifiers, and whether one of them says network byte order.
pub(super) fn bare<'b>(btf: &'b Btf<'_>, mut id: TypeId) -> Option<(Type<&'b str>, bool)> {
    let mut big = false;
    for _ in 0..DEPTH {
        let ty = btf.get(id).ok()?;
        match &ty {
            Type::Typedef { name, ty } => {
                big |= BIG_ENDIAN.contains(name);
                id = *ty;
            }
            Type::Const { ty } | Type::Volatile { ty } | Type::Restrict { ty } | Type::Var { ty, .. } => id = *ty,
            Type::TypeTag { ty, .. } => id = *ty,
            _ => return Some((ty, big)),
        }
    }
    None
}

/// Whether a type is that of IPv6 addresses, under whatever other name.
fn is_address(btf: &Btf<'_>, mut id: TypeId) -> bool {
    for _ in 0..DEPTH {
        match btf.get(id) {
            Ok(Type::Typedef { name: ADDRESS, .. } | Type::Struct { name: ADDRESS, .. }) => return true,
            Ok(Type::Typedef { ty, .. } | Type::Const { ty } | Type::Volatile { ty } | Type::TypeTag { ty, .. }) => {
                id = ty
            }
            _ => return false,
        }
    }
    false
}

/// An address as text; one of IPv4 too, which lies in the last four bytes behind `::ffff`.
fn address(value: &Value) -> Option<[u8; 16]> {
    let address: IpAddr = value.as_str()?.parse().ok()?;
    Some(match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    })
}

/// Up to 16 bytes as a number.
pub(super) fn number(bytes: &[u8], big: bool) -> Option<u128> {
    let mut wide = [0; 16];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    if big || cfg!(target_endian = "big") {
        wide[..bytes.len()].reverse();
    }
    Some(u128::from_le_bytes(wide))
}

/// A number as so many bytes.
pub(super) fn put(bytes: &mut [u8], number: u128, big: bool) {
    let wide = number.to_le_bytes();
    for (byte, from) in bytes.iter_mut().zip(wide) {
        *byte = from;
    }
    if big || cfg!(target_endian = "big") {
        bytes.reverse();
    }
}

/// A number of so many bits with its sign, as JSON; as digits where JSON's numbers do not reach.
fn shown(number: u128, bits: u32, signed: bool) -> Value {
    let shift = 128 - bits.clamp(1, 128);
    if signed {
        let value = (number << shift).cast_signed() >> shift;
        return i64::try_from(value).map_or_else(|_| json!(value.to_string()), Value::from);
    }
    u64::try_from(number).map_or_else(|_| json!(format!("{number:#x}")), Value::from)
}

fn read(btf: &Btf<'_>, id: TypeId, bytes: &[u8], depth: u32) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    if let Some(octets) = <[u8; 16]>::try_from(bytes).ok().filter(|_| is_address(btf, id)) {
        return Some(json!(Ipv6Addr::from(octets).to_string()));
    }
    let (ty, big) = bare(btf, id)?;
    Some(match ty {
        Type::Int { int, .. } if int.bool && bytes.len() == 1 && bytes[0] < 2 => json!(bytes[0] == 1),
        Type::Int { int, .. } => shown(number(bytes, big)?, u32::try_from(bytes.len()).ok()? * 8, int.signed),
        Type::Ptr { .. } => json!(format!("{:#x}", number(bytes, false)?)),
        Type::Enum { signed, values, .. } => {
            let number = number(bytes, big)?;
            let name = values.iter().find(|(_, value)| u128::from(*value) == number & 0xffff_ffff);
            name.map_or_else(|| shown(number, bytes_bits(bytes), signed), |(name, _)| json!(name))
        }
        Type::Enum64 { signed, values, .. } => {
            let number = number(bytes, big)?;
            let name = values.iter().find(|(_, value)| u128::from(*value) == number);
            name.map_or_else(|| shown(number, bytes_bits(bytes), signed), |(name, _)| json!(name))
        }
        Type::Float { .. } => match bytes.len() {
            4 => json!(f32::from_ne_bytes(bytes.try_into().ok()?)),
            8 => json!(f64::from_ne_bytes(bytes.try_into().ok()?)),
            _ => return None,
        },
        Type::Array { elem, len, .. } => array(btf, elem, len, bytes, depth)?,
        Type::Struct { members, .. } | Type::Union { members, .. } => {
            let mut object = Map::new();
            for member in &members {
                let value = read_member(btf, member, bytes, depth)?;
                match value {
                    Value::Object(inner) if member.name.is_empty() => object.extend(inner),
                    value => drop(object.insert(member.name.to_owned(), value)),
                }
            }
            Value::Object(object)
        }
        Type::DataSec { vars, .. } => {
            let mut object = Map::new();
            for var in vars {
                let (at, size) = (var.offset as usize, var.size as usize);
                object.insert(btf.name(var.ty).ok()?.to_owned(), read(btf, var.ty, bytes.get(at..at + size)?, depth)?);
            }
            Value::Object(object)
        }
        _ => return None,
    })
}

fn bytes_bits(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len() * 8).unwrap_or(u32::MAX)
}

/// Text where it is one, else a list.
fn array(btf: &Btf<'_>, elem: TypeId, len: u32, bytes: &[u8], depth: u32) -> Option<Value> {
    if is_text(btf, elem) {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at(end);
        if rest.iter().all(|byte| *byte == 0) && text.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return Some(json!(String::from_utf8_lossy(text)));
        }
    }
    let size = btf.size_of(elem).ok()? as usize;
    if size == 0 || bytes.len() != size.checked_mul(len as usize)? {
        return None;
    }
    bytes.chunks_exact(size).map(|one| read(btf, elem, one, depth)).collect()
}

fn is_text(btf: &Btf<'_>, elem: TypeId) -> bool {
    matches!(bare(btf, elem), Some((Type::Int { name: "char", int }, _)) if int.size == 1)
}

/// A bit field in its bytes: how far it is shifted, and how many bits it has.
pub(super) type Field = (u32, u32);

/// Where a member lies: its bytes, and for a bit field which bits of them.
pub(super) fn place(btf: &Btf<'_>, member: &Member<&str>) -> Option<(Range<usize>, Option<Field>)> {
    let at = member.bit_offset as usize;
    if member.bits == 0 {
        let start = at / 8;
        return Some((start..start + btf.size_of(member.ty).ok()? as usize, None));
    }
    let bits = u32::from(member.bits);
    let (start, shift) = (at / 8, member.bit_offset % 8);
    Some((start..start + (shift + bits).div_ceil(8) as usize, Some((shift, bits))))
}

fn read_member(btf: &Btf<'_>, member: &Member<&str>, bytes: &[u8], depth: u32) -> Option<Value> {
    let (range, field) = place(btf, member)?;
    let bytes = bytes.get(range)?;
    let Some((shift, bits)) = field else { return read(btf, member.ty, bytes, depth) };
    let signed = matches!(bare(btf, member.ty)?.0, Type::Int { int, .. } if int.signed);
    Some(shown(number(bytes, false)? >> shift & mask(bits), bits, signed))
}

pub(super) fn mask(bits: u32) -> u128 {
    1_u128.checked_shl(bits).map_or(u128::MAX, |bit| bit - 1)
}

fn write(btf: &Btf<'_>, id: TypeId, value: &Value, bytes: &mut [u8], depth: u32) -> Result<(), ValueError> {
    if let Some(octets) = address(value).filter(|_| bytes.len() == 16 && is_address(btf, id)) {
        bytes.copy_from_slice(&octets);
        return Ok(());
    }
    let Some((depth, (ty, big))) = depth.checked_sub(1).zip(bare(btf, id)) else { return wrong("its type is damaged") };
    match ty {
        Type::Int { .. } | Type::Ptr { .. } => {
            integer(value, bytes_bits(bytes), big).map(|number| put(bytes, number, big))
        }
        Type::Enum { values, .. } => {
            let named = |name: &str| values.iter().find(|(own, _)| *own == name).map(|(_, value)| u128::from(*value));
            enumerator(value, named, bytes_bits(bytes)).map(|number| put(bytes, number, big))
        }
        Type::Enum64 { values, .. } => {
            let named = |name: &str| values.iter().find(|(own, _)| *own == name).map(|(_, value)| u128::from(*value));
            enumerator(value, named, bytes_bits(bytes)).map(|number| put(bytes, number, big))
        }
        Type::Array { elem, len, .. } => write_array(btf, elem, len, value, bytes, depth),
        Type::Struct { members, .. } | Type::Union { members, .. } => {
            let Value::Object(object) = value else { return wrong("an object with the members is wanted") };
            object.iter().try_for_each(|(name, value)| {
                let written = write_named(btf, &members, name, value, bytes, depth);
                written
                    .unwrap_or_else(|| wrong(format!("there is no member of that name; there are {}", names(&members))))
                    .map_err(|error| inside(name, error))
            })
        }
        Type::DataSec { vars, .. } => {
            let Value::Object(object) = value else { return wrong("an object with the variables is wanted") };
            object.iter().try_for_each(|(name, value)| {
                let var = vars.iter().find(|var| btf.name(var.ty) == Ok(name.as_str()));
                let place = var
                    .and_then(|var| Some((var, bytes.get_mut(var.offset as usize..)?.get_mut(..var.size as usize)?)));
                match place {
                    Some((var, place)) => write(btf, var.ty, value, place, depth),
                    None => wrong("there is no variable of that name"),
                }
                .map_err(|error| inside(name, error))
            })
        }
        other => wrong(format!("a {} cannot be written as JSON: give bytes as hex:…", other.kind())),
    }
}

/// Puts the name before the place of an error.
fn inside(name: &str, error: ValueError) -> ValueError {
    let dot = if error.path.is_empty() || error.path.starts_with('[') { "" } else { "." };
    ValueError { path: format!("{name}{dot}{}", error.path), ..error }
}

fn names(members: &[Member<&str>]) -> String {
    let names: Vec<&str> = members.iter().map(|member| member.name).filter(|name| !name.is_empty()).collect();
    names.join(", ")
}

/// Writes the member of that name, which may be in a nameless one; `None` if there is none.
fn write_named(
    btf: &Btf<'_>,
    members: &[Member<&str>],
    name: &str,
    value: &Value,
    bytes: &mut [u8],
    depth: u32,
) -> Option<Result<(), ValueError>> {
    for member in members {
        let (range, field) = place(btf, member)?;
        let Some(bytes) = bytes.get_mut(range) else { return Some(wrong("its type is damaged")) };
        if member.name == name {
            return Some(match field {
                None => write(btf, member.ty, value, bytes, depth),
                Some((shift, bits)) => integer(value, bits, false).map(|new| {
                    let old = number(bytes, false).unwrap_or(0) & !(mask(bits) << shift);
                    put(bytes, old | (new & mask(bits)) << shift, false);
                }),
            });
        }
        if let (true, Some((Type::Struct { members, .. } | Type::Union { members, .. }, _))) =
            (member.name.is_empty(), bare(btf, member.ty))
            && let Some(written) = write_named(btf, &members, name, value, bytes, depth.checked_sub(1)?)
        {
            return Some(written);
        }
    }
    None
}

fn write_array(
    btf: &Btf<'_>,
    elem: TypeId,
    len: u32,
    value: &Value,
    bytes: &mut [u8],
    depth: u32,
) -> Result<(), ValueError> {
    match value {
        Value::String(text) if is_text(btf, elem) => match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                Ok(())
            }
            None => wrong(format!("{} bytes of text do not fit into {}", text.len(), bytes.len())),
        },
        Value::Array(values) if values.len() == len as usize && !values.is_empty() => {
            let size = bytes.len() / values.len();
            let mut elements = values.iter().zip(bytes.chunks_exact_mut(size.max(1))).enumerate();
            elements.try_for_each(|(at, (value, place))| {
                write(btf, elem, value, place, depth).map_err(|error| inside(&format!("[{at}]"), error))
            })
        }
        _ => wrong(format!("a list of {len} is wanted")),
    }
}

fn enumerator(value: &Value, named: impl Fn(&str) -> Option<u128>, bits: u32) -> Result<u128, ValueError> {
    let name = value.as_str().and_then(named);
    name.map_or_else(|| integer(value, bits, false), Ok)
}

/// A number as JSON has it, or as text: `"0x1f"`, `"-1"`; for numbers in network byte order also `"10.0.0.1"`.
fn integer(value: &Value, bits: u32, big: bool) -> Result<u128, ValueError> {
    let number = match value {
        Value::Bool(yes) => Some(i128::from(*yes)),
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Value::String(text) => match text.parse::<std::net::Ipv4Addr>() {
            Ok(address) if big && bits == 32 => Some(i128::from(u32::from(address))),
            _ => text_number(text),
        },
        _ => None,
    };
    let Some(number) = number else { return wrong(format!("{value} is no number")) };
    let fits = if number < 0 {
        bits >= 128 || number >= -(1_i128 << (bits - 1))
    } else {
        bits >= 128 || number.cast_unsigned() <= mask(bits)
    };
    if fits { Ok(number.cast_unsigned() & mask(bits)) } else { wrong(format!("{number} does not fit {bits} bits")) }
}

fn text_number(text: &str) -> Option<i128> {
    match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok().map(u128::cast_signed),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asm::btf::BtfBuilder;
    use proptest::prelude::*;

    /// A struct of 32 bytes without a gap: integers, a nested struct, an enumeration, bit fields, text, network order.
    fn types() -> (Btf<'static>, TypeId) {
        let mut b = BtfBuilder::new();
        let (u8_, s8, u32_) = (b.int("u8", 1, false), b.int("s8", 1, true), b.int("u32", 4, false));
        let (s64, char_, u16_) = (b.int("s64", 8, true), b.int("char", 1, true), b.int("u16", 2, false));
        let be16 = b.typedef("__be16", u16_);
        let be32 = b.typedef("__be32", u32_);
        let text = b.array(char_, 4);
        let pair = b.array(u16_, 2);
        let state = b.add(Type::Enum { name: "state", size: 4, signed: false, values: vec![("IDLE", 0), ("BUSY", 7)] });
        let inner = b.struct_("inner", 4, &[("a", u8_, 0), ("b", s8, 1), ("port", be16, 2)]);
        let bits = |name, bit_offset, bits| Member { name, ty: u32_, bit_offset, bits };
        let flags =
            b.add(Type::Struct { name: "flags", size: 4, members: vec![bits("low", 0, 3), bits("rest", 3, 29)] });
        let members = [
            ("count", s64, 0),
            ("address", be32, 8),
            ("state", state, 12),
            ("inner", inner, 16),
            ("flags", flags, 20),
            ("name", text, 24),
            ("pair", pair, 28),
        ];
        let whole = b.struct_("whole", 32, &members);
        (Btf::from_vec(b.encode().unwrap()).unwrap(), whole)
    }

    #[test]
    fn a_value_as_people_write_it() {
        let (btf, whole) = types();
        let value = json!({
            "count": -2, "address": 0x0a00_0001, "state": "BUSY", "inner": {"a": 1, "b": -1, "port": 443},
            "flags": {"low": 5, "rest": 9}, "name": "eth", "pair": [1, 2]
        });
        let bytes = encode(&btf, whole, &value, 32).unwrap();
        assert_eq!(bytes[8..12], [10, 0, 0, 1]);
        assert_eq!(bytes[18..20], [1, 0xbb]);
        assert_eq!(decode(&btf, whole, &bytes), value);
        let short = encode(&btf, whole, &json!({ "address": "10.0.0.1" }), 32).unwrap();
        assert_eq!(short[8..12], [10, 0, 0, 1]);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let (btf, whole) = types();
        for (value, want) in [
            (json!({ "cuont": 1 }), "cuont: there is no member of that name; there are count, address"),
            (json!({ "inner": { "a": 256 } }), "inner.a: 256 does not fit 8 bits"),
            (json!({ "inner": { "b": -129 } }), "inner.b: -129 does not fit 8 bits"),
            (json!({ "flags": { "low": 8 } }), "flags.low: 8 does not fit 3 bits"),
            (json!({ "pair": [1, "x"] }), "pair[1]: \"x\" is no number"),
            (json!({ "pair": [1] }), "pair: a list of 2 is wanted"),
            (json!({ "name": "wlan0" }), "name: 5 bytes of text do not fit into 4"),
            (json!({ "state": "LOST" }), "state: \"LOST\" is no number"),
            (json!(5), "the value: an object with the members is wanted"),
        ] {
            assert_eq!(encode(&btf, whole, &value, 32).unwrap_err().to_string().split(", state").next(), Some(want));
        }
        assert_eq!(decode(&btf, whole, &[1, 2]), json!("0102"));
        assert_eq!(decode(&btf, TypeId(999), &[1, 2]), json!("0102"));
    }

    #[test]
    fn addresses_are_written_as_such() {
        let mut b = BtfBuilder::new();
        let u8_ = b.int("u8", 1, false);
        let bytes = b.array(u8_, 16);
        let named = b.typedef("in6_addr", bytes);
        let whole = b.struct_("prefix", 20, &[("from", named, 0)]);
        let btf = Btf::from_vec(b.encode().unwrap()).unwrap();
        for (text, shown) in [("2001:db8::1", "2001:db8::1"), ("10.0.0.1", "::ffff:10.0.0.1")] {
            let bytes = encode(&btf, whole, &json!({ "from": text }), 20).unwrap();
            assert_eq!(decode(&btf, whole, &bytes), json!({ "from": shown }));
        }
        let error = encode(&btf, whole, &json!({ "from": "2001:db8::/32" }), 20).unwrap_err();
        assert_eq!(error.to_string(), "from: a list of 16 is wanted");
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 32)) {
            let (btf, whole) = types();
            let value = decode(&btf, whole, &bytes);
            prop_assert_eq!(encode(&btf, whole, &value, 32).unwrap(), bytes);
        }

        #[test]
        fn any_bytes_of_any_type_are_shown(bytes in prop::collection::vec(any::<u8>(), 0..40), id in 0..20_u32) {
            let (btf, _) = types();
            drop(decode(&btf, TypeId(id), &bytes));
        }
    }
}
