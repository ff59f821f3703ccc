//! The ring buffer: records that are reserved, filled, and then submitted or discarded, once.
//!
//! Stage: maps. Input: a struct type. Output: a [`Record`], which moves when it is used: rustc refuses a second release,
//! and the recording ends in an error when a path forgets it. Read next: `storage.rs`.

use std::marker::PhantomData;
use std::ops::Deref;

use super::{Shape, Status};
use crate::dsl::flow::Fallible;
use crate::dsl::layout::{Addr, Layout};
use crate::dsl::pointed::Pointed;
use crate::dsl::rec;
use crate::dsl::settle::{Own, Stage};
use crate::dsl::structs::{Free, Moved};
use crate::insn::helper;
use crate::ir::{Block, Ty, Value};
use crate::object::MapType;

/// A ring buffer of `BYTES` bytes: a power of two, and whole pages. C: `BPF_MAP_TYPE_RINGBUF`, Linux 5.8.
#[derive(Debug)]
pub struct RingBuf<const BYTES: u32> {
    name: &'static str,
}

impl<const BYTES: u32> RingBuf<BYTES> {
    /// The map of this name. Written by `#[map]`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name }
    }

    fn shape(&self) -> Shape {
        Shape {
            name: self.name,
            map_type: MapType::RINGBUF,
            key_size: 0,
            value_size: 0,
            max_entries: BYTES,
            at: None,
            flags: 0,
            def: |def| def,
        }
    }

    /// Room for a `T`, unless the buffer is full.
    #[track_caller]
    pub fn reserve<T: Layout>(&self) -> Reserve<T> {
        let args = rec::with(|r| [r.number(Ty::I64, T::SIZE.into()), r.number(Ty::I64, 0)]);
        Reserve { found: self.shape().call(helper::RINGBUF_RESERVE, &args), of: PhantomData }
    }

    /// Copies a whole record into the buffer.
    #[track_caller]
    pub fn output<T: Layout>(&self, record: &impl Pointed<T>) -> Status {
        let record = record.pointer();
        let size = rec::with(|r| r.number(Ty::I64, T::SIZE.into()));
        self.shape().call_with(helper::RINGBUF_OUTPUT, &[record, size], 0)
    }
}

/// A record that may not have found room.
#[derive(Debug)]
#[must_use = "test it with `?`, `let else` or `match`"]
pub struct Reserve<T, Kept = Moved> {
    found: Value,
    of: PhantomData<fn() -> (T, Kept)>,
}

impl<T> Clone for Reserve<T, Free> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Reserve<T, Free> {}

impl<T: Layout, Kept> Fallible for Reserve<T, Kept> {
    type Found = Record<T>;
    fn some(self, other: Block) -> Record<T> {
        Record::at(rec::with(|r| r.b.non_null(self.found, other)))
    }
}

impl<T> Own for Reserve<T> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<T, Kept> Stage for Reserve<T, Kept> {
    type Out = Reserve<T, Free>;
    fn stage(self) -> Self::Out {
        Reserve { found: self.found, of: PhantomData }
    }
}

/// A reserved record: write every field, then submit it.
#[must_use = "a record must be submitted or discarded"]
pub struct Record<T: Layout, Kept = Moved> {
    at: Value,
    place: T::Place,
    of: PhantomData<fn() -> Kept>,
}

impl<T: Layout, Kept> std::fmt::Debug for Record<T, Kept> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({})", self.at)
    }
}

impl<T: Layout> Clone for Record<T, Free> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Layout> Copy for Record<T, Free> {}

impl<T: Layout, Kept> Record<T, Kept> {
    fn at(at: Value) -> Self {
        Self { at, place: T::place(Addr::of(at)), of: PhantomData }
    }

    /// Gives the record to user space.
    #[track_caller]
    pub fn submit(self) {
        self.release(helper::RINGBUF_SUBMIT);
    }

    /// Takes the record back: user space never sees it.
    #[track_caller]
    pub fn discard(self) {
        self.release(helper::RINGBUF_DISCARD);
    }

    #[track_caller]
    fn release(&self, id: helper::Id) {
        rec::with(|r| {
            let flags = r.number(Ty::I64, 0);
            r.b.call(id, &[self.at, flags]);
        });
    }
}

impl<T: Layout, Kept> Deref for Record<T, Kept> {
    type Target = T::Place;
    fn deref(&self) -> &T::Place {
        &self.place
    }
}

impl<T: Layout> Own for Record<T> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<T: Layout, Kept> Stage for Record<T, Kept> {
    type Out = Record<T, Free>;
    fn stage(self) -> Self::Out {
        Record::at(self.at)
    }
}
