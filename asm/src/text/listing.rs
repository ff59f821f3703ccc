//! Stage: text out. Whole functions, with labels and the names that relocations carry.
//!
//! Input: [`Code`]. Output: text that assembles to the same code, labels included. Next: `mod.rs`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::ink::Ink;
use super::print::{write_jump, write_op};
use crate::insn::{Call, Code, Insn, InsnIdx, LineRec, Op, Reg, RelocKind};

/// What a listing shows besides instructions and labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The number of each slot, as a comment.
    pub numbers: bool,
    /// The number of the first slot. Where several functions go into one text, numbers and labels count on, so that no
    /// label comes twice.
    pub first: usize,
    /// Source lines: position and, where it is known, text, as `.loc`.
    pub lines: bool,
}

/// Code as text that [`super::assemble`] reads back: the same slots, the same relocations.
///
/// ```
/// let code = asm::text::assemble("1: r0 += -1\n if r0 != 0 goto 1b\n exit")?;
/// assert_eq!(asm::text::print(&code), ".L0:\n    r0 += -1\n    if r0 != 0 goto .L0\n    exit\n");
/// # Ok::<(), asm::text::Diagnostics>(())
/// ```
#[must_use]
pub fn print(code: &Code) -> String {
    print_with(code, Options::default())
}

/// As [`print()`], with more to see.
#[must_use]
pub fn print_with(code: &Code, options: Options) -> String {
    print_noted(code, options, &[])
}

/// As [`print_with`]; before each slot stand the lines that `notes` has for it, in order of slots.
#[must_use]
pub fn print_noted(code: &Code, options: Options, notes: &[(InsnIdx, String)]) -> String {
    let mut out = String::with_capacity(code.insns.len() * 32);
    // Writing to a string does not fail.
    let _ = Listing::new(code, options.first).write(&mut out, code, options, notes);
    out
}

/// Positions that need a name, and the relocations by position.
struct Listing<'c> {
    first: usize,
    labels: BTreeMap<usize, Vec<&'c str>>,
    targets: Vec<bool>,
}

impl<'c> Listing<'c> {
    fn new(code: &'c Code, first: usize) -> Self {
        let mut labels: BTreeMap<usize, Vec<&'c str>> = BTreeMap::new();
        for label in &code.labels {
            labels.entry(label.at.index()).or_default().push(&label.name);
        }
        let mut starts = vec![false; code.insns.len()];
        let mut wanted = vec![false; code.insns.len()];
        for (at, op) in ops(&code.insns) {
            starts[at] = true;
            if let Some(to) = jump_target(at, op).filter(|to| *to < code.insns.len()) {
                wanted[to] = true;
            }
        }
        // A jump into the second half of a constant keeps its distance.
        let targets = wanted.iter().zip(&starts).map(|(wanted, start)| *wanted && *start).collect();
        Self { first, labels, targets }
    }

    /// The name of a slot, if it has or needs one.
    fn name(&self, at: usize, f: &mut impl fmt::Write) -> fmt::Result {
        match self.labels.get(&at).and_then(|names| names.iter().find(|name| is_plain(name))) {
            Some(name) => f.write_str(name),
            None => local(f, self.first + at),
        }
    }

    fn write(&self, out: &mut String, code: &Code, options: Options, notes: &[(InsnIdx, String)]) -> fmt::Result {
        let mut notes = notes.iter().peekable();
        let mut relocs = code.relocs.iter().peekable();
        let mut lines = code.lines.iter().peekable();
        for (at, op) in ops(&code.insns) {
            if options.lines {
                while let Some(line) = lines.next_if(|line| line.at.index() <= at) {
                    write_line(out, code, line)?;
                }
            }
            self.write_labels(out, at)?;
            while let Some((_, note)) = notes.next_if(|note| note.0.index() <= at) {
                writeln!(out, "    {note}")?;
            }
            out.push_str("    ");
            while relocs.next_if(|reloc| reloc.at.index() < at).is_some() {}
            match relocs.next_if(|reloc| reloc.at == InsnIdx::from(at)) {
                Some(reloc) => write_reloc(out, op, &reloc.kind)?,
                None => self.write_op(out, at, op)?,
            }
            if options.numbers {
                write!(out, "  // {}", self.first + at)?;
            }
            out.push('\n');
        }
        Ok(())
    }

