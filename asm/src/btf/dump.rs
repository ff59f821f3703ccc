//! BTF as text, in the form that `bpftool btf dump` made familiar.
//!
//! Stage: reading, after `decode.rs`. Input: a [`Btf`]. Output: one line a type and one line a member. Next: the module
//! `object`, which writes these types into ELF files.

use std::fmt::{self, Write as _};

use super::decode::Btf;
use super::types::{Kind, Linkage, Member, Type, TypeId};

/// Prints a [`Btf`]'s own types.
impl fmt::Display for Btf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in self.ids() {
            match self.get(id) {
                Ok(ty) => write_type(f, self, id, &ty)?,
                Err(error) => writeln!(f, "{id} ({error})")?,
            }
        }
        Ok(())
    }
}

/// A name as it is shown: anonymous types have one too.
fn shown(name: &str) -> &str {
    if name.is_empty() { "(anon)" } else { name }
}

/// The linkage as it is shown.
fn linkage(linkage: Linkage) -> &'static str {
    match linkage {
        Linkage::STATIC => "static",
        Linkage::GLOBAL => "global",
        Linkage::EXTERN => "extern",
        _ => "(unknown)",
    }
}

/// One type: its line, and one for each member.
fn write_type(f: &mut fmt::Formatter<'_>, btf: &Btf<'_>, id: TypeId, ty: &Type<&str>) -> fmt::Result {
    write!(f, "{id} {} '{}'", ty.kind(), shown(ty.name().copied().unwrap_or("")))?;
    match ty {
        Type::Void => {}
        Type::Int { int, .. } => {
            let encoding = match (int.signed, int.char, int.bool) {
                (true, ..) => "SIGNED",
                (_, true, _) => "CHAR",
                (.., true) => "BOOL",
                _ => "(none)",
            };
            write!(f, " size={} bits_offset={} nr_bits={} encoding={encoding}", int.size, int.bit_offset, int.bits)?;
        }
        Type::Ptr { ty }
        | Type::Const { ty }
        | Type::Volatile { ty }
        | Type::Restrict { ty }
        | Type::Typedef { ty, .. } => {
            write!(f, " type_id={}", ty.0)?;
        }
        Type::Array { elem, index, len } => write!(f, " type_id={} index_type_id={} nr_elems={len}", elem.0, index.0)?,
        Type::Struct { size, members, .. } | Type::Union { size, members, .. } => write_members(f, *size, members)?,
        Type::Enum { size, signed, values, .. } => {
            write!(f, " encoding={} size={size} vlen={}", sign(*signed), values.len())?;
            for (name, value) in values {
                write!(f, "\n\t'{}' val=", shown(name))?;
                if *signed { write!(f, "{}", value.cast_signed())? } else { write!(f, "{value}")? }
            }
        }
        Type::Enum64 { size, signed, values, .. } => {
            write!(f, " encoding={} size={size} vlen={}", sign(*signed), values.len())?;
            for (name, value) in values {
                write!(f, "\n\t'{}' val=", shown(name))?;
                if *signed { write!(f, "{}LL", value.cast_signed())? } else { write!(f, "{value}ULL")? }
            }
        }
        Type::Fwd { union, .. } => write!(f, " fwd_kind={}", if *union { "union" } else { "struct" })?,
        Type::Func { proto, linkage: l, .. } => write!(f, " type_id={} linkage={}", proto.0, linkage(*l))?,
        Type::FuncProto { ret, params } => {
            write!(f, " ret_type_id={} vlen={}", ret.0, params.len())?;
            params.iter().try_for_each(|p| write!(f, "\n\t'{}' type_id={}", shown(p.name), p.ty.0))?;
        }
        Type::Var { ty, linkage: l, .. } => write!(f, " type_id={}, linkage={}", ty.0, linkage(*l))?,
        Type::DataSec { size, vars, .. } => {
            write!(f, " size={size} vlen={}", vars.len())?;
            for v in vars {
                write!(f, "\n\ttype_id={} offset={} size={}", v.ty.0, v.offset, v.size)?;
                if let (Ok(kind @ (Kind::VAR | Kind::FUNC)), Ok(name)) = (btf.kind(v.ty), btf.name(v.ty)) {
                    write!(f, " ({kind} '{}')", shown(name))?;
                }
            }
        }
        Type::Float { size, .. } => write!(f, " size={size}")?,
        Type::DeclTag { ty, component, attr, .. } => {
            let component = component.map_or(-1, i64::from);
            write!(f, " type_id={} component_idx={component}{}", ty.0, if *attr { " attribute" } else { "" })?;
        }
        Type::TypeTag { ty, attr, .. } => write!(f, " type_id={}{}", ty.0, if *attr { " attribute" } else { "" })?,
    }
    f.write_char('\n')
}

/// How an enumeration's values are to be read.
fn sign(signed: bool) -> &'static str {
    if signed { "SIGNED" } else { "UNSIGNED" }
}

/// Size and members of a struct or union.
fn write_members(f: &mut fmt::Formatter<'_>, size: u32, members: &[Member<&str>]) -> fmt::Result {
    write!(f, " size={size} vlen={}", members.len())?;
    for m in members {
        write!(f, "\n\t'{}' type_id={} bits_offset={}", shown(m.name), m.ty.0, m.bit_offset)?;
        if m.bits != 0 {
            write!(f, " bitfield_size={}", m.bits)?;
        }
    }
    Ok(())
}
