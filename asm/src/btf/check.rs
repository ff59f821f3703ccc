//! Would the kernel take these types?
//!
//! Stage: after `encode.rs` and before a load. Input: a [`Btf`]. Output: nothing, or the first thing that the kernel's own
//! check refuses, as a sentence; the kernel says only `EINVAL` unless a log is asked for. Next: `dump.rs`.

use thiserror::Error as ThisError;

use super::decode::Btf;
use super::error::Error;
use super::types::{Int, Kind, Linkage, Member, Param, Type, TypeId, VarSecinfo};

/// Longest name that every kernel takes.
const MAX_NAME: usize = 127;
/// How deeply types may contain each other by value.
const MAX_DEPTH: usize = 32;

/// What the kernel would refuse.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum Refused {
    /// The file itself is wrong.
    #[error(transparent)]
    Unreadable(#[from] Error),
    /// A type that breaks a rule.
    #[error("the kernel refuses type {id} ({kind} '{name}'): {problem}")]
    Type {
        /// The type.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// The rule.
        problem: &'static str,
    },
}

impl Btf<'_> {
    /// Checks all rules of the kernel's reader that hold on every kernel since 5.10. What only exists in object files, and
    /// which loaders take out, is allowed: declarations of something external.
    ///
    /// # Errors
    ///
    /// The first type that breaks a rule.
    pub fn check(&self) -> Result<(), Refused> {
        for ty in self.types() {
            let (id, ty) = ty?;
            let checked = check_type(self, id, &ty).and_then(|()| check_depth(self, id, &ty));
            if let Err(problem) = checked {
                let name = ty.name().copied().unwrap_or_default().to_owned();
                return Err(Refused::Type { id, kind: ty.kind(), name, problem });
            }
        }
        Ok(())
    }
}

/// Whether `name` is a C identifier that is not too long.
pub(crate) fn is_c_identifier(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.len() <= MAX_NAME && name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// Whether a variable may have this name: those inside of functions are called `function.variable`.
pub(crate) fn is_variable_name(name: &str) -> bool {
    is_c_identifier(&name.replace('.', "_"))
}

/// A problem, unless `fine`.
fn rule(fine: bool, problem: &'static str) -> Result<(), &'static str> {
    if fine { Ok(()) } else { Err(problem) }
}

/// A name that may be missing.
fn optional_name(name: &str) -> Result<(), &'static str> {
    rule(name.is_empty() || is_c_identifier(name), "a name must be a C identifier of at most 127 bytes")
}

/// A name that must be there.
fn required_name(name: &str) -> Result<(), &'static str> {
    rule(is_c_identifier(name), "its name must be a C identifier of 1 to 127 bytes")
}

/// The rules of one type.
fn check_type(btf: &Btf<'_>, id: TypeId, ty: &Type<&str>) -> Result<(), &'static str> {
    let mut missing = false;
    ty.for_each_id(|to| missing |= btf.kind(to).is_err());
    rule(!missing, "it refers to a type that is not there")?;
    match ty {
        Type::Int { int, .. } => check_int(*int),
        Type::Array { elem, index, .. } => {
            rule(resolved(btf, *index) == Some(Kind::INT), "the index of an array must be an integer")?;
            rule(btf.size_of(*elem).is_ok(), "the elements of an array must have a size")?;
            rule(btf.size_of(id).is_ok(), "an array must be smaller than 4 GiB")
        }
        Type::Struct { name, size, members } => {
            optional_name(name)?;
            check_members(btf, *size, members, false)
        }
        Type::Union { name, size, members } => {
            optional_name(name)?;
            check_members(btf, *size, members, true)
        }
        Type::Enum { name, size, values, .. } => {
            optional_name(name)?;
            values.iter().try_for_each(|(name, _)| required_name(name))?;
            rule(matches!(size, 1 | 2 | 4 | 8), "an enumeration takes 1, 2, 4 or 8 bytes")
        }
        Type::Enum64 { name, size, values, .. } => {
            optional_name(name)?;
            values.iter().try_for_each(|(name, _)| required_name(name))?;
            rule(matches!(size, 1 | 2 | 4 | 8), "an enumeration takes 1, 2, 4 or 8 bytes")
        }
        Type::Fwd { name, .. } | Type::Typedef { name, .. } => required_name(name),
        Type::Func { name, proto, linkage } => {
            required_name(name)?;
            rule(linkage.0 <= Linkage::EXTERN.0, "this linkage is not known")?;
            let Ok(Type::FuncProto { params, .. }) = btf.get(*proto) else {
                return Err("a function's type must be a prototype");
            };
            rule(
                *linkage == Linkage::EXTERN || params.iter().all(|p| is_c_identifier(p.name) || is_ellipsis(p)),
                "every parameter of a function needs a name",
            )
        }
        Type::FuncProto { ret, params } => check_proto(btf, *ret, params),
        Type::Var { name, ty, linkage } => {
            rule(is_variable_name(name), "its name must be a C identifier of 1 to 127 bytes; dots are allowed")?;
            rule(linkage.0 <= Linkage::EXTERN.0, "this linkage is not known")?;
            rule(*linkage == Linkage::EXTERN || btf.size_of(*ty).is_ok(), "a variable must have a size")
        }
        Type::DataSec { name, size, vars } => check_datasec(btf, name, *size, vars),
        Type::Float { size, .. } => rule(matches!(size, 2 | 4 | 8 | 12 | 16), "a float takes 2, 4, 8, 12 or 16 bytes"),
        Type::DeclTag { name, .. } | Type::TypeTag { name, .. } => rule(!name.is_empty(), "a tag must say something"),
        Type::Void | Type::Ptr { .. } | Type::Volatile { .. } | Type::Const { .. } | Type::Restrict { .. } => Ok(()),
    }
}

/// The rules of an integer.
fn check_int(int: Int) -> Result<(), &'static str> {
    let bits = u32::from(int.bit_offset) + u32::from(int.bits);
    rule(matches!(int.size, 1 | 2 | 4 | 8 | 16), "an integer takes 1, 2, 4, 8 or 16 bytes")?;
    rule(int.bits != 0 && bits <= int.size * 8, "an integer's bits must lie in its bytes")?;
    rule(
        u8::from(int.signed) + u8::from(int.char) + u8::from(int.bool) <= 1,
        "an integer is at most one of signed, char, bool",
    )
}

