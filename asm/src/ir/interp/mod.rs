//! Stage: the intermediate representation, run as it is. The judge of every pass, and a way to watch a program before
//! there are instructions.
//!
//! Input: a [`Module`], and a packet, a context or plain memory. Output: the result, and the packet and the maps as the
//! program left them; or a [`Fault`] that names the operation and its place in source. Memory, maps, helpers and the
//! meaning of arithmetic are those of [`crate::vm`]: only the steps are different. It is stricter than a machine: a value
//! that does not fit its type ends the run, and so does a pointer that counts as not null and is.
//!
//! ```
//! use asm::ir::{FuncBuilder, Module, Ty, interp::Interp};
//! use asm::vm::Xdp;
//!
//! let mut b = FuncBuilder::prog("xdp", "first_byte");
//! let pass = b.block();
//! let (data, end) = (b.packet(), b.packet_end());
//! b.check(data, 1, end, pass);
//! let byte = b.load(Ty::I8, data, 0);
//! b.ret(Some(byte));
//! b.switch_to(pass);
//! let two = b.iconst(Ty::I32, 2);
//! b.ret(Some(two));
//! let module = Module { funcs: vec![b.finish()?], ..Module::default() };
//!
//! let mut interp = Interp::new(&module)?;
//! interp.set_trace(true);
//! assert_eq!(interp.run_xdp(&[7, 8, 9], Xdp::default())?.verdict, 7);
//! assert!(interp.take_trace().contains("v3: i8 = load u8 v1 + 0  → 0x7"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Next: `run.rs` (one operation after the other), `calls.rs` (helpers, callbacks, tail calls).

mod calls;
mod run;

use std::collections::HashMap;
use std::sync::Arc;

use super::func::{Func, Loc};
use super::types::{Block, Ty, Value};
use super::{GlobalDecl, MapDecl, Module};
use crate::object::MapType;
use crate::vm::{self, Context, ContextRun, LinkError, MAX_FRAMES, MapSpec, PacketRun, Vm, Xdp};
use run::Run;

/// Functions, and the machine they run on.
#[derive(Clone, Debug)]
pub struct Interp {
    funcs: Arc<[Func]>,
    vm: Vm,
    trace: Option<String>,
}

/// What a program did that it must not do, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}function `{func}`, {block}, `{text}`: {kind}", place = super::error::place(.loc))]
pub struct Fault {
    /// The function.
    pub func: Arc<str>,
    /// The block.
    pub block: Block,
    /// The operation.
    pub text: String,
    /// The place in source, where it is known.
    pub loc: Option<Loc>,
    /// What it did.
    #[source]
    pub kind: FaultKind,
}

/// The kinds of [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// An access or a call that the machine refuses.
    #[error(transparent)]
    Machine(#[from] vm::FaultKind),
    /// A number larger than its type.
    #[error("{value} is {ty}, and got {number:#x}")]
    Width {
        /// The value.
        value: Value,
        /// Its type.
        ty: Ty,
        /// What it got.
        number: u64,
    },
    /// A pointer that was said not to be null.
    #[error("{0} is null")]
    Null(Value),
    /// A place that was said never to be reached.
    #[error("this place is reached")]
    Unreachable,
    /// A name that the module does not have, or that only a kernel has.
    #[error("there is no {what} `{name}` here")]
    Unknown {
        /// `function`, `map`, `variable` or `kernel function`.
        what: &'static str,
        /// The name.
        name: Arc<str>,
    },
    /// More calls in each other than [`MAX_FRAMES`].
    #[error("more than {MAX_FRAMES} call frames")]
    CallDepth,
    /// The run took more steps than it may.
    #[error("stopped after {0} steps; an endless loop?")]
    StepLimit(u64),
}

impl Module {
    /// The maps that its functions name, and their global variables as maps of one value: what an interpreter needs.
    #[must_use]
    pub fn map_specs(&self) -> Vec<MapSpec> {
        let mut specs: Vec<MapSpec> = Vec::new();
        for func in &self.funcs {
            for spec in func.maps.iter().map(map_spec).chain(func.globals.iter().map(variable)) {
                if !specs.iter().any(|known| known.name == spec.name) {
                    specs.push(spec);
                }
            }
        }
        specs
    }
}

fn map_spec(map: &MapDecl) -> MapSpec {
    let MapDecl { name, map_type, key_size, value_size, max_entries, .. } = map;
    let (key_size, value_size, max_entries) = (*key_size, *value_size, *max_entries);
    MapSpec { name: name.to_string(), map_type: *map_type, key_size, value_size, max_entries }
}

fn variable(global: &GlobalDecl) -> MapSpec {
    let (name, value_size) = (global.name.to_string(), global.size);
    MapSpec { name, map_type: MapType::ARRAY, key_size: 4, value_size, max_entries: 1 }
}

impl Interp {
    /// A machine with the module's maps that runs its first function, which may call the others.
    ///
    /// # Errors
    /// [`LinkError`]: no functions, or a map that the interpreter does not have.
    pub fn new(module: &Module) -> Result<Self, LinkError> {
        if module.funcs.is_empty() {
            return Err(LinkError::Empty);
        }
        let vm = Vm::bare(module.map_specs())?;
        Ok(Self { funcs: module.funcs.clone().into(), vm, trace: None })
    }

    /// Maps, memory and host; programs in program arrays are the numbers of the module's functions.
    pub fn vm(&mut self) -> &mut Vm {
        &mut self.vm
    }

    /// From now on a line is written for each operation, or none.
    pub fn set_trace(&mut self, on: bool) {
        self.trace = on.then(String::new);
    }

    /// The lines so far.
    pub fn take_trace(&mut self) -> String {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Runs the first function as XDP on a copy of `packet`.
    ///
    /// # Errors
    /// [`Fault`] when it does something no kernel would allow.
    pub fn run_xdp(&mut self, packet: &[u8], xdp: Xdp) -> Result<PacketRun, Fault> {
        self.run_context(&xdp.context(packet)).map(PacketRun::from)
    }

    /// Runs the first function on a context.
    ///
    /// # Errors
    /// As [`Interp::run_xdp`].
    pub fn run_context(&mut self, context: &Context) -> Result<ContextRun, Fault> {
        let Self { funcs, vm, trace } = self;
        vm.in_context(context, |vm, address| Run::new(funcs, vm, trace).start(&[address]))
    }

    /// Runs the first function on plain memory: its first parameter is the address, its second the length.
    ///
    /// # Errors
    /// As [`Interp::run_xdp`].
    pub fn run_on_bytes(&mut self, bytes: &mut [u8]) -> Result<u64, Fault> {
        let Self { funcs, vm, trace } = self;
        vm.in_bytes(bytes, |vm, args| Run::new(funcs, vm, trace).start(&args))
    }
}

/// The stack objects of each function at each depth, used again by the next call there.
type Stacks = HashMap<(usize, usize), Vec<vm::RegionId>>;
