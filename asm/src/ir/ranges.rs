//! Stage: the intermediate representation. How far pointers with something variable added may reach.
//!
//! Input: a function, and what the verifier of the kernel sees. Output: [`Ranges`]: for each pointer its root and distance,
//! and every access that is certainly outside of its object. Blocks are walked once, ways back left out: what is refused
//! on the first turn of a loop is refused. Where ways meet with different knowledge nothing is said, since the verifier
//! goes along each by itself. Next: `number.rs`, `paths.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::dom::Dominators;
use super::func::{Callee, Func, Inst, LocId, Op, Target, Term};
use super::number::Num;
use super::rules::Defs;
use super::sight::Sight;
use super::types::{Block, Region, Ty, Value};
use crate::insn::helper::{self, Arg};
use crate::insn::{AluOp, Cond, Width};

/// What is known of a number; `None` is nothing that can be told from here.
type Fact = Option<Num>;

/// What comparisons on the way have shown, beyond what the definition says.
type Shown = BTreeMap<Value, Fact>;

/// A pointer: a root, and what was added to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    root: Value,
    /// Least and largest distance in bytes, where they are known.
    far: Option<(i64, i64)>,
    /// Is any of it variable?
    variable: bool,
}

/// Bytes behind a pointer that a helper is handed.
pub(super) struct Access {
    pub(super) ptr: Value,
    pub(super) bytes: Option<u64>,
    pub(super) reads: bool,
}

/// The largest distance in a packet that the verifier follows.
const MAX_PACKET_OFF: i64 = 0xffff;
/// The largest variable distance that the verifier follows at all.
const MAX_VARIABLE: i64 = 1 << 29;

pub(super) struct Ranges<'a> {
    defs: Defs<'a>,
    sight: &'a Sight,
    /// What is known of each number where it is defined.
    facts: Vec<Fact>,
    spans: Vec<Option<Span>>,
    /// What is wrong, with its place.
    wrong: Vec<(LocId, String)>,
    /// What is known of sizes that calls are handed.
    sizes: BTreeMap<Value, Fact>,
}

/// A way on that was taken: where it starts, what is known on it, what it hands over.
struct Edge {
    shown: Shown,
    args: Vec<Fact>,
}

impl<'a> Ranges<'a> {
    pub(super) fn of(func: &'a Func, dominators: &Dominators, sight: &'a Sight) -> Self {
        let count = func.values.len();
        let mut this = Self {
            defs: Defs::of(func),
            sight,
            facts: vec![None; count],
            spans: vec![None; count],
            wrong: Vec::new(),
            sizes: BTreeMap::new(),
        };
        let mut edges: Vec<Vec<Edge>> = (0..func.blocks.len()).map(|_| Vec::new()).collect();
        edges[0].push(Edge { shown: Shown::new(), args: Vec::new() });
        for block in &dominators.order {
            let ways = std::mem::take(&mut edges[block.index()]);
            if !ways.is_empty() {
                this.block(*block, ways, &mut edges);
            }
        }
        this
    }

    /// Reports what is certainly refused.
    pub(super) fn check(&self, report: &mut dyn FnMut(LocId, String)) {
        self.wrong.iter().for_each(|(loc, what)| report(*loc, what.clone()));
    }

    /// Does a check of a packet count, whose far end is `far` bytes behind `root`? Not if that may be too far for the
    /// verifier to follow.
    pub(super) fn check_counts(&self, root: Value, far: i64) -> bool {
        let span = self.spans[root.index()];
        let most = span.and_then(|span| span.far).map_or(0, |(_, most)| most);
        most.saturating_add(far) <= MAX_PACKET_OFF
    }

    /// The largest size that a call is handed, where that is known.
    pub(super) fn most(&self, value: Value) -> Option<u64> {
        self.sizes.get(&value).copied().flatten().map(|num| num.umax)
    }

