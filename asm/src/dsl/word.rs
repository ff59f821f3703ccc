//! Structs of eight bytes as one number: put together in a register, and read or written by one access.
//!
//! Stage: beside `structs.rs`. A processor that reads eight bytes right after they were written in parts waits until all parts
//! have left its store buffer; keys that are hashed or compared at once are best written at once. Read next: `pointed.rs`.

use std::marker::PhantomData;

use super::bytes;
use super::layout::{AnyPlace, Layout, Place, Struct};
use super::pointed::Pointed;
use super::rec;
use super::settle::{Own, Stage};
use super::structs::{Free, Moved, Obj};
use super::value::{IntoVal, Val};
use crate::ir::Value;

/// A struct of eight bytes, its bytes given as a number of this machine.
#[derive(Debug)]
pub struct FromWord<T> {
    word: Val<u64>,
    of: PhantomData<fn() -> T>,
}

/// The struct whose bytes are those of `word`, to be kept by `let` or handed to a call.
#[track_caller]
pub fn from_word<T: Struct>(word: impl IntoVal<u64>) -> FromWord<T> {
    const { assert!(T::SIZE == 8, "a word has eight bytes") };
    FromWord { word: word.into_val(), of: PhantomData }
}

impl<T: Struct> FromWord<T> {
    #[track_caller]
    fn place(&self) -> Value {
        rec::with(|r| {
            let at = r.b.stack(T::SIZE, bytes::STACK_ALIGN);
            bytes::store(r, super::Addr::of(at), self.word);
            at
        })
    }
}

impl<T: Struct> Own for FromWord<T> {
    type Owned = Obj<T, Moved>;
    fn own(self) -> Self::Owned {
        Obj::at(self.place())
    }
}

impl<T: Struct> Stage for FromWord<T> {
    type Out = Obj<T, Free>;
    fn stage(self) -> Self::Out {
        Obj::at(self.place())
    }
}

impl<T: Struct> Pointed<T> for FromWord<T> {
    fn pointer(&self) -> Value {
        self.place()
    }
}

/// Places of eight bytes.
pub trait Word: AnyPlace {
    /// All of them as a number of this machine.
    #[track_caller]
    fn word(self) -> Val<u64> {
        const { assert!(Self::Of::SIZE == 8, "a word has eight bytes") };
        Place::<u64>::new(self.addr()).load()
    }

    /// Writes all of them at once.
    #[track_caller]
    fn set_word(self, word: impl IntoVal<u64>) {
        const { assert!(Self::Of::SIZE == 8, "a word has eight bytes") };
        Place::<u64>::new(self.addr()).store(word);
    }
}

impl<P: AnyPlace> Word for P {}
