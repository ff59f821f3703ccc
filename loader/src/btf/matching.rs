//! Stage: relocation. Do two types, one the object's and one the kernel's, mean the same? Input: two BTFs and a type of
//! each. Output: yes or no, by libbpf's rules, so that an object means the same to both loaders. Next file: `path.rs`.

use asm::btf::{Btf, Kind, Member, Type, TypeId};

use super::MatchError;

/// How deep types are compared. libbpf's number.
const MAX_DEPTH: u32 = 32;

/// A name without its flavour: `task_struct___old` is one more way to see the kernel's `task_struct`.
#[must_use]
pub fn essential_name(name: &str) -> &str {
    let bytes = name.as_bytes();
    for (at, window) in bytes.windows(5).enumerate().rev() {
        if window[0] != b'_' && window[1..4] == *b"___" && window[4] != b'_' {
            return name.get(..=at).unwrap_or(name);
        }
    }
    name
}

/// Whether two kinds can stand for each other: equal ones, and the two widths of enumerations.
#[must_use]
pub fn kinds_fit(a: Kind, b: Kind) -> bool {
    let is_enum = |kind| matches!(kind, Kind::ENUM | Kind::ENUM64);
    a == b || (is_enum(a) && is_enum(b))
}

/// A type of each side.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The object's types.
    pub local: &'a Btf<'a>,
    /// The kernel's types.
    pub target: &'a Btf<'a>,
}

type Types<'a> = (TypeId, Type<&'a str>, TypeId, Type<&'a str>);

