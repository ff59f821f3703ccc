//! Stage: the intermediate representation. The builder: blocks, places, and how a function is finished.
//!
//! Input: calls, in a straight line; control flow is blocks, `switch_to` and terminators. Output: a [`Func`], or every
//! mistake at once, each with its place. Operations are in `ops.rs`, variables in `vars.rs`. Next: `ops.rs`.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

use super::error::{Error, Problem, ProblemKind};
use super::func::{BlockData, Func, Inst, Linkage, Loc, LocId, Op, Param, Target, Term};
use super::types::{Block, Ty, Value, Var};
use crate::object::{ProgType, section};

/// Builds one function.
///
/// Every method that makes an operation notes its caller's place in source, or the one that [`FuncBuilder::at`] has set:
/// it becomes the line that a debugger and the verifier's log show.
#[derive(Debug)]
pub struct FuncBuilder {
    pub(super) func: Func,
    pub(super) state: Vec<BlockState>,
    pub(super) current: Option<Block>,
    pub(super) vars: Vec<Ty>,
    pub(super) defs: HashMap<(Var, Block), Value>,
    locs: HashMap<Loc, LocId>,
    /// The caller that was asked for last, and its place: one call of a front end's makes several operations.
    last: Option<(&'static Location<'static>, LocId)>,
    pinned: Option<LocId>,
    pub(super) problems: Vec<Problem>,
}

/// What the builder knows of a block besides its contents.
#[derive(Debug, Default)]
pub(super) struct BlockState {
    /// All ways into it are known.
    pub(super) sealed: bool,
    /// It has its terminator.
    pub(super) ended: bool,
    /// The blocks that go on here, with the number of the way in their terminator.
    pub(super) preds: Vec<(Block, usize)>,
    /// Parameters made for variables before the block was sealed.
    pub(super) incomplete: Vec<(Var, Value)>,
}

impl FuncBuilder {
    /// A program in the ELF section `section`, such as `xdp`; its one parameter is the context.
    #[must_use]
    pub fn prog(section: &str, name: &str) -> Self {
        let found = section::find(section).map(|found| found.def.prog_type);
        let linkage = Linkage::Prog { section: section.into(), prog_type: found.unwrap_or(ProgType::UNSPEC) };
        let mut builder = Self::new(name, linkage, &[("ctx", Ty::Ctx)], Some(Ty::I32));
        if found.is_none() {
            builder.problems.push(Problem { loc: None, kind: ProblemKind::Section(section.into()) });
        }
        builder
    }

    /// A function that others of the object call; at most five parameters.
    #[must_use]
    pub fn subprog(name: &str, params: &[(&str, Ty)], ret: Option<Ty>) -> Self {
        Self::new(name, Linkage::Static, params, ret)
    }

    fn new(name: &str, linkage: Linkage, params: &[(&str, Ty)], ret: Option<Ty>) -> Self {
        let params: Vec<Param> = params.iter().map(|(name, ty)| Param { name: (*name).into(), ty: *ty }).collect();
        let values: Vec<Ty> = params.iter().map(|param| param.ty).collect();
        let entry = BlockData {
            params: (0..values.len()).map(Value::of).collect(),
            insts: Vec::new(),
            term: Term::Unreachable,
            loc: LocId(0),
        };
        let func = Func {
            name: name.into(),
            linkage,
            params,
            ret,
            blocks: vec![entry],
            values,
            stack: Vec::new(),
            maps: Vec::new(),
            globals: Vec::new(),
            locs: Vec::new(),
        };
        Self {
            func,
            state: vec![BlockState { sealed: true, ..BlockState::default() }],
            current: Some(Block(0)),
            vars: Vec::new(),
            defs: HashMap::new(),
            locs: HashMap::new(),
            last: None,
            pinned: None,
            problems: Vec::new(),
        }
    }

    /// Makes a subprogram global: verified once, by itself. (A program stays a program.)
    #[must_use]
    pub fn global(mut self) -> Self {
        if self.func.linkage == Linkage::Static {
            self.func.linkage = Linkage::Global;
        }
        self
    }

    /// Parameter number `index`, from 0.
    #[must_use]
    pub fn param(&self, index: usize) -> Value {
        self.func.blocks[0].params.get(index).copied().unwrap_or(Value(0))
    }

    /// The context of a program.
    #[must_use]
    pub fn ctx(&self) -> Value {
        self.param(0)
    }

    /// The type of a value.
    #[must_use]
    pub fn ty(&self, value: Value) -> Ty {
        self.func.ty(value)
    }

    /// The type of program, for programs.
    #[must_use]
    pub const fn prog_type(&self) -> Option<ProgType> {
        self.func.prog_type()
    }

