//! Maps of maps: user space puts maps in and takes them out while programs run.
//!
//! Stage: maps. Input: an index or a key. Output: the map found there, to be used as if it were a static. Read next:
//! `special.rs`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use super::Shape;
use crate::dsl::flow::Fallible;
use crate::dsl::layout::Layout;
use crate::dsl::pointed::Pointed;
use crate::dsl::rec;
use crate::dsl::settle::{Own, Stage};
use crate::insn::helper;
use crate::ir::{Block, MapDecl, Value};
use crate::object::{MapDef, MapType};

/// A kind of map that can be in a map.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be inside of a map of maps: arrays and hash maps can")]
pub trait Within: Copy + 'static {
    /// What code must know of such a map.
    #[doc(hidden)]
    fn decl() -> MapDecl;
    /// Its definition.
    #[doc(hidden)]
    fn def() -> MapDef;
    /// The map that this pointer is to.
    #[doc(hidden)]
    fn within(at: Value) -> Self;
}

/// A map that was found in a map.
#[derive(Clone, Copy)]
pub struct Inner<M> {
    at: Value,
    map: M,
}

impl<M> fmt::Debug for Inner<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inner({})", self.at)
    }
}

impl<M: Within> Inner<M> {
    fn at(at: Value) -> Self {
        Self { at, map: M::within(at) }
    }
}

impl<M: Within> Deref for Inner<M> {
    type Target = M;
    fn deref(&self) -> &M {
        &self.map
    }
}

impl<M: Within> Own for Inner<M> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<M: Within> Stage for Inner<M> {
    type Out = Self;
    fn stage(self) -> Self {
        self
    }
}

/// A map that may not be there.
#[must_use = "test it with `?`, `let else` or `match`"]
pub struct MaybeInner<M> {
    found: Value,
    of: PhantomData<fn() -> M>,
}

impl<M> fmt::Debug for MaybeInner<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaybeInner({})", self.found)
    }
}

impl<M> Clone for MaybeInner<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for MaybeInner<M> {}

impl<M: Within> Fallible for MaybeInner<M> {
    type Found = Inner<M>;
    fn some(self, other: Block) -> Inner<M> {
        Inner::at(rec::with(|r| r.b.non_null(self.found, other)))
    }
}

impl<M> Own for MaybeInner<M> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<M> Stage for MaybeInner<M> {
    type Out = Self;
    fn stage(self) -> Self {
        self
    }
}

/// An array of maps that look like `M`. C: `BPF_MAP_TYPE_ARRAY_OF_MAPS`, Linux 4.12.
#[derive(Debug)]
pub struct ArrayOfMaps<M, const N: u32> {
    name: &'static str,
    of: PhantomData<fn() -> M>,
}

impl<M: Within, const N: u32> ArrayOfMaps<M, N> {
    /// The map of this name. Written by `#[map]`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, of: PhantomData }
    }

    fn shape(&self) -> Shape {
        Shape {
            name: self.name,
            map_type: MapType::ARRAY_OF_MAPS,
            key_size: 4,
            value_size: 4,
            max_entries: N,
            at: None,
            flags: 0,
            def: |def: MapDef| def.key_size(4).inner(M::def()),
        }
    }

    /// The map in entry number `index`.
    #[track_caller]
    pub fn get(&self, index: &impl Pointed<u32>) -> MaybeInner<M> {
        find::<M>(&self.shape(), index.pointer())
    }
}

/// Maps that look like `M`, by keys. C: `BPF_MAP_TYPE_HASH_OF_MAPS`, Linux 4.12.
#[derive(Debug)]
pub struct HashOfMaps<K, M, const N: u32> {
    name: &'static str,
    of: PhantomData<fn() -> (K, M)>,
}

impl<K: Layout, M: Within, const N: u32> HashOfMaps<K, M, N> {
    /// The map of this name. Written by `#[map]`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, of: PhantomData }
    }

    fn shape(&self) -> Shape {
        Shape {
            name: self.name,
            map_type: MapType::HASH_OF_MAPS,
            key_size: K::SIZE,
            value_size: 4,
            max_entries: N,
            at: None,
            flags: 0,
            def: |def: MapDef| def.key_size(K::SIZE).inner(M::def()),
        }
    }

    /// The map under a key.
    #[track_caller]
    pub fn get(&self, key: &impl Pointed<K>) -> MaybeInner<M> {
        find::<M>(&self.shape(), key.pointer())
    }
}

#[track_caller]
fn find<M: Within>(outer: &Shape, key: Value) -> MaybeInner<M> {
    let found = rec::with(|r| {
        let map = outer.pointer_to(r, Some(M::decl().into()));
        r.b.call(helper::MAP_LOOKUP_ELEM, &[map, key]).unwrap_or(key)
    });
    MaybeInner { found, of: PhantomData }
}
