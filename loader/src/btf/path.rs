//! Stage: relocation. Input: a type and an access string such as `0:1:2`, or an object's path and a type of the kernel.
//! Output: [`Path`]: which members it goes through, and the bit where it ends. Next file: `../reloc/core.rs`.

use asm::btf::{Btf, CoreReloKind, Type, TypeId};

use super::matching::{Pair, enumerators, essential_name, is_composite};
use super::{MatchError, matching};

/// Longest path. libbpf's number.
const MAX_STEPS: usize = 64;
/// How many anonymous structs and unions a member may be inside of.
const MAX_NESTING: u32 = 32;

/// A way into a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it begins.
    pub root: TypeId,
    /// What it goes through; empty when the type itself is meant.
    pub steps: Vec<Step>,
    /// Bits from the start of the root.
    pub bit_offset: u64,
}

/// A step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The struct, union or enumeration that the step is in; for an array, its element's type.
    pub ty: TypeId,
    /// Which member, enumerator or element.
    pub index: u32,
    /// The name of the member or enumerator; empty for an element of an array.
    pub name: String,
}

impl Path {
    fn push(&mut self, step: Step) -> Result<(), MatchError> {
        if self.steps.len() >= MAX_STEPS {
            return Err(MatchError::TooDeep);
        }
        self.steps.push(step);
        Ok(())
    }

    /// Reads the access string of a relocation against the object's own types.
    ///
    /// # Errors
    /// The string does not fit the type.
    pub fn parse(btf: &Btf<'_>, root: TypeId, access: &str, kind: CoreReloKind) -> Result<Self, MatchError> {
        let bad = |problem: String| MatchError::Access { access: access.to_owned(), problem };
        let indexes: Result<Vec<u32>, _> = access.split(':').map(str::parse).collect();
        let indexes = indexes.map_err(|_| bad("it is not a list of numbers".to_owned()))?;
        let mut path = Self { root, steps: Vec::new(), bit_offset: 0 };
        let id = btf.resolve(root).map_err(MatchError::Local)?;
        if is_type_kind(kind) {
            return if indexes == [0] { Ok(path) } else { Err(bad("a whole type is written `0`".to_owned())) };
        }
        if is_enum_kind(kind) {
            let ty = btf.get(id).map_err(MatchError::Local)?;
            let value = match (&indexes[..], enumerators(&ty)) {
                ([index], Some((_, values))) => {
                    values.get(*index as usize).map(|(name, _)| (*index, (*name).to_owned()))
                }
                _ => None,
            };
            let (index, name) = value.ok_or_else(|| bad("it is not an enumerator of the type".to_owned()))?;
            path.push(Step { ty: id, index, name })?;
            return Ok(path);
        }
        let (&first, rest) = indexes.split_first().ok_or_else(|| bad("it is empty".to_owned()))?;
        let size = btf.size_of(id).map_err(MatchError::Local)?;
        path.bit_offset = bits(first, size);
        path.push(Step { ty: id, index: first, name: String::new() })?;
        path.descend(btf, id, rest).map_err(|error| match error {
            MatchError::Access { problem, .. } => bad(problem),
            other => other,
        })?;
        Ok(path)
    }

    fn descend(&mut self, btf: &Btf<'_>, mut id: TypeId, indexes: &[u32]) -> Result<(), MatchError> {
        let bad = |problem: String| MatchError::Access { access: String::new(), problem };
        for &index in indexes {
            id = btf.resolve(id).map_err(MatchError::Local)?;
            match btf.get(id).map_err(MatchError::Local)? {
                Type::Struct { members, .. } | Type::Union { members, .. } => {
                    let member =
                        members.get(index as usize).ok_or_else(|| bad(format!("type {id} has no member {index}")))?;
                    self.bit_offset += u64::from(member.bit_offset);
                    if !member.name.is_empty() {
                        self.push(Step { ty: id, index, name: member.name.to_owned() })?;
                    }
                    id = member.ty;
                }
                Type::Array { elem, len, .. } => {
                    if index >= len && !self.at_flexible_array(btf, len) {
                        return Err(bad(format!("array {id} has no element {index}")));
                    }
                    id = btf.resolve(elem).map_err(MatchError::Local)?;
                    self.bit_offset += bits(index, btf.size_of(id).map_err(MatchError::Local)?);
                    self.push(Step { ty: id, index, name: String::new() })?;
                }
                other => return Err(bad(format!("type {id} ({}) has no parts", other.kind()))),
            }
        }
        Ok(())
    }

    /// Whether the last step ended at an array of no length at the end of its struct.
    fn at_flexible_array(&self, btf: &Btf<'_>, len: u32) -> bool {
        let Some(last) = self.steps.last().filter(|last| !last.name.is_empty() && len == 0) else { return false };
        match btf.get(last.ty) {
            Ok(Type::Struct { members, .. } | Type::Union { members, .. }) => last.index as usize + 1 == members.len(),
            _ => false,
        }
    }