    fn func(&self) -> &'a Func {
        self.defs.func
    }

    /// What is known of a number here.
    fn fact(&self, value: Value, shown: &Shown) -> Fact {
        let root = self.defs.copied(value);
        shown.get(&root).copied().unwrap_or(self.facts[root.index()])
    }

    fn block(&mut self, block: Block, ways: Vec<Edge>, edges: &mut [Vec<Edge>]) {
        let func = self.func();
        let data = &func.blocks[block.index()];
        for (place, param) in data.params.iter().enumerate() {
            let mut given = ways.iter().map(|way| way.args.get(place).copied().flatten());
            let first = given.next().flatten();
            self.facts[param.index()] = first.filter(|first| given.all(|other| other == Some(*first)));
        }
        let shown = self.meet(ways);
        for inst in &data.insts {
            self.inst(inst, &shown);
        }
        for (edge, target) in data.term.targets().enumerate() {
            let Some(shown) = self.behind(&data.term, edge == 0, shown.clone()) else { continue };
            let args = self.handed(target, &shown);
            edges[target.block.index()].push(Edge { shown, args });
        }
    }

    fn handed(&self, target: &Target, shown: &Shown) -> Vec<Fact> {
        target.args.iter().map(|arg| self.fact(*arg, shown)).collect()
    }

    /// What is shown on all ways; what differs is not known any more.
    fn meet(&self, ways: Vec<Edge>) -> Shown {
        let mut ways = ways.into_iter().map(|way| way.shown);
        let mut all = ways.next().unwrap_or_default();
        for other in ways {
            let values: BTreeSet<Value> = all.keys().chain(other.keys()).copied().collect();
            for value in values {
                let (a, b) = (self.fact(value, &all), self.fact(value, &other));
                all.insert(value, if a == b { a } else { None });
            }
        }
        all
    }

    fn inst(&mut self, inst: &Inst, shown: &Shown) {
        match &inst.op {
            Op::Load { size, ptr, off } | Op::Store { size, ptr, off, .. } | Op::Atomic { size, ptr, off, .. } => {
                self.access(inst, *ptr, i64::from(*off), Some(u64::from(size.bytes())));
            }
            Op::Call { callee: Callee::Helper(id), args } => {
                if *id == helper::MAP_LOOKUP_ELEM && !self.sight.array_lookups && self.is_certain(inst) {
                    self.wrong.push((inst.loc, format!("{}: what is found may be null for this kernel", inst.op)));
                }
                let func = self.func();
                for arg in args.iter().filter(|arg| func.ty(**arg).is_int()) {
                    let fact = self.fact(*arg, shown);
                    let known = self.sizes.entry(*arg).or_insert(fact);
                    *known = known.filter(|known| Some(*known) == fact);
                }
                let accesses = arguments(&self.defs, &inst.op, |size| self.most(size));
                accesses.into_iter().for_each(|access| self.access(inst, access.ptr, 0, access.bytes));
            }
            _ => {}
        }
        let Some(value) = inst.result else { return };
        self.facts[value.index()] = self.result(inst, value, shown);
        if let Op::PtrAdd { ptr, by } = inst.op {
            self.spans[value.index()] = Some(self.moved(ptr, self.fact(by, shown), self.defs.number(by).is_none()));
        } else if let Op::Copy(a) = inst.op {
            self.spans[value.index()] = self.spans[a.index()];
        }
    }

    /// Does a lookup claim to find something always?
    fn is_certain(&self, inst: &Inst) -> bool {
        inst.result.is_some_and(|value| matches!(self.func().ty(value), Ty::Ptr(_)))
    }

    /// What is known of a number where it is computed.
    fn result(&self, inst: &Inst, value: Value, shown: &Shown) -> Fact {
        let fact = |value: Value| self.fact(value, shown);
        match &inst.op {
            Op::Const(number) => Some(Num::of(*number)),
            // Only what is read from memory is a number like any other: a context has fields with bounds.
            Op::Load { size, ptr, .. } if self.func().ty(*ptr) != Ty::Ctx && self.func().ty(value).is_int() => {
                Some(Num::bits(u32::from(size.bytes()) * 8))
            }
            Op::Low { bits, a } => fact(*a).and_then(|a| a.low(*bits)),
            Op::Swap { .. } if !self.sight.after_swap => Some(Num::ANY),
            Op::Alu { op: AluOp::Sub, a, .. } if self.defs.number(*a) == Some(0) => {
                // A negation, which is an instruction of its own.
                if self.sight.after_swap { None } else { Some(Num::ANY) }
            }
            Op::Alu { op, width, a, b } => fact(*a).zip(fact(*b)).and_then(|(a, b)| Num::alu(*op, *width, a, b)),
            _ => None,
        }
    }

    /// A pointer with something added, as far as is known now: later comparisons change nothing of it.
    fn moved(&self, ptr: Value, by: Fact, variable: bool) -> Span {
        let old = self.span(ptr);
        let far =
            old.far.zip(by).map(|((least, most), by)| (least.saturating_add(by.smin), most.saturating_add(by.smax)));
        Span { root: old.root, far, variable: variable || old.variable }
    }

    fn span(&self, ptr: Value) -> Span {
        self.spans[ptr.index()].unwrap_or(Span { root: ptr, far: Some((0, 0)), variable: false })
    }

    /// An access by a pointer with something variable added, or of a size that is not fixed.
    fn access(&mut self, inst: &Inst, ptr: Value, off: i64, bytes: Option<u64>) {
        let Span { root, far: Some((least, most)), variable } = self.span(ptr) else { return };
        let ty = self.func().ty(ptr);
        let Some(extent) = self.extent(root).filter(|_| variable || matches!(inst.op, Op::Call { .. })) else { return };
        let (first, last) = (least.saturating_add(off), most.saturating_add(off));
        let end = last.saturating_add(i64::try_from(bytes.unwrap_or(1)).unwrap_or(i64::MAX));
        let limited = least >= -MAX_VARIABLE && most <= MAX_VARIABLE;
        if first < 0 || end > extent {
            let reach = if limited { format!("bytes {first} to {end}") } else { "anything".to_owned() };
            let what = format!(
                "{}: as far as the verifier can see, {reach} of {extent} behind the {ty}; compare with a constant, or mask, \
                 before adding",
                inst.op
            );
            self.wrong.push((inst.loc, what));
        }
    }

    /// Bytes that may lie behind a root: an object's own, or for packets all that the verifier follows.
    fn extent(&self, root: Value) -> Option<i64> {
        match self.func().ty(root) {
            Ty::Packet | Ty::PacketMeta => Some(MAX_PACKET_OFF),
            _ => self.defs.extent(root).map(i64::from),
        }
    }

    /// What is known behind a way on; `None` where the verifier never goes.
    fn behind(&self, term: &Term, first: bool, mut shown: Shown) -> Option<Shown> {
        let Term::If { cond, width, a, b, .. } = term else { return Some(shown) };
        let (a, b) = (self.defs.copied(*a), self.defs.copied(*b));
        if !self.func().ty(a).is_int() || !self.func().ty(b).is_int() {
            return Some(shown);
        }
        let (new_a, new_b) = self.compared((*cond, *width), first, self.fact(a, &shown), self.fact(b, &shown))?;
        for (value, new) in [(a, new_a), (b, new_b)] {
            if self.fact(value, &shown) != new {
                self.sums(value, new, &mut shown);
                shown.insert(value, new);
            }
        }
        Some(shown)
    }

    /// What a comparison leaves of its sides.
    fn compared(&self, (cond, width): (Cond, Width), holds: bool, a: Fact, b: Fact) -> Option<(Fact, Fact)> {
        let (Some(x), Some(y)) = (a, b) else {
            // Something is shown of the other side, and not from here.
            let register = self.sight.registers || matches!(cond, Cond::Eq | Cond::Ne);
            return Some(if register { (None, None) } else { (a, b) });
        };
        match (x.constant(), y.constant()) {
            (_, Some(k)) if width == Width::W32 => Some((Num::where_half_is(cond, holds, x, k)?, b)),
            (None, None) | (Some(_), None) if width == Width::W32 => Some((None, None)),
            (None, None) if !self.sight.registers => {
                Some(if matches!(cond, Cond::Eq | Cond::Ne) { (None, None) } else { (a, b) })
            }
            _ => Num::where_it_is(cond, holds, x, y).map(|(a, b)| (Some(a), Some(b))),
        }
    }

    /// A comparison of a sum shows something of the summand too, on kernels that link the two.
    fn sums(&self, value: Value, new: Fact, shown: &mut Shown) {
        if let Some(Op::Alu { op: AluOp::Add | AluOp::Sub, a, .. }) = self.defs.op(value)
            && self.sight.sums
            && new.is_some()
        {
            shown.insert(self.defs.copied(*a), None);
        }
        // The other way round: what was made of this value may be linked to it.
        if self.sight.sums {
            let from = |op: Option<&Op>| matches!(op, Some(Op::Alu { op: AluOp::Add | AluOp::Sub, a, .. }) if self.defs.copied(*a) == value);
            let linked = (0..self.func().values.len()).map(Value::of).filter(|v| from(self.defs.op(*v)));
            linked.for_each(|v| {
                shown.insert(v, None);
            });
        }
    }
}

