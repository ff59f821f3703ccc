//! Stage: instructions. The builder: instructions as method calls, with labels instead of distances.
//!
//! Input: calls. Output: [`Code`], or every mistake at once, each with the caller's line. Every method is
//! `#[track_caller]`, so the line that wrote an instruction is the line a debugger and the verifier's log show.
//! The many one-line methods are in `ops.rs`. Next: `code.rs`.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::code::{Code, LabelAt, LineRec, Reloc, RelocKind};
use super::op::{Cond, Op, Width};
use super::{Insn, InsnIdx, Operand, Reg};

/// A position to jump to; made by [`Builder::label`], given its place by [`Builder::bind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(usize);

/// Builds the code of one function.
///
/// ```
/// use asm::insn::{Builder, Cond, R0, R1, R2, R3, Size};
/// let mut b = Builder::new();
/// let out = b.label("out");
/// b.load(Size::W, R2, R1, 4); // data_end
/// b.load(Size::W, R1, R1, 0); // data
/// b.mov(R3, R1);
/// b.add(R3, 14);
/// b.mov(R0, 1); // XDP_DROP
/// b.jmp_if(Cond::Gt, R3, R2, out);
/// b.mov(R0, 2); // XDP_PASS
/// b.bind(out);
/// b.exit();
/// let code = b.finish()?;
/// assert_eq!(code.insns[5].to_string(), "if r3 > r2 goto +1");
/// # Ok::<(), asm::insn::BuildError>(())
/// ```
#[derive(Debug, Default)]
pub struct Builder {
    insns: Vec<Insn>,
    places: Vec<(InsnIdx, &'static Location<'static>)>,
    labels: Vec<LabelState>,
    jumps: Vec<Jump>,
    relocs: Vec<Reloc>,
    errors: Vec<Problem>,
}

#[derive(Debug)]
struct LabelState {
    name: Arc<str>,
    made: &'static Location<'static>,
    at: Option<(InsnIdx, &'static Location<'static>)>,
    used: bool,
}

/// A jump whose distance is still to be filled in.
#[derive(Debug)]
struct Jump {
    at: InsnIdx,
    to: Label,
    place: &'static Location<'static>,
    long: bool,
}

/// One mistake in the calls that built a function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A label was jumped to but never placed.
    #[error("{place}: label `{name}` is never bound; call `bind` where the jump should land")]
    Unbound {
        /// Name of the label.
        name: Arc<str>,
        /// Where it was made.
        place: Place,
    },
    /// A label was placed twice.
    #[error("{place}: label `{name}` is bound a second time (first at {first}); make a label for each place")]
    BoundTwice {
        /// Name of the label.
        name: Arc<str>,
        /// The first `bind`.
        first: Place,
        /// The second.
        place: Place,
    },
    /// A label of another builder was used.
    #[error("{place}: this label belongs to another builder")]
    ForeignLabel {
        /// Where it was used.
        place: Place,
    },
    /// The distance does not fit into the jump's 16 bits.
    #[error(
        "{place}: `{name}` is {distance} slots away, but this jump reaches only ±32767; \
         put the target nearer, or jump to a `jmp_long` (Linux 6.6) close by"
    )]
    TooFar {
        /// Name of the label.
        name: Arc<str>,
        /// Slots from the instruction after the jump.
        distance: i64,
        /// The jump.
        place: Place,
    },
    /// The last instruction lets control run past the end.
    #[error("{place}: the code can run past its last instruction; end it with `exit` or a jump")]
    FallsThrough {
        /// The last instruction.
        place: Place,
    },
    /// A label stands behind the last instruction.
    #[error("{place}: label `{name}` is bound behind the last instruction; nothing is there to jump to")]
    BoundAtEnd {
        /// Name of the label.
        name: Arc<str>,
        /// The `bind`.
        place: Place,
    },
    /// An operation that no opcode stands for, such as a byte-wide atomic add.
    #[error("{place}: {what}")]
    NoSuchOp {
        /// What was asked for.
        what: String,
        /// Where.
        place: Place,
    },
    /// Nothing was built.
    #[error("the function has no instructions")]
    Empty,
}

/// A position in Rust source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path as the compiler names it.
    pub file: &'static str,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub col: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.col)
    }
}

impl From<&'static Location<'static>> for Place {
    fn from(at: &'static Location<'static>) -> Self {
        Self { file: at.file(), line: at.line(), col: at.column() }
    }
}

/// Everything that is wrong with a function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct BuildError {
    /// All of it, in the order of the code.
    pub problems: Vec<Problem>,
}

impl Builder {
    /// An empty function.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The position of the next instruction.
    #[must_use]
    pub fn here(&self) -> InsnIdx {
        InsnIdx::from(self.insns.len())
    }

