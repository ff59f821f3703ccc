//! Maps of keys and values: hash, array and their per-CPU forms, longest prefix.
//!
//! Stage: maps. Input: keys. Output: [`Lookup`] and [`Status`]. Read next: `ring.rs`.

use std::marker::PhantomData;

use super::inner::Within;
use super::{Lookup, Shape, Status, Update};
use crate::dsl::layout::Layout;
use crate::dsl::pointed::Pointed;
use crate::insn::helper;
use crate::ir::{MapDecl, Value};
use crate::object::{MapDef, MapType};

/// `BPF_F_NO_PREALLOC`: elements are allocated when they are made.
pub(super) const NO_PREALLOC: u32 = 1;

/// Declares a type of maps: keys, values, number of elements.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $map_type:ident $flags:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<K, V, const N: u32> {
            name: &'static str,
            flags: u32,
            at: Option<Value>,
            of: PhantomData<fn() -> (K, V)>,
        }

        impl<K, V, const N: u32> Clone for $name<K, V, N> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<K, V, const N: u32> Copy for $name<K, V, N> {}

        impl<K: Layout, V: Layout, const N: u32> Within for $name<K, V, N> {
            fn decl() -> MapDecl {
                Self::new("inner").shape().decl()
            }
            fn def() -> MapDef {
                Self::new("inner").shape().def()
            }
            fn within(at: Value) -> Self {
                Self { at: Some(at), ..Self::new("inner") }
            }
        }

        impl<K: Layout, V: Layout, const N: u32> $name<K, V, N> {
            /// The map of this name. Written by `#[map]`.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self { name, flags: $flags, at: None, of: PhantomData }
            }

            /// Adds `BPF_F_*` flags of map creation.
            #[must_use]
            pub const fn flags(self, flags: u32) -> Self {
                Self { flags: self.flags | flags, ..self }
            }

            fn shape(&self) -> Shape {
                Shape {
                    name: self.name,
                    map_type: MapType::$map_type,
                    key_size: K::SIZE,
                    value_size: V::SIZE,
                    max_entries: N,
                    flags: self.flags,
                    at: self.at,
                    def: |def: MapDef| def.key_of::<K>().value_of::<V>(),
                }
            }

            /// The value under a key.
            #[track_caller]
            pub fn get(&self, key: &impl Pointed<K>) -> Lookup<V> {
                self.shape().lookup(key)
            }

            /// Puts a value under a key.
            #[track_caller]
            pub fn set(&self, key: &impl Pointed<K>, value: &impl Pointed<V>, how: Update) -> Status {
                let (key, value) = (key.pointer(), value.pointer());
                self.shape().call_with(helper::MAP_UPDATE_ELEM, &[key, value], how as u64)
            }
        }
    )*};
}

kinds! {
    /// A hash map. C: `BPF_MAP_TYPE_HASH`, Linux 3.19.
    HashMap HASH 0;
    /// A hash map that forgets what was not used for long. C: `BPF_MAP_TYPE_LRU_HASH`, Linux 4.10.
    LruHashMap LRU_HASH 0;
    /// A hash map with a value for each CPU. C: `BPF_MAP_TYPE_PERCPU_HASH`, Linux 4.6.
    PerCpuHashMap PERCPU_HASH 0;
    /// A [`LruHashMap`] with a value for each CPU. C: `BPF_MAP_TYPE_LRU_PERCPU_HASH`, Linux 4.10.
    LruPerCpuHashMap LRU_PERCPU_HASH 0;
    /// Longest prefix first; the key starts with the prefix's length in bits, a `u32`. C: `BPF_MAP_TYPE_LPM_TRIE`, Linux 4.11.
    LpmTrie LPM_TRIE NO_PREALLOC;
}

/// Declares a type of arrays: values, number of elements; keys are 32-bit indexes.
macro_rules! arrays {
    ($($(#[$doc:meta])* $name:ident $map_type:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<V, const N: u32> {
            name: &'static str,
            flags: u32,
            at: Option<Value>,
            of: PhantomData<fn() -> V>,
        }

        impl<V, const N: u32> Clone for $name<V, N> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<V, const N: u32> Copy for $name<V, N> {}

        impl<V: Layout, const N: u32> Within for $name<V, N> {
            fn decl() -> MapDecl {
                Self::new("inner").shape().decl()
            }
            fn def() -> MapDef {
                Self::new("inner").shape().def()
            }
            fn within(at: Value) -> Self {
                Self { at: Some(at), ..Self::new("inner") }
            }
        }

        impl<V: Layout, const N: u32> $name<V, N> {
            /// The map of this name. Written by `#[map]`.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self { name, flags: 0, at: None, of: PhantomData }
            }

            /// Adds `BPF_F_*` flags of map creation.
            #[must_use]
            pub const fn flags(self, flags: u32) -> Self {
                Self { flags: self.flags | flags, ..self }
            }

            fn shape(&self) -> Shape {
                Shape {
                    name: self.name,
                    map_type: MapType::$map_type,
                    key_size: 4,
                    value_size: V::SIZE,
                    max_entries: N,
                    flags: self.flags,
                    at: self.at,
                    def: |def: MapDef| def.key_of::<u32>().value_of::<V>(),
                }
            }

            /// The element number `index`, if there is one.
            #[track_caller]
            pub fn get(&self, index: &impl Pointed<u32>) -> Lookup<V> {
                self.shape().lookup(index)
            }

            /// Puts a value into element number `index`.
            #[track_caller]
            pub fn set(&self, index: &impl Pointed<u32>, value: &impl Pointed<V>) -> Status {
                let (index, value) = (index.pointer(), value.pointer());
                self.shape().call_with(helper::MAP_UPDATE_ELEM, &[index, value], Update::Any as u64)
            }
        }
    )*};
}

arrays! {
    /// An array. C: `BPF_MAP_TYPE_ARRAY`, Linux 3.19.
    Array ARRAY;
    /// An array with a value for each CPU. C: `BPF_MAP_TYPE_PERCPU_ARRAY`, Linux 4.6.
    PerCpuArray PERCPU_ARRAY;
}

/// Declares removal for the maps that have it.
macro_rules! removable {
    ($($name:ident)*) => {$(
        impl<K: Layout, V: Layout, const N: u32> $name<K, V, N> {
            /// Removes a key.
            #[track_caller]
            pub fn remove(&self, key: &impl Pointed<K>) -> Status {
                let key = key.pointer();
                Status::of(self.shape().call(helper::MAP_DELETE_ELEM, &[key]))
            }
        }
    )*};
}

removable! { HashMap LruHashMap PerCpuHashMap LruPerCpuHashMap LpmTrie }