/// The memory that a helper is handed: pointer, bytes where `size` knows them, and whether it is read.
pub(super) fn arguments(defs: &Defs<'_>, op: &Op, size: impl Fn(Value) -> Option<u64>) -> Vec<Access> {
    let Op::Call { callee: Callee::Helper(id), args } = op else { return Vec::new() };
    let map = args.iter().find_map(|arg| match defs.func.ty(*arg) {
        Ty::Ptr(Region::Map(id)) => defs.func.maps.get(id.index()),
        _ => None,
    });
    let wants = id.helper().map_or(&[][..], |helper| helper.args);
    let one = |(place, (want, ptr)): (usize, (&Arg, &Value))| {
        let next = || args.get(place + 1).and_then(|arg| size(*arg));
        let (bytes, reads) = match want {
            Arg::MapKey => (map.map(|map| u64::from(map.key_size)), true),
            Arg::MapValue | Arg::MapValueOrNull => (map.map(|map| u64::from(map.value_size)), true),
            Arg::MapValueOut => (map.map(|map| u64::from(map.value_size)), false),
            Arg::Mem | Arg::MemOrNull | Arg::MemInOut | Arg::MemInOutOrNull => (next(), true),
            Arg::MemOut => (next(), false),
            Arg::Fixed(bytes) | Arg::FixedInOut(bytes) => (Some(u64::from(*bytes)), true),
            Arg::FixedOut(bytes) => (Some(u64::from(*bytes)), false),
            _ => return None,
        };
        (!defs.func.ty(*ptr).is_int()).then_some(Access { ptr: *ptr, bytes, reads })
    };
    wants.iter().zip(args).enumerate().filter_map(one).collect()
}