    /// Appends a decoded operation; jump distances are taken as they are.
    #[track_caller]
    pub fn op(&mut self, op: Op) {
        let place = Location::caller();
        if op.row().is_none() && !matches!(op, Op::Raw(_)) {
            self.errors.push(Problem::NoSuchOp { what: format!("there is no operation `{op}`"), place: place.into() });
        }
        self.places.push((self.here(), place));
        self.insns.extend_from_slice(&op.encode());
    }

    /// Appends an operation whose constant a loader fills in.
    #[track_caller]
    pub fn reloc(&mut self, op: Op, kind: RelocKind) {
        self.relocs.push(Reloc { at: self.here(), kind });
        self.op(op);
    }

    /// Makes a label; `name` is for people. It has no place until [`Builder::bind`].
    #[track_caller]
    pub fn label(&mut self, name: &str) -> Label {
        self.labels.push(LabelState { name: name.into(), made: Location::caller(), at: None, used: false });
        Label(self.labels.len() - 1)
    }

    /// Gives a label its place: the next instruction.
    #[track_caller]
    pub fn bind(&mut self, label: Label) {
        let (here, place) = (self.here(), Location::caller());
        match self.labels.get_mut(label.0) {
            None => self.errors.push(Problem::ForeignLabel { place: place.into() }),
            Some(state) => match state.at {
                None => state.at = Some((here, place)),
                Some((_, first)) => {
                    let name = state.name.clone();
                    self.errors.push(Problem::BoundTwice { name, first: first.into(), place: place.into() });
                }
            },
        }
    }

    /// Makes a label and binds it to the next instruction.
    #[track_caller]
    pub fn label_here(&mut self, name: &str) -> Label {
        let label = self.label(name);
        self.bind(label);
        label
    }

    #[track_caller]
    fn jump(&mut self, op: Op, to: Label, long: bool) {
        let place = Location::caller();
        match self.labels.get_mut(to.0) {
            Some(state) => state.used = true,
            None => self.errors.push(Problem::ForeignLabel { place: place.into() }),
        }
        self.jumps.push(Jump { at: self.here(), to, place, long });
        self.op(op);
    }

    /// `goto label`; reaches ±32767 slots.
    #[track_caller]
    pub fn jmp(&mut self, to: Label) {
        self.jump(Op::Jump { off: 0 }, to, false);
    }

    /// `gotol label`; reaches everything. Linux 6.6 and its backports.
    #[track_caller]
    pub fn jmp_long(&mut self, to: Label) {
        self.jump(Op::JumpLong { off: 0 }, to, true);
    }

    /// `may_goto label`: leaves for `label` when the kernel's loop budget is spent. Linux 6.9.
    #[track_caller]
    pub fn may_goto(&mut self, to: Label) {
        self.jump(Op::MayGoto { off: 0 }, to, false);
    }

    /// `if dst cond src goto label`, on 64 bits.
    #[track_caller]
    pub fn jmp_if(&mut self, cond: Cond, dst: Reg, src: impl Into<Operand>, to: Label) {
        self.jump(Op::JumpIf { cond, width: Width::W64, dst, src: src.into(), off: 0 }, to, false);
    }

    /// `if dst cond src goto label`, on the low 32 bits. Linux 5.1.
    #[track_caller]
    pub fn jmp32_if(&mut self, cond: Cond, dst: Reg, src: impl Into<Operand>, to: Label) {
        self.jump(Op::JumpIf { cond, width: Width::W32, dst, src: src.into(), off: 0 }, to, false);
    }

    /// Fills the jumps in and checks the whole.
    ///
    /// # Errors
    /// All mistakes at once: labels without or with two places, jumps too far, an end that is run past, no code.
    pub fn finish(mut self) -> Result<Code, BuildError> {
        self.fill_jumps();
        self.check_labels();
        self.check_end();
        if !self.errors.is_empty() {
            return Err(BuildError { problems: self.errors });
        }
        let mut labels: Vec<LabelAt> =
            self.labels.iter().filter_map(|l| Some(LabelAt { at: l.at?.0, name: l.name.clone() })).collect();
        labels.sort_by_key(|label| label.at);
        let lines = line_records(&self.places);
        Ok(Code { insns: self.insns, relocs: self.relocs, lines, labels, sources: Vec::new() })
    }

    fn fill_jumps(&mut self) {
        for jump in &self.jumps {
            let Some((to, _)) = self.labels.get(jump.to.0).and_then(|label| label.at) else { continue };
            let distance = i64::from(to.0) - i64::from(jump.at.0) - 1;
            let insn = &mut self.insns[jump.at.index()];
            match (jump.long, i16::try_from(distance), i32::try_from(distance)) {
                (false, Ok(off), _) => insn.set_off(off),
                (true, _, Ok(imm)) => insn.set_imm(imm),
                _ => {
                    let name = self.labels[jump.to.0].name.clone();
                    self.errors.push(Problem::TooFar { name, distance, place: jump.place.into() });
                }
            }
        }
    }

