//! Types by name.
//!
//! Stage: beside the index of `decode.rs`, for [`Btf::find_name`]. Input: the names of all types. Output: a hash table of
//! type numbers, eight bytes a type; the names stay where they are. Next: `query.rs`.

use super::decode::Btf;
use super::types::TypeId;

/// End of a chain.
const NONE: u32 = u32::MAX;

/// Chains of types whose names have the same hash. Numbers are those of the file's own types, from 0.
#[derive(Debug, Clone, Default)]
pub(super) struct NameIndex {
    /// First type of each chain; a power of two of them.
    heads: Vec<u32>,
    /// The type after each type in its chain.
    next: Vec<u32>,
}

impl NameIndex {
    /// Reads every name once. Chains are in order of number.
    pub(super) fn new(btf: &Btf<'_>) -> Self {
        let count = btf.offsets.len();
        let mut index = Self { heads: vec![NONE; count.next_power_of_two()], next: vec![NONE; count] };
        for own in (0..u32::try_from(count).unwrap_or(NONE)).rev() {
            let name = own_name(btf, own);
            let bucket = index.bucket(name);
            let (Some(head), Some(next)) = (index.heads.get_mut(bucket), index.next.get_mut(own as usize)) else {
                continue;
            };
            if !name.is_empty() {
                *next = std::mem::replace(head, own);
            }
        }
        index
    }

    /// Types of its own with that name.
    pub(super) fn find<'s>(&'s self, btf: &'s Btf<'_>, name: &'s str) -> impl Iterator<Item = TypeId> + 's {
        let after = |own: u32| self.next.get(own as usize).copied().filter(|&own| own != NONE);
        let first = self.heads.get(self.bucket(name)).copied().filter(|&own| own != NONE && !name.is_empty());
        let chain = std::iter::successors(first, move |&own| after(own));
        chain.filter(move |&own| own_name(btf, own) == name).map(|own| TypeId(btf.first_id() + own))
    }

    /// The chain of a name.
    fn bucket(&self, name: &str) -> usize {
        // FNV-1a: names are short, and nobody chooses them to collide except in their own file.
        let hash = name.bytes().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        (hash ^ hash >> 15) as usize & (self.heads.len() - 1)
    }
}

/// The name of one of its own types.
fn own_name<'b>(btf: &'b Btf<'_>, own: u32) -> &'b str {
    btf.name(TypeId(btf.first_id() + own)).unwrap_or_default()
}
