//! Stage: text in. The code of one section while it is read, and its end: jumps filled in, functions cut apart.
//!
//! Input: operations, labels and open ends ([`Fix`]) in the order of the text. Output: one [`Code`] for a snippet, or one a
//! function for a file. Next: `resolve.rs`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::diag::Collector;
use super::types::Type;
use crate::btf::CoreReloKind;
use crate::insn::{Code, Insn, InsnIdx, LabelAt, LineRec, Op, Reloc};

/// Something in an operation that is known only later.
#[derive(Clone, Debug)]
pub(super) struct Fix<'s> {
    pub(super) name: &'s str,
    pub(super) span: Range<usize>,
    pub(super) kind: FixKind,
}

/// What the name in a [`Fix`] is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FixKind {
    /// 16-bit jump to a label.
    Jump,
    /// 32-bit jump to a label.
    LongJump,
    /// Call of a function, a helper or a kernel function.
    Call,
    /// Call of a kernel function.
    Kfunc,
    /// Address of whatever has this name, so many bytes in.
    Address(i32),
    /// A map.
    Map,
    /// An address in a map's first value, or in a global variable.
    MapValue(i32),
    /// Address of a function.
    Func,
    /// Address of a kernel variable.
    Ksym,
}

/// Source position of an operation; `file` counts the names given by `.file` and `.loc`, 0 is the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) file: u32,
    pub(super) line: u32,
    pub(super) col: u32,
}

#[derive(Debug)]
struct Label {
    at: usize,
    span: Range<usize>,
}

/// A CO-RE relocation, from `.core`.
#[derive(Clone, Debug)]
pub(super) struct Core {
    pub(super) at: usize,
    pub(super) kind: CoreReloKind,
    pub(super) ty: Type,
    pub(super) access: String,
}

/// Code of one section.
#[derive(Debug, Default)]
pub(super) struct Unit<'s> {
    pub(super) insns: Vec<Insn>,
    marks: Vec<(usize, Mark)>,
    fixes: Vec<(usize, Fix<'s>)>,
    labels: HashMap<&'s str, Label>,
    locals: HashMap<u32, Vec<usize>>,
    /// Relocations that the loader settles by the kernel's types, by position.
    pub(super) cores: Vec<Core>,
    /// Where functions start; known at the end.
    pub(super) starts: Vec<usize>,
}

/// What the rest of the file knows about a name that is no label of the same code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Map,
    Variable,
    Function,
    Kfunc,
    Ksym,
    Nothing,
}

impl<'s> Unit<'s> {
    pub(super) fn push(&mut self, op: Op, mark: Mark, fix: Option<Fix<'s>>) {
        let at = self.insns.len();
        if self.marks.last().is_none_or(|(_, last)| *last != mark) {
            self.marks.push((at, mark));
        }
        if let Some(fix) = fix {
            self.fixes.push((at, fix));
        }
        self.insns.extend_from_slice(&op.encode());
    }

    /// Number of slots so far.
    pub(super) fn len(&self) -> usize {
        self.insns.len()
    }

    /// Has nothing been put here, not even a label?
    pub(super) fn is_untouched(&self) -> bool {
        self.insns.is_empty() && self.labels.is_empty() && self.locals.is_empty()
    }

    /// Places a label here; gives back where it was already placed, if it was.
    pub(super) fn label(&mut self, name: &'s str, span: Range<usize>) -> Option<Range<usize>> {
        let at = self.insns.len();
        match self.labels.get(name) {
            Some(first) => Some(first.span.clone()),
            None => {
                self.labels.insert(name, Label { at, span });
                None
            }
        }
    }

    pub(super) fn local_label(&mut self, number: u32) {
        let at = self.insns.len();
        self.locals.entry(number).or_default().push(at);
    }

    /// The first operation that is `exit` becomes the label `exit`, unless there is one: the mnemonic language's rule.
    pub(super) fn imply_exit(&mut self) {
        if let Some(at) = self.insns.iter().position(|insn| *insn == Op::Exit.encode()[0]) {
            self.labels.entry("exit").or_insert(Label { at, span: 0..0 });
        }
    }

