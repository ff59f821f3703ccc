//! Questions to a [`Btf`]: by number, by name, what size.
//!
//! Stage: reading, after `decode.rs`. Nothing here can run forever or leave the bytes, whatever the file says.
//! Next: `dump.rs`.

use super::decode::Btf;
use super::error::Error;
use super::names::NameIndex;
use super::types::{Kind, Type, TypeId};

/// How deeply typedefs, qualifiers and arrays are followed (the kernel's `MAX_RESOLVE_DEPTH` is 32).
const MAX_DEPTH: usize = 64;

/// Kinds of beginnings that names are sorted by when some are looked for.
const BUCKETS: usize = 1 << 12;

impl<'a> Btf<'a> {
    /// One more than the highest number of a type; counts the types of the base and `void`.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "void is always there")]
    pub fn len(&self) -> u32 {
        self.first_id().saturating_add(u32::try_from(self.offsets.len()).unwrap_or(u32::MAX))
    }

    /// The numbers of its own types, in order: neither void's nor those of the base.
    pub fn ids(&self) -> impl Iterator<Item = TypeId> + use<> {
        (self.first_id()..self.len()).map(TypeId)
    }

    /// Its own types, decoded one after the other.
    pub fn types(&self) -> impl Iterator<Item = Result<(TypeId, Type<&str>), Error>> {
        self.ids().map(|id| Ok((id, self.get(id)?)))
    }

    /// Whether the file was big-endian.
    #[must_use]
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// The types that this one goes on from.
    #[must_use]
    pub fn base(&self) -> Option<&Btf<'a>> {
        self.base.as_deref()
    }

    /// The bytes of the section, which are little-endian whatever the file was.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where a type of its own starts in [`Btf::as_bytes`]: the common header, its records behind it. `None` for a type of
    /// the base and for numbers that no type has.
    #[must_use]
    pub fn place(&self, id: TypeId) -> Option<usize> {
        let own = usize::try_from(id.0.checked_sub(self.first_id())?).ok()?;
        usize::try_from(*self.offsets.get(own)?).ok()
    }

    /// The same, owning its bytes. The base is dropped from types without one of their own.
    #[must_use]
    pub fn into_owned(self) -> Btf<'static> {
        let base = self.base.map(|base| std::sync::Arc::new((*base).clone().into_owned()));
        Btf {
            bytes: std::borrow::Cow::Owned(self.bytes.into_owned()),
            types: self.types,
            strings: self.strings,
            offsets: self.offsets,
            base,
            by_name: self.by_name,
            big_endian: self.big_endian,
        }
    }

    /// All types of that name, of whatever kind: its own first and then those of its base, each in order of number. The
    /// first call makes a hash table of the names (eight bytes a type). The empty name is nobody's.
    pub fn find_name<'s>(&'s self, name: &'s str) -> Box<dyn Iterator<Item = TypeId> + 's> {
        let own = self.by_name.get_or_init(|| NameIndex::new(self)).find(self, name);
        match &self.base {
            Some(base) => Box::new(own.chain(base.find_name(name))),
            None => Box::new(own),
        }
    }

    /// Calls `found` for each of its own types whose name is one of `names`, or begins with one of them and `___` (a flavour of
    /// it). One walk over all types, without sorting them: for a handful of names in a kernel.
    pub fn find_each<'n>(&self, names: &[&'n str], mut found: impl FnMut(&'n str, TypeId)) {
        // Nearly all types are told apart by the first two bytes of their names.
        let key = |bytes: &[u8]| match bytes {
            [a, b, ..] => (usize::from(*a) << 4 ^ usize::from(*b)) % BUCKETS,
            [a] => (usize::from(*a) << 4) % BUCKETS,
            [] => 0,
        };
        let mut starts: Vec<Vec<&'n str>> = vec![Vec::new(); BUCKETS];
        for name in names.iter().copied().filter(|name| !name.is_empty()) {
            starts[key(name.as_bytes())].push(name);
        }
        for (id, tail) in self.own_names() {
            for name in &starts[key(tail)] {
                let rest = tail.strip_prefix(name.as_bytes());
                if rest.is_some_and(|rest| matches!(rest, [0, ..] | [b'_', b'_', b'_', ..])) {
                    found(name, id);
                }
            }
        }
    }

    /// The first type of that name and kind.
    #[must_use]
    pub fn find(&self, name: &str, kind: Kind) -> Option<TypeId> {
        self.find_name(name).find(|&id| self.kind(id) == Ok(kind))
    }

    /// What a type stands for, behind typedefs, qualifiers and type tags.
    ///
    /// # Errors
    ///
    /// A number that no type has, or a circle.
    pub fn resolve(&self, id: TypeId) -> Result<TypeId, Error> {
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            match self.kind(at)? {
                Kind::TYPEDEF | Kind::VOLATILE | Kind::CONST | Kind::RESTRICT | Kind::TYPE_TAG => {
                    match self.get(at)?.stands_for() {
                        Some(next) => at = next,
                        None => return Ok(at),
                    }
                }
                _ => return Ok(at),
            }
        }
        Err(Error::Loop { id })
    }

    /// Bytes of a value of that type. Pointers have 8.
    ///
    /// # Errors
    ///
    /// The type (or what it consists of) is not there, goes in a circle, has no size, or is larger than 4 GiB.
    pub fn size_of(&self, id: TypeId) -> Result<u32, Error> {
        let mut count = 1u32;
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            at = self.resolve(at)?;
            let size = match self.own_size(at)? {
                Some(size) => size,
                None => match self.get(at)? {
                    Type::Array { elem, len, .. } => {
                        count = count.checked_mul(len).ok_or(Error::TooLarge { id })?;
                        at = elem;
                        continue;
                    }
                    Type::Var { ty, .. } => {
                        at = ty;
                        continue;
                    }
                    Type::Ptr { .. } => 8,
                    other => return Err(Error::NoSize { id: at, kind: other.kind() }),
                },
            };
            return size.checked_mul(count).ok_or(Error::TooLarge { id });
        }
        Err(Error::Loop { id })
    }
}