    fn write_labels(&self, out: &mut String, at: usize) -> fmt::Result {
        let mut named = false;
        for name in self.labels.get(&at).into_iter().flatten().filter(|name| is_plain(name)) {
            writeln!(out, "{name}:")?;
            named = true;
        }
        if self.targets[at] && !named {
            local(out, self.first + at)?;
            out.push_str(":\n");
        }
        Ok(())
    }

    fn write_op(&self, out: &mut String, at: usize, op: Op) -> fmt::Result {
        let Some(to) = jump_target(at, op).filter(|to| self.targets.get(*to) == Some(&true)) else {
            return write_op(out, op);
        };
        write_jump(out, op)?;
        self.name(to, out)
    }
}

/// The label of a slot that has no name.
fn local(out: &mut impl fmt::Write, at: usize) -> fmt::Result {
    out.write_str(".L")?;
    Ink(out).number(i64::try_from(at).unwrap_or(i64::MAX))
}

/// The operations of some code, each with its slot.
pub(super) fn ops(insns: &[Insn]) -> impl Iterator<Item = (usize, Op)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (op, slots) = Op::decode_lenient(insns.get(at..)?)?;
        let here = at;
        at += slots;
        Some((here, op))
    })
}

/// Where a jump lands, counted from the start of the code.
fn jump_target(at: usize, op: Op) -> Option<usize> {
    let distance = match op {
        Op::Jump { off } | Op::JumpIf { off, .. } | Op::MayGoto { off } => i64::from(off),
        Op::JumpLong { off } => i64::from(off),
        _ => return None,
    };
    usize::try_from(i64::try_from(at).ok()? + 1 + distance).ok()
}

/// Is this a name, though perhaps a register's?
pub(super) fn is_word(name: &str) -> bool {
    let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$');
    !name.is_empty() && name.bytes().all(byte) && !name.as_bytes()[0].is_ascii_digit()
}

/// Can this name stand in a text as it is?
pub(super) fn is_plain(name: &str) -> bool {
    let register = |name: &str| {
        name.strip_prefix(['r', 'w'])
            .is_some_and(|n| !n.is_empty() && n.len() < 3 && n.bytes().all(|b| b.is_ascii_digit()))
    };
    is_word(name) && !register(name) && name != "pc"
}

/// A symbol, in quotes where it is no plain name.
struct Symbol<'n>(&'n str);

impl fmt::Display for Symbol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain(self.0) { f.write_str(self.0) } else { write!(f, "\"{}\"", self.0) }
    }
}

fn write_reloc(out: &mut String, op: Op, kind: &RelocKind) -> fmt::Result {
    let name = Symbol(kind.name());
    let dst = match op {
        Op::LoadImm64 { dst, .. } => dst,
        Op::Call(Call::Helper(_) | Call::Local(_) | Call::Kfunc { .. }) => Reg::R0,
        // A relocation against anything else is not ours; the slot is kept as it is.
        _ => return write!(out, "{op}"),
    };
    match kind {
        RelocKind::Map { .. } => write!(out, "{dst} = map[{name}] ll"),
        RelocKind::MapValue { off, .. } => write!(out, "{dst} = map[{name}][0]{off:+} ll"),
        RelocKind::Func { .. } => write!(out, "{dst} = func[{name}] ll"),
        RelocKind::Ksym { .. } => write!(out, "{dst} = ksym[{name}] ll"),
        RelocKind::Call { .. } => write!(out, "call {name}"),
        RelocKind::Kfunc { .. } => write!(out, "call kfunc[{name}]"),
    }
}

fn write_line(out: &mut String, code: &Code, line: &LineRec) -> fmt::Result {
    write!(out, "    .loc {} {} {}", Quoted(&line.file), line.line, line.col)?;
    match code.line_text(line).map(str::trim) {
        Some(text) if !text.is_empty() => writeln!(out, " {}", Quoted(text)),
        _ => writeln!(out),
    }
}

/// A text in quotes, with what would end it escaped.
pub(super) struct Quoted<'t>(pub(super) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\0' => f.write_str("\\0")?,
                c => f.write_char(c)?,
            }
        }
        f.write_str("\"")
    }
}