impl<'a> Pair<'a> {
    /// Both types behind typedefs and qualifiers.
    fn bare(self, local: TypeId, target: TypeId) -> Result<Types<'a>, MatchError> {
        let local = self.local.resolve(local).map_err(MatchError::Local)?;
        let target = self.target.resolve(target).map_err(MatchError::Target)?;
        let local_type = self.local.get(local).map_err(MatchError::Local)?;
        let target_type = self.target.get(target).map_err(MatchError::Target)?;
        Ok((local, local_type, target, target_type))
    }

    /// Whether a field of the one type can be read where the other was meant. Sizes may differ: the relocation adjusts them.
    ///
    /// # Errors
    /// A damaged type.
    pub fn fields_fit(self, local: TypeId, target: TypeId) -> Result<bool, MatchError> {
        let (mut local, mut target) = (local, target);
        for _ in 0..MAX_DEPTH {
            let (_, local_type, _, target_type) = self.bare(local, target)?;
            if is_composite(&local_type) && is_composite(&target_type) {
                return Ok(true);
            }
            if !kinds_fit(local_type.kind(), target_type.kind()) {
                return Ok(false);
            }
            return Ok(match (local_type, target_type) {
                (Type::Ptr { .. } | Type::Float { .. }, _) => true,
                (Type::Int { int: a, .. }, Type::Int { int: b, .. }) => a.bit_offset == 0 && b.bit_offset == 0,
                (Type::Array { elem: a, .. }, Type::Array { elem: b, .. }) => {
                    (local, target) = (a, b);
                    continue;
                }
                (a @ (Type::Enum { .. } | Type::Enum64 { .. } | Type::Fwd { .. }), b) => {
                    let (a, b) = (a.name().copied().unwrap_or_default(), b.name().copied().unwrap_or_default());
                    a.is_empty() || b.is_empty() || essential_name(a) == essential_name(b)
                }
                _ => false,
            });
        }
        Err(MatchError::TooDeep)
    }

    /// Whether two types are of the same shape as far as `bpf_core_type_exists` cares: kinds all the way, no names.
    ///
    /// # Errors
    /// A damaged type, or one nested deeper than any source has.
    pub fn types_fit(self, local: TypeId, target: TypeId) -> Result<bool, MatchError> {
        let kinds =
            (self.local.kind(local).map_err(MatchError::Local)?, self.target.kind(target).map_err(MatchError::Target)?);
        if !kinds_fit(kinds.0, kinds.1) {
            return Ok(false);
        }
        self.types_fit_at(local, target, MAX_DEPTH)
    }

    fn types_fit_at(self, local: TypeId, target: TypeId, depth: u32) -> Result<bool, MatchError> {
        let depth = depth.checked_sub(1).ok_or(MatchError::TooDeep)?;
        let (_, local_type, _, target_type) = self.bare(local, target)?;
        if !kinds_fit(local_type.kind(), target_type.kind()) {
            return Ok(false);
        }
        match (local_type, target_type) {
            (Type::Int { int: a, .. }, Type::Int { int: b, .. }) => Ok(a.bit_offset == 0 && b.bit_offset == 0),
            (Type::Ptr { ty: a }, Type::Ptr { ty: b }) => self.types_fit_at(a, b, depth),
            (Type::Array { elem: a, .. }, Type::Array { elem: b, .. }) => self.types_fit_at(a, b, depth),
            (Type::FuncProto { ret: a, params: ours }, Type::FuncProto { ret: b, params: theirs }) => {
                if ours.len() != theirs.len() {
                    return Ok(false);
                }
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    if !self.types_fit_at(ours.ty, theirs.ty, depth)? {
                        return Ok(false);
                    }
                }
                self.types_fit_at(a, b, depth)
            }
            (
                Type::Void
                | Type::Struct { .. }
                | Type::Union { .. }
                | Type::Enum { .. }
                | Type::Enum64 { .. }
                | Type::Fwd { .. },
                _,
            ) => Ok(true),
            _ => Ok(false),
        }
    }

    /// Whether the kernel's type has at least what the object's has, by name, as `bpf_core_type_matches` asks.
    ///
    /// # Errors
    /// A damaged type, or one nested deeper than any source has.
    pub fn types_match(self, local: TypeId, target: TypeId) -> Result<bool, MatchError> {
        let names =
            (self.local.name(local).map_err(MatchError::Local)?, self.target.name(target).map_err(MatchError::Target)?);
        Ok(names_match(names.0, names.1) && self.match_at(local, target, false, MAX_DEPTH)?)
    }

    fn match_at(self, local: TypeId, target: TypeId, behind_ptr: bool, depth: u32) -> Result<bool, MatchError> {
        let depth = depth.checked_sub(1).ok_or(MatchError::TooDeep)?;
        let (_, local_type, _, target_type) = self.bare(local, target)?;
        let names = (local_type.name().copied().unwrap_or_default(), target_type.name().copied().unwrap_or_default());
        if !names_match(names.0, names.1) {
            return Ok(false);
        }
        match (&local_type, &target_type) {
            (Type::Void, Type::Void) => Ok(true),
            (Type::Fwd { union: a, .. }, Type::Fwd { union: b, .. }) => Ok(a == b),
            (Type::Fwd { union, .. }, Type::Struct { .. }) => Ok(behind_ptr && !union),
            (Type::Fwd { union, .. }, Type::Union { .. }) => Ok(behind_ptr && *union),
            (Type::Struct { .. }, Type::Fwd { union, .. }) => Ok(behind_ptr && !union),
            (Type::Union { .. }, Type::Fwd { union, .. }) => Ok(behind_ptr && *union),
            (Type::Struct { members: a, .. }, Type::Struct { members: b, .. })
            | (Type::Union { members: a, .. }, Type::Union { members: b, .. }) => {
                Ok(behind_ptr || self.members_match(a, b, depth)?)
            }
            (Type::Int { int: a, .. }, Type::Int { int: b, .. }) => Ok(a.size == b.size && a.signed == b.signed),
            (Type::Ptr { ty: a }, Type::Ptr { ty: b }) => self.match_at(*a, *b, true, depth),
            (Type::Array { elem: a, len: n, .. }, Type::Array { elem: b, len: m, .. }) => {
                Ok(n == m && self.match_at(*a, *b, behind_ptr, depth)?)
            }
            (Type::FuncProto { ret: a, params: ours }, Type::FuncProto { ret: b, params: theirs }) => {
                if ours.len() != theirs.len() {
                    return Ok(false);
                }
                for (ours, theirs) in ours.iter().zip(theirs) {
                    if !self.match_at(ours.ty, theirs.ty, behind_ptr, depth)? {
                        return Ok(false);
                    }
                }
                self.match_at(*a, *b, behind_ptr, depth)
            }
            _ => Ok(enums_match(&local_type, &target_type)),
        }
    }

    /// Each member of ours has one of the same name and a matching type there.
    fn members_match(self, ours: &[Member<&str>], theirs: &[Member<&str>], depth: u32) -> Result<bool, MatchError> {
        if ours.len() > theirs.len() {
            return Ok(false);
        }
        for our in ours {
            let mut found = false;
            for their in theirs.iter().filter(|their| names_match(our.name, their.name)) {
                if self.match_at(our.ty, their.ty, false, depth)? {
                    found = true;
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Each enumerator of ours has one of the same name there; values are what relocations are for.
fn enums_match(local: &Type<&str>, target: &Type<&str>) -> bool {
    let (Some((size, ours)), Some((target_size, theirs))) = (enumerators(local), enumerators(target)) else {
        return false;
    };
    let has = |name: &str| theirs.iter().any(|(their, _)| names_match(name, their));
    size == target_size && ours.len() <= theirs.len() && ours.iter().all(|(name, _)| has(name))
}

/// Size and enumerators, values widened to 64 bits with their sign; `None` for anything but an enumeration.
#[must_use]
pub fn enumerators<'a>(ty: &Type<&'a str>) -> Option<(u32, Vec<(&'a str, u64)>)> {
    match ty {
        // Whether signed or not, libbpf reads the 32 bits as signed.
        Type::Enum { size, values, .. } => {
            let wide = |value: u32| i64::from(value.cast_signed()).cast_unsigned();
            Some((*size, values.iter().map(|&(name, value)| (name, wide(value))).collect()))
        }
        Type::Enum64 { size, values, .. } => Some((*size, values.clone())),
        _ => None,
    }
}

/// Struct or union.
pub(crate) fn is_composite(ty: &Type<&str>) -> bool {
    matches!(ty, Type::Struct { .. } | Type::Union { .. })
}

fn names_match(local: &str, target: &str) -> bool {
    if target.is_empty() { local.is_empty() } else { essential_name(local) == essential_name(target) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours() {
        for (name, want) in [
            ("task_struct", "task_struct"),
            ("task_struct___old", "task_struct"),
            ("a___b___c", "a___b"),
            ("a____b", "a____b"),
            ("___b", "___b"),
            ("a___", "a___"),
            ("", ""),
            ("x___y", "x"),
        ] {
            assert_eq!(essential_name(name), want, "{name}");
        }
    }
}
