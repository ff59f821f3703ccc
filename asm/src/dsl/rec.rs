//! The recorder: where staged calls leave their operations.
//!
//! Stage: below all of `dsl`. Input: calls, each with the place of its caller. Output: a function under construction, and
//! what the object needs besides: maps and variables that were named, ranges that are known. There is one recorder a
//! thread; outside of a recording it is an empty one whose function nobody takes. Read next: `value.rs`.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::Location;

use super::leak;
use super::object::{Recorded, Text};
use super::value::{Repr, Val};
use crate::insn::Cond;
use crate::ir::{self, Block, Func, FuncBuilder, Problem, Ty, Value, Var};
use crate::object::{GlobalDef, MapDef};

/// A function that is being recorded: the program itself, or one that is written into it.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Where `?` goes, once it was needed.
    pub(crate) fail: Option<Block>,
    /// Where `return` goes; `None` leaves the program.
    pub(crate) end: Option<Block>,
    /// Where the values that `return` gives meet, once their type is known.
    pub(crate) result: Option<Box<dyn Any>>,
    /// Where `Err(..)` goes, and what it says, once it was needed.
    pub(crate) error: Option<(Block, Var)>,
}

impl Frame {
    pub(crate) const fn program() -> Self {
        Self { fail: None, end: None, result: None, error: None }
    }
}

/// The state of a recording.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) b: FuncBuilder,
    pub(crate) frames: Vec<Frame>,
    pub(crate) maps: BTreeMap<&'static str, MapDef>,
    pub(crate) globals: BTreeMap<&'static str, GlobalDef>,
    /// Functions that were called, each before what calls it.
    subprogs: Vec<Func>,
    /// What is wrong with them.
    problems: Vec<Problem>,
    texts: Vec<Text>,
    /// The type that the function returns.
    result: Ty,
    /// The largest number that a value can be, where that is less than its type's.
    max: HashMap<Value, u64>,
}

impl Recorder {
    fn new(b: FuncBuilder) -> Self {
        Self {
            b,
            frames: vec![Frame::program()],
            maps: BTreeMap::new(),
            globals: BTreeMap::new(),
            subprogs: Vec::new(),
            problems: Vec::new(),
            texts: Vec::new(),
            result: Ty::I32,
            max: HashMap::new(),
        }
    }

    /// The type that the function returns; a program's is a verdict of 32 bits.
    pub(crate) const fn result(&self) -> Ty {
        self.result
    }

    /// Says what the function returns.
    pub(crate) const fn returns(&mut self, ty: Ty) {
        self.result = ty;
    }

    /// Notes the text of a function, for line records.
    pub(crate) fn note(&mut self, text: Text) {
        if !self.texts.contains(&text) {
            self.texts.push(text);
        }
    }

    /// Was the function recorded already?
    pub(crate) fn has_subprog(&self, name: &str) -> bool {
        self.subprogs.iter().any(|func| &*func.name == name)
    }

    /// Takes in a function that is called from here, and all that it brought.
    pub(crate) fn add_subprog(&mut self, recorded: Result<Recorded, ir::Error>, text: Text) {
        self.note(text);
        match recorded {
            Ok(recorded) => {
                let new: Vec<_> = recorded.funcs.into_iter().filter(|func| !self.has_subprog(&func.name)).collect();
                self.subprogs.extend(new);
                self.maps.extend(recorded.maps);
                self.globals.extend(recorded.globals);
                recorded.texts.into_iter().for_each(|text| self.note(text));
            }
            Err(error) => self.problems.extend(error.problems),
        }
    }

    /// The largest number that this value can be.
    pub(crate) fn max_of(&self, value: Value) -> u64 {
        self.max.get(&value).copied().unwrap_or_else(|| self.b.ty(value).mask())
    }

    /// Notes that `value` is at most `max`.
    pub(crate) fn at_most(&mut self, value: Value, max: u64) {
        if max < self.b.ty(value).mask() {
            self.max.insert(value, max);
        }
    }

    /// The number of a type.
    pub(crate) fn number(&mut self, ty: Ty, number: u64) -> Value {
        let value = self.b.iconst(ty, number);
        self.at_most(value, number & ty.mask());
        value
    }

    /// Is the number, or the pointer, other than zero?
    pub(crate) fn is_set(&mut self, value: Value) -> Val<bool> {
        let zero = self.number(Ty::I64, 0);
        Val::new(Repr::Test(Cond::Ne, value, zero))
    }

    /// A pointer that a helper is handed, `off` bytes from `ptr`.
    pub(crate) fn offset(&mut self, ptr: Value, off: i32) -> Value {
        if off == 0 { ptr } else { self.b.ptr_offset(ptr, off.into()) }
    }

    /// Goes on at `block`, whose ways in are all known.
    pub(crate) fn enter(&mut self, block: Block) {
        self.b.seal(block);
        self.b.switch_to(block);
    }

    /// Goes to `block`, unless control never comes here.
    pub(crate) fn goto(&mut self, block: Block) {
        if !self.b.is_ended() {
            self.b.jump(block);
        }
    }

    /// Where `?` goes in the innermost function.
    pub(crate) fn fail(&mut self) -> Block {
        let known = self.frames.last().and_then(|frame| frame.fail);
        known.unwrap_or_else(|| {
            let block = self.b.block();
            if let Some(frame) = self.frames.last_mut() {
                frame.fail = Some(block);
            }
            block
        })
    }

    /// Where `Err(..)` of a number of that type goes in the innermost function.
    pub(crate) fn error(&mut self, ty: Ty) -> (Block, Var) {
        let known = self.frames.last().and_then(|frame| frame.error);
        known.unwrap_or_else(|| {
            let error = (self.b.block(), self.b.var(ty));
            if let Some(frame) = self.frames.last_mut() {
                frame.error = Some(error);
            }
            error
        })
    }

    /// The block where `?` went, if any did.
    pub(crate) fn failed(&mut self) -> Option<Block> {
        self.frames.last_mut().and_then(|frame| frame.fail.take())
    }
}

thread_local! {
    static RECORDER: RefCell<Recorder> = RefCell::new(Recorder::new(FuncBuilder::prog("xdp", "outside")));
}

/// Does something with the recorder, as the caller's place in source.
#[track_caller]
pub(crate) fn with<R>(f: impl FnOnce(&mut Recorder) -> R) -> R {
    let place = Location::caller();
    RECORDER.with_borrow_mut(|recorder| {
        recorder.b.at(Some(place.into()));
        f(recorder)
    })
}

/// Records a function: what `body` calls goes into `builder`.
pub(crate) fn record(builder: FuncBuilder, body: impl FnOnce()) -> Result<Recorded, ir::Error> {
    let before = RECORDER.replace(Recorder::new(builder));
    body();
    let recorder = RECORDER.replace(before);
    let name = recorder.b.name().clone();
    let finished = recorder.b.finish();
    let mut problems = recorder.problems;
    let mut funcs = recorder.subprogs;
    match finished {
        Ok(func) => {
            problems.extend(leak::leaks(&func));
            funcs.insert(0, func);
        }
        Err(error) => problems.splice(0..0, error.problems).for_each(drop),
    }
    if !problems.is_empty() {
        return Err(ir::Error { func: name, problems });
    }
    Ok(Recorded { funcs, maps: recorder.maps, globals: recorder.globals, texts: recorder.texts })
}