/// The kind behind typedefs and qualifiers.
fn resolved(btf: &Btf<'_>, id: TypeId) -> Option<Kind> {
    btf.kind(btf.resolve(id).ok()?).ok()
}

/// The rules of a struct's or union's members.
fn check_members(btf: &Btf<'_>, size: u32, members: &[Member<&str>], union: bool) -> Result<(), &'static str> {
    let end_of_all = u64::from(size) * 8;
    let mut last = 0;
    for m in members {
        optional_name(m.name)?;
        rule(!union || m.bit_offset == 0, "all members of a union start at 0")?;
        rule(m.bit_offset >= last, "members must be in order of their offsets")?;
        last = m.bit_offset;
        let bytes = btf.size_of(m.ty).map_err(|_| "every member must have a size")?;
        if m.bits == 0 {
            rule(m.bit_offset % 8 == 0, "a member that is no bit field must start at a byte")?;
            rule(
                u64::from(m.bit_offset) + u64::from(bytes) * 8 <= end_of_all,
                "a member must lie inside of its struct",
            )?;
        } else {
            let kind = resolved(btf, m.ty);
            rule(
                matches!(kind, Some(Kind::INT | Kind::ENUM | Kind::ENUM64)),
                "a bit field must be an integer or enumeration",
            )?;
            rule(u64::from(m.bit_offset) + u64::from(m.bits) <= end_of_all, "a member must lie inside of its struct")?;
        }
    }
    Ok(())
}

/// Whether a parameter stands for `...`.
fn is_ellipsis(p: &Param<&str>) -> bool {
    p.ty == TypeId::VOID && p.name.is_empty()
}

/// The rules of a prototype.
fn check_proto(btf: &Btf<'_>, ret: TypeId, params: &[Param<&str>]) -> Result<(), &'static str> {
    rule(ret == TypeId::VOID || is_value(btf, ret), "a function must return void, a value or a pointer")?;
    for (n, p) in params.iter().enumerate() {
        optional_name(p.name)?;
        let ellipsis = is_ellipsis(p) && n + 1 == params.len();
        rule(ellipsis || is_value(btf, p.ty), "a parameter must be a value or a pointer")?;
    }
    Ok(())
}

/// Whether there can be a value of that type.
fn is_value(btf: &Btf<'_>, id: TypeId) -> bool {
    match resolved(btf, id) {
        // A qualifier of void is void: `const void f()` is C.
        Some(Kind::VOID) => id != TypeId::VOID,
        _ => btf.size_of(id).is_ok(),
    }
}

/// The rules of a data section.
fn check_datasec(btf: &Btf<'_>, name: &str, size: u32, vars: &[VarSecinfo]) -> Result<(), &'static str> {
    if [".ksyms", ".kconfig"].contains(&name) {
        return Ok(());
    }
    let text = name.chars().all(|c| c.is_ascii_graphic());
    rule(!name.is_empty() && name.len() <= MAX_NAME && text, "a section's name must be 1 to 127 printable characters")?;
    rule(size != 0 || vars.is_empty(), "a section must have a size")?;
    let mut end = 0;
    for v in vars {
        rule(btf.kind(v.ty) == Ok(Kind::VAR), "a section holds variables only")?;
        rule(v.size != 0 && btf.size_of(v.ty).is_ok_and(|need| need <= v.size), "a variable is larger than its place")?;
        rule(u64::from(v.offset) >= end, "variables must be in order and must not overlap")?;
        end = u64::from(v.offset) + u64::from(v.size);
    }
    rule(end <= u64::from(size), "a variable must lie inside of its section")
}

/// Types must not contain themselves by value, nor be nested too deeply.
fn check_depth(btf: &Btf<'_>, id: TypeId, ty: &Type<&str>) -> Result<(), &'static str> {
    // Only structs can close a circle that `size_of` does not see.
    if !matches!(ty, Type::Struct { .. } | Type::Union { .. }) {
        return Ok(());
    }
    let mut budget = 4096;
    rule(!contains(btf, id, id, 0, &mut budget), "it contains itself, or is nested too deeply")
}

/// Whether `at` contains `id` by value; also when that takes too long to find out.
fn contains(btf: &Btf<'_>, at: TypeId, id: TypeId, depth: usize, budget: &mut usize) -> bool {
    if depth > MAX_DEPTH || *budget == 0 {
        return *budget != 0;
    }
    *budget -= 1;
    let Ok(at) = btf.resolve(at) else { return true };
    if depth > 0 && at == id {
        return true;
    }
    match btf.get(at) {
        Ok(Type::Array { elem, .. }) => contains(btf, elem, id, depth + 1, budget),
        Ok(Type::Struct { members, .. } | Type::Union { members, .. }) => {
            members.iter().any(|m| contains(btf, m.ty, id, depth + 1, budget))
        }
        _ => false,
    }
}