    /// From here on operations come from `loc`; with `None`, from the place of each call.
    pub fn at(&mut self, loc: Option<Loc>) {
        self.pinned = loc.map(|loc| self.loc_id(loc));
    }

    fn loc_id(&mut self, loc: Loc) -> LocId {
        *self.locs.entry(loc).or_insert_with_key(|loc| {
            self.func.locs.push(loc.clone());
            LocId(u32::try_from(self.func.locs.len() - 1).unwrap_or(u32::MAX))
        })
    }

    /// The place of what is made now.
    #[track_caller]
    pub(super) fn here(&mut self) -> LocId {
        if let Some(id) = self.pinned {
            return id;
        }
        let caller = Location::caller();
        match self.last {
            Some((last, id)) if std::ptr::eq(last, caller) => id,
            _ => {
                let id = self.loc_id(caller.into());
                self.last = Some((caller, id));
                id
            }
        }
    }

    /// Notes a mistake at the caller's place; it is reported by [`FuncBuilder::finish`].
    #[track_caller]
    pub fn problem(&mut self, kind: ProblemKind) {
        let at = self.here();
        let loc = self.func.locs.get(at.0 as usize).cloned();
        self.problems.push(Problem { loc, kind });
    }

    /// A new block. It has no way in yet.
    pub fn block(&mut self) -> Block {
        self.func.blocks.push(BlockData {
            params: Vec::new(),
            insts: Vec::new(),
            term: Term::Unreachable,
            loc: LocId(0),
        });
        self.state.push(BlockState::default());
        Block::of(self.func.blocks.len() - 1)
    }

    /// Adds a parameter to a block that has no way in yet; each jump there then hands over a value.
    pub fn block_param(&mut self, block: Block, ty: Ty) -> Value {
        let value = self.func.value(ty);
        self.func.blocks[block.index()].params.push(value);
        value
    }

    /// What is made next goes to the end of `block`.
    pub fn switch_to(&mut self, block: Block) {
        self.current = Some(block);
    }

    /// The block that is being filled; `None` behind a terminator.
    #[must_use]
    pub fn current(&self) -> Option<Block> {
        self.current
    }

    /// Has the block that is being filled come to its end?
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.current.is_none()
    }

    /// Appends an operation; behind a terminator it goes into a block that nothing leads to.
    #[track_caller]
    pub(super) fn push(&mut self, op: Op, result: Option<Ty>) -> Option<Value> {
        let loc = self.here();
        let block = self.filled();
        let result = result.map(|ty| self.func.value(ty));
        self.func.blocks[block.index()].insts.push(Inst { result, op, loc });
        result
    }

    /// The block that takes the next operation.
    pub(super) fn filled(&mut self) -> Block {
        match self.current {
            Some(block) => block,
            None => {
                let block = self.block();
                self.seal(block);
                self.current = Some(block);
                block
            }
        }
    }

    /// Ends the block that is being filled.
    #[track_caller]
    pub(super) fn end(&mut self, term: Term) {
        let loc = self.here();
        let block = self.filled();
        if self.state[block.index()].ended {
            self.problem(ProblemKind::Malformed(format!("{block} is ended a second time")));
            return;
        }
        for (edge, target) in term.targets().enumerate() {
            let to = target.block;
            if self.state[to.index()].sealed {
                self.problem(ProblemKind::Malformed(format!("{to} is sealed, and {block} goes there all the same")));
            }
            self.state[to.index()].preds.push((block, edge));
        }
        let data = &mut self.func.blocks[block.index()];
        (data.term, data.loc) = (term, loc);
        self.state[block.index()].ended = true;
        self.current = None;
    }

    /// Goes on at `block`, which has no parameters of its own.
    #[track_caller]
    pub fn jump(&mut self, block: Block) {
        self.end(Term::Jump(Target::to(block)));
    }

    /// Goes on at `block`, whose parameters get `args`.
    #[track_caller]
    pub fn jump_with(&mut self, block: Block, args: &[Value]) {
        self.end(Term::Jump(Target { block, args: args.to_vec() }));
    }

    /// The finished function.
    ///
    /// # Errors
    /// All mistakes, each with its place.
    pub fn finish(mut self) -> Result<Func, Error> {
        for index in 0..self.state.len() {
            self.seal(Block::of(index));
        }
        let reachable = super::vars::reachable(&self.func);
        for (index, state) in self.state.iter().enumerate() {
            if reachable[index] && !state.ended {
                self.problems.push(Problem { loc: None, kind: ProblemKind::Open(Block::of(index)) });
            }
        }
        if !self.problems.is_empty() {
            return Err(Error { func: self.func.name, problems: self.problems });
        }
        super::vars::tidy(&mut self.func, &reachable);
        super::verify::verify(&self.func)?;
        Ok(self.func)
    }

    /// The name of the function.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.func.name
    }
}
