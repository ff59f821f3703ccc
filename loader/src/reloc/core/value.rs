//! Stage: CO-RE. Input: a path into the object's type and, if the kernel has it, the same path there. Output: [`Outcome`],
//! the number before and after. Next file: `patch.rs`.

use std::fmt;

use asm::btf::{Btf, CoreReloKind, Type, TypeId};

use crate::btf::MatchError;
use crate::btf::matching::enumerators;
use crate::btf::path::Path;

/// What a relocation puts into its instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What the instruction must hold now; `None` where compilers may disagree.
    pub(super) old: Option<u64>,
    /// What it shall hold; `None`: the kernel has no such thing, and the code must be unreachable.
    pub(super) new: Option<u64>,
    /// Bytes of the field in the object and in the kernel, if a load or store has to change its width.
    pub(super) resize: Option<(u32, u32)>,
    /// The widths differ and the types are such that a load of the new width would give another value.
    pub(super) unsafe_resize: bool,
}

impl Outcome {
    /// The object's own number of a type.
    pub(super) fn local_id(id: TypeId) -> Self {
        Self { old: None, new: Some(id.0.into()), resize: None, unsafe_resize: false }
    }

    /// Whether two candidates of the kernel give the same answer.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        self.new == other.new
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.new {
            Some(new) => write!(f, "{new}"),
            None => f.write_str("nothing"),
        }
    }
}

