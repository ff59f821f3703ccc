//! Maps: statics of the author's, shared with user space.
//!
//! Stage: after `pointed.rs`. Input: `#[map] static NAME: HashMap<Key, Value, 512> = map();`. Output: calls of the kernel's
//! map helpers, and the map's definition in the object. In the object a map has the static's name in small letters. Read
//! next: `kinds.rs`, `ring.rs`, `storage.rs`, `inner.rs`, `special.rs`.

mod inner;
mod kinds;
mod ring;
mod special;
mod storage;

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

pub use inner::{ArrayOfMaps, HashOfMaps, Inner, MaybeInner, Within};
pub use kinds::{Array, HashMap, LpmTrie, LruHashMap, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap};
pub use ring::{Record, Reserve, RingBuf};
pub use special::{
    Bloom, CpuMap, DevMap, DevMapHash, PerfEventArray, ProgArray, Queue, SockHash, SockMap, Stack, Taken, Toward,
    XskMap,
};
pub use storage::{CgroupStorage, SkStorage, TaskStorage};

use super::flow::Fallible;
use super::layout::{Addr, AnyPlace, Layout, Ptr};
use super::pointed::Pointed;
use super::rec::{self, Recorder};
use super::settle::{Mutable, Own, Stage};
use super::value::Val;
use crate::insn::helper;
use crate::ir::{Block, MapDecl, Ty, Value};
use crate::object::{MapDef, MapType};

/// What an update does when the key is there, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Creates or replaces. C: `BPF_ANY`.
    Any = 0,
    /// Creates only. C: `BPF_NOEXIST`.
    NoExist = 1,
    /// Replaces only. C: `BPF_EXIST`.
    Exist = 2,
}

/// The sizes and the type of a map, and the definition that goes into the object.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) map_type: MapType,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    /// The pointer, of a map that is no static.
    pub(crate) at: Option<Value>,
    /// `BPF_F_*` of map creation.
    pub(crate) flags: u32,
    pub(crate) def: fn(MapDef) -> MapDef,
}

impl Shape {
    /// The map as a pointer for helpers; from here on it is part of the object.
    #[track_caller]
    pub(crate) fn pointer(&self, r: &mut Recorder) -> Value {
        self.pointer_to(r, None)
    }

    /// As [`Shape::pointer`]; `inner` is what maps in it look like.
    #[track_caller]
    pub(crate) fn pointer_to(&self, r: &mut Recorder, inner: Option<Arc<MapDecl>>) -> Value {
        if let Some(at) = self.at {
            return at;
        }
        r.maps.entry(self.name).or_insert_with(|| self.def());
        r.b.map(&MapDecl { inner, ..self.decl() })
    }

    /// Its definition in the object.
    pub(crate) fn def(&self) -> MapDef {
        let def = (self.def)(MapDef::new(self.name, self.map_type).max_entries(self.max_entries));
        if self.flags == 0 { def } else { def.flags(self.flags) }
    }

    /// What code must know of it.
    pub(crate) fn decl(&self) -> MapDecl {
        MapDecl {
            name: self.name.into(),
            map_type: self.map_type,
            key_size: self.key_size,
            value_size: self.value_size,
            max_entries: self.max_entries,
            inner: None,
        }
    }

    /// Calls a helper whose first argument is the map.
    #[track_caller]
    pub(crate) fn call(&self, id: helper::Id, rest: &[Value]) -> Value {
        rec::with(|r| {
            let mut args = vec![self.pointer(r)];
            args.extend_from_slice(rest);
            let result = r.b.call(id, &args);
            result.unwrap_or(args[0])
        })
    }

    /// As [`Shape::call`], with a number last.
    #[track_caller]
    pub(crate) fn call_with(&self, id: helper::Id, rest: &[Value], flags: u64) -> Status {
        let flags = rec::with(|r| r.number(Ty::I64, flags));
        let mut args = rest.to_vec();
        args.push(flags);
        Status::of(self.call(id, &args))
    }

