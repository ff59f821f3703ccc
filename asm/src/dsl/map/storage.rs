//! Storage maps: memory that a socket, a task or a cgroup keeps for programs, and that goes when it goes.
//!
//! Stage: maps. Input: the owner. Output: [`Lookup`] and [`Status`]. Read next: `inner.rs`, `special.rs`.

use std::marker::PhantomData;

use super::kinds::NO_PREALLOC;
use super::{Lookup, Shape, Status};
use crate::dsl::layout::Layout;
use crate::dsl::pointed::Pointed;
use crate::dsl::rec;
use crate::dsl::sock::Owner;
use crate::insn::helper;
use crate::ir::{Ty, Value};
use crate::object::{MapDef, MapType};

/// `BPF_LOCAL_STORAGE_GET_F_CREATE`.
const CREATE: u64 = 1;

/// Declares a type of storage: what it is of, and its helpers.
macro_rules! storages {
    ($($(#[$doc:meta])* $name:ident $map_type:ident $get:ident $delete:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<V> {
            name: &'static str,
            flags: u32,
            of: PhantomData<fn() -> V>,
        }

        impl<V: Layout> $name<V> {
            /// The map of this name. Written by `#[map]`.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self { name, flags: NO_PREALLOC, of: PhantomData }
            }

            /// Adds `BPF_F_*` flags of map creation: with `BPF_F_CLONE` (0x200) a connection begins with a copy of what its
            /// listener has.
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
                    max_entries: 0,
                    at: None,
                    flags: self.flags,
                    def: |def: MapDef| def.key_of::<i32>().value_of::<V>(),
                }
            }

            /// The owner's memory, if it has some.
            #[track_caller]
            pub fn get(&self, owner: &impl Owner<Self>) -> Lookup<V> {
                self.find(owner.owner(), None, 0)
            }

            /// The owner's memory; it is made if need be, and then begins as `first`.
            #[track_caller]
            pub fn get_or_init(&self, owner: &impl Owner<Self>, first: &impl Pointed<V>) -> Lookup<V> {
                let first = first.pointer();
                self.find(owner.owner(), Some(first), CREATE)
            }

            /// As [`Self::get_or_init`], beginning as zeros.
            #[track_caller]
            pub fn get_or_zero(&self, owner: &impl Owner<Self>) -> Lookup<V> {
                self.find(owner.owner(), None, CREATE)
            }

            #[track_caller]
            fn find(&self, owner: Value, first: Option<Value>, flags: u64) -> Lookup<V> {
                let (first, flags) = rec::with(|r| {
                    (first.unwrap_or_else(|| r.number(Ty::I64, 0)), r.number(Ty::I64, flags))
                });
                Lookup::of(self.shape().call(helper::$get, &[owner, first, flags]))
            }

            /// Frees the owner's memory.
            #[track_caller]
            pub fn remove(&self, owner: &impl Owner<Self>) -> Status {
                Status::of(self.shape().call(helper::$delete, &[owner.owner()]))
            }
        }
    )*};
}

storages! {
    /// Memory of sockets. C: `BPF_MAP_TYPE_SK_STORAGE`, Linux 5.2; in `sk_msg` 5.8, in tracing 5.11.
    SkStorage SK_STORAGE SK_STORAGE_GET SK_STORAGE_DELETE;
    /// Memory of tasks. C: `BPF_MAP_TYPE_TASK_STORAGE`, Linux 5.11.
    TaskStorage TASK_STORAGE TASK_STORAGE_GET TASK_STORAGE_DELETE;
    /// Memory of cgroups. C: `BPF_MAP_TYPE_CGRP_STORAGE`, Linux 6.2.
    CgroupStorage CGRP_STORAGE CGRP_STORAGE_GET CGRP_STORAGE_DELETE;
}