    /// Names that are called, or whose address is taken as a function's: these labels start functions.
    pub(super) fn called(&self) -> impl Iterator<Item = &'s str> {
        self.fixes
            .iter()
            .filter(|(_, fix)| matches!(fix.kind, FixKind::Call | FixKind::Func | FixKind::Address(0)))
            .map(|(_, fix)| fix.name)
            .filter(|name| self.labels.contains_key(name))
    }

    /// Name and position of each label, by position.
    pub(super) fn label_list(&self) -> Vec<(&'s str, usize)> {
        let mut list: Vec<_> = self.labels.iter().map(|(name, label)| (*name, label.at)).collect();
        list.sort_by_key(|&(name, at)| (at, name));
        list
    }

    /// Slot of the label that is named at slot `at`: an ordinary one, or the nearest local one before or behind.
    pub(super) fn find(&self, at: usize, name: &str) -> Option<usize> {
        if let Some(label) = self.labels.get(name) {
            return Some(label.at);
        }
        let number = name.strip_suffix(['b', 'f'])?.parse::<u32>().ok()?;
        let places = self.locals.get(&number)?;
        let behind = places.partition_point(|place| *place <= at);
        if name.ends_with('b') { places[..behind].last().copied() } else { places.get(behind).copied() }
    }

    pub(super) fn label_names(&self) -> impl Iterator<Item = &'s str> {
        self.labels.keys().copied()
    }

    pub(super) fn label_span(&self, name: &str) -> Range<usize> {
        self.labels.get(name).map_or(0..0, |label| label.span.clone())
    }

    /// Fills everything in and cuts the code at `starts` (ascending; the first is 0). Names that are not labels of the same
    /// function are looked up with `known`. Without `starts` this is a snippet: all is one function, calls of labels become
    /// distances, and an unknown name is a map's.
    pub(super) fn finish(
        mut self,
        starts: &[usize],
        files: &[Arc<str>],
        known: impl Fn(&str) -> Known,
        errors: &mut Collector,
    ) -> Vec<Code> {
        let snippet = starts.is_empty();
        self.starts = if snippet { vec![0] } else { starts.to_vec() };
        let mut relocs = Vec::new();
        for (at, fix) in std::mem::take(&mut self.fixes) {
            match self.resolve(at, &fix, snippet, known(fix.name)) {
                Ok(Some(kind)) => relocs.push(Reloc { at: InsnIdx::from(at), kind }),
                Ok(None) => {}
                Err((message, advice)) => errors.add(fix.span, message, advice),
            }
        }
        self.check_ends(errors);
        self.cut(files, relocs)
    }

    fn check_ends(&self, errors: &mut Collector) {
        let end = self.insns.len();
        for (name, label) in self.labels.iter().filter(|(_, label)| label.at == end && end > 0) {
            let advice = Some("put the label before an instruction, or add `exit` behind it".to_owned());
            errors.add(label.span.clone(), format!("nothing follows the label `{name}`"), advice);
        }
    }

    /// Takes the CO-RE relocations of the function that starts at `start`, counted from there.
    pub(super) fn cores_of(&self, start: usize, end: usize) -> Vec<Core> {
        let own = part(&self.cores, &(start..end), |core| core.at);
        own.iter().map(|core| Core { at: core.at - start, ..core.clone() }).collect()
    }

    /// One `Code` a function.
    fn cut(mut self, files: &[Arc<str>], relocs: Vec<Reloc>) -> Vec<Code> {
        let (labels, starts) = (self.label_list(), std::mem::take(&mut self.starts));
        let mut out = Vec::with_capacity(starts.len());
        for (i, &start) in starts.iter().enumerate() {
            let end = starts.get(i + 1).copied().unwrap_or(self.insns.len());
            let own = start..end;
            let here = |at: usize| InsnIdx::from(at - start);
            let lines = lines_of(&self.marks, &own, files);
            let relocs = part(&relocs, &own, |reloc| reloc.at.index())
                .iter()
                .map(|reloc| Reloc { at: here(reloc.at.index()), kind: reloc.kind.clone() })
                .collect();
            let labels = part(&labels, &own, |label| label.1)
                .iter()
                .map(|&(name, at)| LabelAt { at: here(at), name: name.into() })
                .collect();
            let whole = own.len() == self.insns.len();
            let insns = if whole { std::mem::take(&mut self.insns) } else { self.insns[own].to_vec() };
            out.push(Code { insns, relocs, lines, labels, sources: Vec::new() });
        }
        out
    }
}

/// The part of a sorted list that lies in a range of slots.
fn part<'l, T>(list: &'l [T], own: &Range<usize>, at: impl Fn(&T) -> usize) -> &'l [T] {
    let first = list.partition_point(|item| at(item) < own.start);
    let last = list.partition_point(|item| at(item) < own.end);
    &list[first..last]
}

/// The line records of a range of slots, counted from its start.
fn lines_of(marks: &[(usize, Mark)], own: &Range<usize>, files: &[Arc<str>]) -> Vec<LineRec> {
    // The mark in force at the start may stand before it.
    let first = marks.partition_point(|(at, _)| *at <= own.start).saturating_sub(1);
    let last = marks.partition_point(|(at, _)| *at < own.end);
    let record = |(at, mark): &(usize, Mark)| {
        let file = files.get(usize::try_from(mark.file).unwrap_or(0))?.clone();
        Some(LineRec { at: InsnIdx::from(at.saturating_sub(own.start)), file, line: mark.line, col: mark.col })
    };
    let marks = marks.get(first..last).unwrap_or_default();
    let mut lines = Vec::with_capacity(marks.len());
    lines.extend(marks.iter().filter_map(record));
    lines
}