    #[track_caller]
    pub(crate) fn lookup<K, V>(&self, key: &impl Pointed<K>) -> Lookup<V> {
        let key = key.pointer();
        Lookup::of(self.call(helper::MAP_LOOKUP_ELEM, &[key]))
    }
}

/// What a lookup finds: a value of the map, or nothing.
#[derive(Debug)]
#[must_use = "test it with `?`, `let else` or `match`"]
pub struct Lookup<V> {
    found: Value,
    of: PhantomData<fn() -> V>,
}

impl<V> Lookup<V> {
    const fn of(found: Value) -> Self {
        Self { found, of: PhantomData }
    }

    /// Is there a value? To use it, test with `?`, `let else`, `if let` or `match` instead.
    #[track_caller]
    pub fn is_some(self) -> Val<bool> {
        rec::with(|r| r.is_set(self.found))
    }
}

impl<V> Clone for Lookup<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Lookup<V> {}

impl<V: Layout> Fallible for Lookup<V> {
    type Found = ValRef<V>;
    fn some(self, other: Block) -> ValRef<V> {
        ValRef::at(Addr::of(rec::with(|r| r.b.non_null(self.found, other))))
    }
}

impl<V> Own for Lookup<V> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<V> Stage for Lookup<V> {
    type Out = Self;
    fn stage(self) -> Self {
        self
    }
}

/// A value in a map: shared with other CPUs and user space, except in per-CPU maps.
pub struct ValRef<V: Layout> {
    at: Addr,
    place: V::Place,
}

impl<V: Layout> std::fmt::Debug for ValRef<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ValRef({:?})", self.at)
    }
}

impl<V: Layout> Clone for ValRef<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: Layout> Copy for ValRef<V> {}

impl<V: Layout> ValRef<V> {
    pub(crate) fn at(at: Addr) -> Self {
        Self { at, place: V::place(at) }
    }

    /// Where it is.
    pub(crate) const fn addr(&self) -> Addr {
        self.at
    }
}

impl<V: Layout> Deref for ValRef<V> {
    type Target = V::Place;
    fn deref(&self) -> &V::Place {
        &self.place
    }
}

impl<V: Layout> Own for ValRef<V> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<V: Layout> Stage for ValRef<V> {
    type Out = Self;
    fn stage(self) -> Self {
        self
    }
}

impl<V: Layout> Mutable for ValRef<V> {
    fn mutable(self) -> Self {
        let at = rec::with(|r| {
            let now = self.at.pointer(r);
            let var = r.b.var(r.b.ty(now));
            r.b.def(var, now);
            Addr { ptr: Ptr::Var(var), off: 0 }
        });
        Self::at(at)
    }
}

impl<V: Layout> Pointed<V> for ValRef<V>
where
    V::Place: AnyPlace,
{
    fn pointer(&self) -> Value {
        let at = (**self).addr();
        rec::with(|r| at.pointer(r))
    }
}

/// What a helper says that gives 0, or a negative errno.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    result: Value,
}

impl Status {
    pub(crate) const fn of(result: Value) -> Self {
        Self { result }
    }

    /// The result as a number: 0, or a negative errno.
    #[track_caller]
    pub fn code(self) -> Val<i64> {
        Val::of(self.result)
    }

    /// Did it fail?
    #[track_caller]
    pub fn is_err(self) -> Val<bool> {
        rec::with(|r| r.is_set(self.result))
    }
}

impl Fallible for Status {
    type Found = ();
    fn some(self, other: Block) {
        rec::with(|r| {
            let (next, zero) = (r.b.block(), r.number(Ty::I64, 0));
            r.b.branch(crate::insn::Cond::Ne, self.result, zero, other, next);
            r.enter(next);
        });
    }
}

impl Own for Status {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl Stage for Status {
    type Out = Self;
    fn stage(self) -> Self {
        self
    }
}