    fn check_labels(&mut self) {
        let end = self.here();
        for label in &self.labels {
            let name = label.name.clone();
            match label.at {
                None if label.used => self.errors.push(Problem::Unbound { name, place: label.made.into() }),
                Some((at, place)) if at == end && label.used => {
                    self.errors.push(Problem::BoundAtEnd { name, place: place.into() });
                }
                _ => {}
            }
        }
    }

    fn check_end(&mut self) {
        let Some(&(last, place)) = self.places.last() else {
            self.errors.push(Problem::Empty);
            return;
        };
        let (op, _) = Op::decode_lenient(&self.insns[last.index()..]).unwrap_or((Op::Exit, 1));
        if !op.ends_block() {
            self.errors.push(Problem::FallsThrough { place: place.into() });
        }
    }
}

/// One record for each run of operations from the same place.
fn line_records(places: &[(InsnIdx, &'static Location<'static>)]) -> Vec<LineRec> {
    let mut lines: Vec<LineRec> = Vec::with_capacity(places.len());
    for (at, place) in places {
        let (line, col) = (place.line(), place.column());
        match lines.last() {
            Some(last) if (&*last.file, last.line, last.col) == (place.file(), line, col) => {}
            Some(last) if &*last.file == place.file() => {
                let file = last.file.clone();
                lines.push(LineRec { at: *at, file, line, col });
            }
            _ => lines.push(LineRec { at: *at, file: place.file().into(), line, col }),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::{R0, R1};
    use super::*;

    fn problems(build: impl FnOnce(&mut Builder)) -> Vec<Problem> {
        let mut b = Builder::new();
        build(&mut b);
        b.finish().unwrap_err().problems
    }

    #[test]
    fn jumps_go_both_ways_over_two_slot_loads() {
        let mut b = Builder::new();
        let top = b.label_here("top");
        let out = b.label("out");
        b.jmp_if(Cond::Eq, R1, 0, out);
        b.imm64(R0, u64::MAX);
        b.jmp(top);
        b.bind(out);
        b.exit();
        let code = b.finish().unwrap();
        assert_eq!(code.insns[0].off(), 3);
        assert_eq!(code.insns[3].off(), -4);
        assert_eq!(code.labels.iter().map(|l| (l.at.0, &*l.name)).collect::<Vec<_>>(), [(0, "top"), (4, "out")]);
    }

    #[test]
    fn lines_are_the_callers() {
        let mut b = Builder::new();
        let line = line!() + 1;
        b.mov(R0, 2);
        b.exit();
        let code = b.finish().unwrap();
        let got: Vec<_> = code.lines.iter().map(|l| (l.at.0, l.line)).collect();
        assert_eq!(got, [(0, line), (1, line + 1)]);
        assert!(code.lines[0].file.ends_with("insn/build.rs"), "{}", code.lines[0].file);
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let got = problems(|b| {
            let nowhere = b.label("nowhere");
            let twice = b.label_here("twice");
            b.jmp(nowhere);
            b.bind(twice);
            b.mov(R0, 2);
        });
        let text: Vec<String> = got.iter().map(ToString::to_string).collect();
        assert!(text.iter().any(|t| t.contains("label `nowhere` is never bound")), "{text:?}");
        assert!(text.iter().any(|t| t.contains("label `twice` is bound a second time")), "{text:?}");
        assert!(text.iter().any(|t| t.contains("run past its last instruction")), "{text:?}");
        assert_eq!(got.len(), 3);
    }

    #[test]
    fn ends_and_distances_are_checked() {
        assert_eq!(problems(|_| {}), [Problem::Empty]);
        let far = problems(|b| {
            let out = b.label("out");
            b.jmp_if(Cond::Eq, R1, 0, out);
            for _ in 0..40_000 {
                b.mov(R0, 0);
            }
            b.bind(out);
            b.exit();
        });
        assert!(matches!(far[..], [Problem::TooFar { distance: 40_000, .. }]), "{far:?}");
        let end = problems(|b| {
            let out = b.label("out");
            b.jmp(out);
            b.bind(out);
        });
        assert!(matches!(end[..], [Problem::BoundAtEnd { .. }]), "{end:?}");
    }

    #[test]
    fn long_jumps_reach_everything() {
        let mut b = Builder::new();
        let out = b.label("out");
        b.jmp_long(out);
        for _ in 0..40_000 {
            b.mov(R0, 0);
        }
        b.bind(out);
        b.exit();
        assert_eq!(b.finish().unwrap().insns[0], Insn::new(0x06, 0, 0, 0, 40_000));
    }
}