    /// The same way in a type of the kernel, by names; `None` where there is none.
    ///
    /// # Errors
    /// A damaged type.
    pub fn find_in(&self, pair: Pair<'_>, root: TypeId, kind: CoreReloKind) -> Result<Option<Self>, MatchError> {
        let mut path = Self { root, steps: Vec::new(), bit_offset: 0 };
        if is_type_kind(kind) {
            let fits = if kind == CoreReloKind::TYPE_MATCHES {
                pair.types_match(self.root, root)?
            } else {
                pair.types_fit(self.root, root)?
            };
            return Ok(fits.then_some(path));
        }
        let mut id = pair.target.resolve(root).map_err(MatchError::Target)?;
        if is_enum_kind(kind) {
            return self.find_enumerator(pair.target, path, id);
        }
        for (number, step) in self.steps.iter().enumerate() {
            id = pair.target.resolve(id).map_err(MatchError::Target)?;
            if !step.name.is_empty() {
                match path.member(pair, step, id, MAX_NESTING)? {
                    Some(next) => id = next,
                    None => return Ok(None),
                }
                continue;
            }
            if number > 0 {
                let Type::Array { elem, len, .. } = pair.target.get(id).map_err(MatchError::Target)? else {
                    return Ok(None);
                };
                if step.index >= len && !path.at_flexible_array(pair.target, len) {
                    return Ok(None);
                }
                id = pair.target.resolve(elem).map_err(MatchError::Target)?;
            }
            path.push(Step { ty: id, index: step.index, name: String::new() })?;
            path.bit_offset += bits(step.index, pair.target.size_of(id).map_err(MatchError::Target)?);
        }
        Ok(Some(path))
    }

    fn find_enumerator(&self, target: &Btf<'_>, mut path: Self, id: TypeId) -> Result<Option<Self>, MatchError> {
        let Some(step) = self.steps.first() else { return Ok(None) };
        let ty = target.get(id).map_err(MatchError::Target)?;
        let Some((_, values)) = matching::enumerators(&ty) else { return Ok(None) };
        let found = values.iter().position(|(name, _)| essential_name(name) == essential_name(&step.name));
        let Some(index) = found else { return Ok(None) };
        let name = values.get(index).map_or_else(String::new, |(name, _)| (*name).to_owned());
        path.push(Step { ty: id, index: u32::try_from(index).unwrap_or(u32::MAX), name })?;
        Ok(Some(path))
    }

    /// Steps to the member of that name, which may be inside of anonymous members. The type of what is there, if it fits.
    fn member(&mut self, pair: Pair<'_>, step: &Step, id: TypeId, nesting: u32) -> Result<Option<TypeId>, MatchError> {
        let nesting = nesting.checked_sub(1).ok_or(MatchError::TooDeep)?;
        let id = pair.target.resolve(id).map_err(MatchError::Target)?;
        let ty = pair.target.get(id).map_err(MatchError::Target)?;
        if !is_composite(&ty) {
            return Ok(None);
        }
        let (Type::Struct { members, .. } | Type::Union { members, .. }) = ty else { return Ok(None) };
        for (index, member) in members.iter().enumerate() {
            let before = self.bit_offset;
            self.bit_offset += u64::from(member.bit_offset);
            if member.name.is_empty() {
                if let Some(found) = self.member(pair, step, member.ty, nesting)? {
                    return Ok(Some(found));
                }
            } else if member.name == step.name {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                self.push(Step { ty: id, index, name: step.name.clone() })?;
                if pair.fields_fit(local_member(pair.local, step)?, member.ty)? {
                    return Ok(Some(member.ty));
                }
                self.steps.pop();
                self.bit_offset = before;
                return Ok(None);
            }
            self.bit_offset = before;
        }
        Ok(None)
    }
}

/// The type of the member that a step of an object's path names.
fn local_member(local: &Btf<'_>, step: &Step) -> Result<TypeId, MatchError> {
    let bad = || MatchError::Access { access: step.name.clone(), problem: "it is not a member".to_owned() };
    match local.get(step.ty).map_err(MatchError::Local)? {
        Type::Struct { members, .. } | Type::Union { members, .. } => {
            members.get(step.index as usize).map(|member| member.ty).ok_or_else(bad)
        }
        _ => Err(bad()),
    }
}

fn bits(index: u32, size: u32) -> u64 {
    u64::from(index) * u64::from(size) * 8
}

/// Whether the relocation is about a type as a whole.
#[must_use]
pub fn is_type_kind(kind: CoreReloKind) -> bool {
    matches!(
        kind,
        CoreReloKind::TYPE_ID_LOCAL
            | CoreReloKind::TYPE_ID_TARGET
            | CoreReloKind::TYPE_EXISTS
            | CoreReloKind::TYPE_SIZE
            | CoreReloKind::TYPE_MATCHES
    )
}

/// Whether the relocation is about an enumerator.
#[must_use]
pub fn is_enum_kind(kind: CoreReloKind) -> bool {
    matches!(kind, CoreReloKind::ENUMVAL_EXISTS | CoreReloKind::ENUMVAL_VALUE)
}