/// Calculates both sides.
pub(super) fn of(
    kind: CoreReloKind,
    local: &Btf<'_>,
    path: &Path,
    target: Option<(&Btf<'_>, &Path)>,
) -> Result<Outcome, MatchError> {
    if crate::btf::path::is_type_kind(kind) {
        let old = type_value(kind, local, path.root, MatchError::Local)?;
        let new = match target {
            Some((btf, path)) => type_value(kind, btf, path.root, MatchError::Target)?,
            None => 0,
        };
        let old = (kind != CoreReloKind::TYPE_ID_TARGET).then_some(old);
        return Ok(Outcome { old, new: Some(new), resize: None, unsafe_resize: false });
    }
    if crate::btf::path::is_enum_kind(kind) {
        let old = enum_value(kind, local, path);
        let new = match target {
            Some((btf, path)) => enum_value(kind, btf, path),
            None => (kind == CoreReloKind::ENUMVAL_EXISTS).then_some(0),
        };
        return Ok(Outcome { old, new, resize: None, unsafe_resize: false });
    }
    if kind == CoreReloKind::FIELD_EXISTS {
        let new = Some(u64::from(target.is_some()));
        return Ok(Outcome { old: Some(1), new, resize: None, unsafe_resize: false });
    }
    let old = Field::of(kind, local, path, MatchError::Local)?;
    let Some((btf, path)) = target else {
        return Ok(Outcome { old: old.expected(), new: None, resize: None, unsafe_resize: false });
    };
    let new = Field::of(kind, btf, path, MatchError::Target)?;
    let resize = (old.size != new.size).then_some((old.size, new.size));
    let unsafe_resize = resize.is_some() && !(old.zero_extends && new.zero_extends && old.is_pointer == new.is_pointer);
    Ok(Outcome { old: old.expected(), new: Some(new.value), resize, unsafe_resize })
}

type Wrap = fn(asm::btf::Error) -> MatchError;

fn type_value(kind: CoreReloKind, btf: &Btf<'_>, id: TypeId, wrap: Wrap) -> Result<u64, MatchError> {
    Ok(match kind {
        CoreReloKind::TYPE_SIZE => btf.size_of(id).map_err(wrap)?.into(),
        CoreReloKind::TYPE_ID_TARGET => id.0.into(),
        _ => 1,
    })
}

fn enum_value(kind: CoreReloKind, btf: &Btf<'_>, path: &Path) -> Option<u64> {
    if kind == CoreReloKind::ENUMVAL_EXISTS {
        return Some(1);
    }
    let step = path.steps.first()?;
    let (_, values) = enumerators(&btf.get(step.ty).ok()?)?;
    values.get(step.index as usize).map(|&(_, value)| value)
}

/// One side of a relocation about a field.
struct Field {
    value: u64,
    /// Compilers may choose another load for a bit field than we do, so the number in the instruction says nothing.
    is_certain: bool,
    /// Bytes of the field, or of one element of it; 0 where no width has to change.
    size: u32,
    is_pointer: bool,
    /// A pointer or an unsigned integer: loads of any width give the same value.
    zero_extends: bool,
}

impl Field {
    fn expected(&self) -> Option<u64> {
        self.is_certain.then_some(self.value)
    }

    fn of(kind: CoreReloKind, btf: &Btf<'_>, path: &Path, wrap: Wrap) -> Result<Self, MatchError> {
        let last = path.steps.last().ok_or(MatchError::TooDeep)?;
        if last.name.is_empty() {
            return Self::element(kind, btf, path, last.ty, wrap);
        }
        let (Type::Struct { members, .. } | Type::Union { members, .. }) = btf.get(last.ty).map_err(wrap)? else {
            return Err(MatchError::TooDeep);
        };
        let member = members.get(last.index as usize).ok_or(MatchError::TooDeep)?;
        let id = btf.resolve(member.ty).map_err(wrap)?;
        let ty = btf.get(id).map_err(wrap)?;
        let bits = Bits::of(path.bit_offset, member.bits, btf.size_of(id).map_err(wrap)?)?;
        let is_bitfield = member.bits != 0;
        let (value, is_certain) = match kind {
            CoreReloKind::FIELD_BYTE_OFFSET => (bits.byte_off, !is_bitfield),
            CoreReloKind::FIELD_BYTE_SIZE => (bits.byte_size, !is_bitfield),
            CoreReloKind::FIELD_SIGNED => (u64::from(is_signed(&ty)), true),
            CoreReloKind::FIELD_LSHIFT_U64 => (bits.lshift(), !is_bitfield),
            CoreReloKind::FIELD_RSHIFT_U64 => (64 - bits.count, true),
            other => return Err(MatchError::UnknownKind(other.0)),
        };
        let mut field = Self { value, is_certain, size: 0, is_pointer: false, zero_extends: false };
        if kind == CoreReloKind::FIELD_BYTE_OFFSET && !is_bitfield {
            field.width(btf, id, wrap)?;
        }
        Ok(field)
    }

    /// `a[n]`: the path ends at an element.
    fn element(kind: CoreReloKind, btf: &Btf<'_>, path: &Path, id: TypeId, wrap: Wrap) -> Result<Self, MatchError> {
        let mut field = Self { value: 0, is_certain: true, size: 0, is_pointer: false, zero_extends: false };
        match kind {
            CoreReloKind::FIELD_BYTE_OFFSET => {
                field.value = path.bit_offset / 8;
                field.width(btf, id, wrap)?;
            }
            CoreReloKind::FIELD_BYTE_SIZE => field.value = btf.size_of(id).map_err(wrap)?.into(),
            _ => return Err(MatchError::ArrayElement),
        }
        Ok(field)
    }

    /// The width a load or store has: of an array, that of its elements.
    fn width(&mut self, btf: &Btf<'_>, id: TypeId, wrap: Wrap) -> Result<(), MatchError> {
        let own = btf.get(btf.resolve(id).map_err(wrap)?).map_err(wrap)?;
        self.is_pointer = matches!(own, Type::Ptr { .. });
        self.zero_extends = self.is_pointer || matches!(own, Type::Int { int, .. } if !int.signed);
        let mut id = id;
        for _ in 0..64 {
            id = btf.resolve(id).map_err(wrap)?;
            match btf.get(id).map_err(wrap)? {
                Type::Array { elem, .. } => id = elem,
                _ => break,
            }
        }
        self.size = btf.size_of(id).map_err(wrap)?;
        Ok(())
    }
}

fn is_signed(ty: &Type<&str>) -> bool {
    match ty {
        Type::Int { int, .. } => int.signed,
        Type::Enum { signed, .. } | Type::Enum64 { signed, .. } => *signed,
        _ => false,
    }
}

/// Where a field lies, as the load that reads it sees it.
struct Bits {
    /// Bits from the start of the root.
    offset: u64,
    /// Bits of the field.
    count: u64,
    /// Bytes from the start of the root to the load.
    byte_off: u64,
    /// Bytes of the load.
    byte_size: u64,
}

impl Bits {
    fn of(offset: u64, bits: u8, size: u32) -> Result<Self, MatchError> {
        if bits == 0 {
            let byte_size = u64::from(size);
            return Ok(Self { offset, count: byte_size * 8, byte_off: offset / 8, byte_size });
        }
        // The smallest aligned load that holds the whole bit field.
        let mut byte_size = u64::from(size).clamp(1, 8);
        loop {
            let byte_off = offset / 8 / byte_size * byte_size;
            let count = u64::from(bits);
            if offset + count <= (byte_off + byte_size) * 8 {
                return Ok(Self { offset, count, byte_off, byte_size });
            }
            if byte_size >= 8 {
                return Err(MatchError::WideBitField);
            }
            byte_size *= 2;
        }
    }

    /// How far the loaded value has to be shifted left so that the field's highest bit is bit 63.
    fn lshift(&self) -> u64 {
        if cfg!(target_endian = "little") {
            64_u64.saturating_sub(self.offset + self.count - self.byte_off * 8)
        } else {
            8_u64.saturating_sub(self.byte_size) * 8 + (self.offset - self.byte_off * 8)
        }
    }
}
