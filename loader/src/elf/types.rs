//! Stage: object → spec. Small questions to the object's BTF, with cycles bounded. Input: [`Btf`] and a type id. Output:
//! the type without names and qualifiers, sizes, C's "an integer in a type". Next file: `maps.rs`.

use asm::btf::{Btf, Kind, Type, TypeId};

use super::ElfError;

/// The type behind typedefs, qualifiers and tags.
pub(crate) fn bare<'b>(btf: &'b Btf<'_>, id: TypeId) -> Result<(TypeId, Type<&'b str>), ElfError> {
    let id = btf.resolve(id).map_err(ElfError::Btf)?;
    Ok((id, btf.get(id).map_err(ElfError::Btf)?))
}

/// The size of a type in bytes.
pub(crate) fn size_of(btf: &Btf<'_>, id: TypeId) -> Result<u32, ElfError> {
    btf.size_of(id).map_err(ElfError::Btf)
}

/// What a pointer points to, behind its own qualifiers; `None` for anything but a pointer.
pub(crate) fn pointee(btf: &Btf<'_>, id: TypeId) -> Result<Option<TypeId>, ElfError> {
    Ok(match bare(btf, id)?.1 {
        Type::Ptr { ty } => Some(ty),
        _ => None,
    })
}

/// The number that `__uint(name, n)` writes as `int (*name)[n]`, or `__ulong(name, n)` as an enumerator.
pub(crate) fn number(btf: &Btf<'_>, id: TypeId) -> Result<Option<u64>, ElfError> {
    Ok(match bare(btf, id)?.1 {
        Type::Ptr { ty } => match bare(btf, ty)?.1 {
            Type::Array { len, .. } => Some(len.into()),
            _ => None,
        },
        Type::Enum { values, .. } => values.first().map(|&(_, value)| value.into()),
        Type::Enum64 { values, .. } => values.first().map(|&(_, value)| value),
        _ => None,
    })
}

/// The data section of that name.
pub(crate) fn datasec(btf: &Btf<'_>, name: &str) -> Option<TypeId> {
    btf.find(name, Kind::DATASEC)
}
