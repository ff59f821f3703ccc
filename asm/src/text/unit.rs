//! Stage: text in. The code of one section while it is read, and its end: jumps filled in, functions cut apart.
//!
//! Input: operations, labels and open ends ([`Fix`]) in the order of the text. Output: one [`Code`] for a snippet, or one a
//! function for a file. Next: `file.rs`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::diag::{Collector, nearest};
use crate::insn::{Code, Insn, InsnIdx, LabelAt, LineRec, Op, Reloc, RelocKind, helper};

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

/// Code of one section.
#[derive(Debug, Default)]
pub(super) struct Unit<'s> {
    insns: Vec<Insn>,
    marks: Vec<(usize, Mark)>,
    fixes: Vec<(usize, Fix<'s>)>,
    labels: HashMap<&'s str, Label>,
    locals: HashMap<u32, Vec<usize>>,
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

    pub(super) fn label_span(&self, name: &str) -> Range<usize> {
        self.labels.get(name).map_or(0..0, |label| label.span.clone())
    }

    /// Slot of the label a fix names: an ordinary one, or the nearest local one before or behind.
    fn find(&self, at: usize, name: &str) -> Option<usize> {
        if let Some(label) = self.labels.get(name) {
            return Some(label.at);
        }
        let number = name.strip_suffix(['b', 'f'])?.parse::<u32>().ok()?;
        let places = self.locals.get(&number)?;
        let behind = places.partition_point(|place| *place <= at);
        if name.ends_with('b') { places[..behind].last().copied() } else { places.get(behind).copied() }
    }

    /// Fills everything in and cuts the code at `starts` (ascending; the first is 0). Names that are not labels of the same
    /// function are looked up with `known`. With one function, calls of labels become distances.
    pub(super) fn finish(
        mut self,
        starts: &[usize],
        files: &[Arc<str>],
        known: impl Fn(&str) -> Known,
        errors: &mut Collector,
    ) -> Vec<Code> {
        let mut relocs = Vec::new();
        for (at, fix) in std::mem::take(&mut self.fixes) {
            match self.resolve(at, &fix, starts, &known) {
                Ok(Some(kind)) => relocs.push(Reloc { at: InsnIdx::from(at), kind }),
                Ok(None) => {}
                Err((message, advice)) => errors.add(fix.span, message, advice),
            }
        }
        self.check_ends(starts, errors);
        self.cut(starts, files, relocs)
    }

    fn check_ends(&self, starts: &[usize], errors: &mut Collector) {
        for (name, label) in self.labels.iter().filter(|(name, label)| label.at == self.insns.len() && **name != "exit")
        {
            let advice = Some("put the label before an instruction, or add `exit` behind it".to_owned());
            if !self.insns.is_empty() || starts.len() > 1 {
                errors.add(label.span.clone(), format!("nothing follows the label `{name}`"), advice);
            }
        }
    }

    fn resolve(&mut self, at: usize, fix: &Fix<'s>, starts: &[usize], known: &impl Fn(&str) -> Known) -> Resolved {
        let name = || Arc::<str>::from(fix.name);
        let inside = self.find(at, fix.name);
        match fix.kind {
            FixKind::Jump | FixKind::LongJump => self.resolve_jump(at, fix, starts, inside),
            FixKind::Kfunc => Ok(Some(RelocKind::Kfunc { name: name() })),
            FixKind::Map => Ok(Some(RelocKind::Map { name: name() })),
            FixKind::MapValue(off) => Ok(Some(RelocKind::MapValue { name: name(), off })),
            FixKind::Ksym => Ok(Some(RelocKind::Ksym { name: name() })),
            FixKind::Call => self.resolve_call(at, fix, starts, inside, known(fix.name)),
            FixKind::Func => Ok(self.resolve_function(at, fix.name, starts, inside)),
            FixKind::Address(off) => match (known(fix.name), inside) {
                (Known::Map, _) if off == 0 => Ok(Some(RelocKind::Map { name: name() })),
                (Known::Map | Known::Variable, _) => Ok(Some(RelocKind::MapValue { name: name(), off })),
                (Known::Ksym, _) if off == 0 => Ok(Some(RelocKind::Ksym { name: name() })),
                (Known::Function, _) | (_, Some(_)) if off == 0 => {
                    Ok(self.resolve_function(at, fix.name, starts, inside))
                }
                (Known::Nothing, None) if starts.len() <= 1 && off == 0 => Ok(Some(RelocKind::Map { name: name() })),
                (Known::Nothing, None) => Err((format!("nothing has the name `{}`", fix.name), None)),
                _ => Err((format!("`{}` has no inside to point into", fix.name), None)),
            },
        }
    }

    fn resolve_jump(&mut self, at: usize, fix: &Fix<'s>, starts: &[usize], inside: Option<usize>) -> Resolved {
        let Some(to) = inside else {
            let near = nearest(fix.name, self.labels.keys().copied());
            let advice = near.map(|near| format!("did you mean `{near}`?"));
            return Err((format!("there is no label `{}`", fix.name), advice));
        };
        if starts.partition_point(|start| *start <= at) != starts.partition_point(|start| *start <= to) {
            let advice = "jumps stay inside their function; use `call`".to_owned();
            return Err((format!("`{}` is in another function", fix.name), Some(advice)));
        }
        let distance = distance(at, to);
        let insn = &mut self.insns[at];
        match (fix.kind, i16::try_from(distance), i32::try_from(distance)) {
            (FixKind::Jump, Ok(off), _) => insn.set_off(off),
            (FixKind::LongJump, _, Ok(imm)) => insn.set_imm(imm),
            _ => {
                let advice = "a jump reaches ±32767; `gotol` reaches everything (Linux 6.6)".to_owned();
                return Err((format!("`{}` is {distance} slots away", fix.name), Some(advice)));
            }
        }
        Ok(None)
    }

    fn resolve_call(
        &mut self,
        at: usize,
        fix: &Fix<'s>,
        starts: &[usize],
        inside: Option<usize>,
        known: Known,
    ) -> Resolved {
        let local = Insn::new(0x85, 0, crate::insn::PSEUDO_CALL, 0, -1);
        let name = || Arc::<str>::from(fix.name);
        if let Some(to) = inside {
            self.insns[at] = local;
            if starts.len() > 1 || known == Known::Function {
                return Ok(Some(RelocKind::Call { name: name() }));
            }
            self.insns[at].set_imm(i32::try_from(distance(at, to)).unwrap_or(i32::MAX));
            return Ok(None);
        }
        if known == Known::Function || known == Known::Kfunc {
            self.insns[at] = local;
            let kind = if known == Known::Kfunc {
                RelocKind::Kfunc { name: name() }
            } else {
                RelocKind::Call { name: name() }
            };
            return Ok(Some(kind));
        }
        if let Some(id) = helper::Id::by_name(fix.name) {
            self.insns[at].set_imm(id.0);
            return Ok(None);
        }
        let helpers = helper::ALL.iter().map(|helper| helper.name);
        let bare = fix.name.strip_prefix("bpf_").unwrap_or(fix.name);
        let near = nearest(bare, helpers.chain(self.labels.keys().copied()));
        let advice = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("for a function of the kernel write `call kfunc[{}]`", fix.name),
        };
        Err((format!("`{}` is neither a function here nor a helper", fix.name), Some(advice)))
    }

    /// The address of a function: a distance inside a snippet, else for the object layer to fill in.
    fn resolve_function(
        &mut self,
        at: usize,
        name: &str,
        starts: &[usize],
        inside: Option<usize>,
    ) -> Option<RelocKind> {
        self.insns[at].set_src(crate::insn::PSEUDO_FUNC);
        match inside {
            Some(to) if starts.len() <= 1 => {
                self.insns[at].set_imm(i32::try_from(distance(at, to)).unwrap_or(i32::MAX));
                None
            }
            _ => {
                self.insns[at].set_imm(-1);
                Some(RelocKind::Func { name: name.into() })
            }
        }
    }

    /// One `Code` a function.
    fn cut(self, starts: &[usize], files: &[Arc<str>], relocs: Vec<Reloc>) -> Vec<Code> {
        let labels = self.label_list();
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
            out.push(Code { insns: self.insns[own].to_vec(), relocs, lines, labels, sources: Vec::new() });
        }
        out
    }
}

/// Nothing more to do, or a symbol for the object layer; else message and advice.
type Resolved = Result<Option<RelocKind>, (String, Option<String>)>;

fn distance(at: usize, to: usize) -> i64 {
    let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    signed(to) - signed(at) - 1
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
    marks.get(first..last).unwrap_or_default().iter().filter_map(record).collect()
}
