//! Stage: text in. What the open ends of a section's code turn out to be.
//!
//! Input: a [`Fix`] and what the file knows about its name. Output: a filled instruction, a relocation for the object layer,
//! or a mistake. Next: `file.rs`.

use std::sync::Arc;

use super::diag::nearest;
use super::unit::{Fix, FixKind, Known, Unit};
use crate::insn::{Insn, PSEUDO_CALL, PSEUDO_FUNC, RelocKind, helper};

/// Nothing more to do, or a symbol for the object layer; else message and advice.
pub(super) type Resolved = Result<Option<RelocKind>, (String, Option<String>)>;

fn refuse<T>(message: String, advice: impl Into<Option<String>>) -> Result<T, (String, Option<String>)> {
    Err((message, advice.into()))
}

impl Unit<'_> {
    /// Settles one open end. In a snippet nothing is declared, so what a name stands for follows from how it is written.
    pub(super) fn resolve(&mut self, at: usize, fix: &Fix<'_>, snippet: bool, known: Known) -> Resolved {
        let name = || Arc::<str>::from(fix.name);
        let inside = self.find(at, fix.name);
        let must_be = |want: &[Known], what: &str| match known {
            _ if snippet || want.contains(&known) => Ok(()),
            Known::Nothing => refuse(format!("there is no {what} `{}`", fix.name), None),
            _ => refuse(format!("`{}` is no {what}", fix.name), None),
        };
        match fix.kind {
            FixKind::Jump | FixKind::LongJump => self.resolve_jump(at, fix, inside),
            FixKind::Call => self.resolve_call(at, fix, inside, known),
            FixKind::Address(off) => self.resolve_address(at, fix, off, snippet, known),
            FixKind::Func => {
                must_be(&[Known::Function], "function")?;
                Ok(self.resolve_function(at, fix.name, inside, snippet))
            }
            FixKind::Kfunc => {
                must_be(&[Known::Kfunc], "declared kernel function")?;
                Ok(Some(RelocKind::Kfunc { name: name() }))
            }
            FixKind::Map => must_be(&[Known::Map], "map").map(|()| Some(RelocKind::Map { name: name() })),
            FixKind::MapValue(off) => {
                must_be(&[Known::Variable], "variable")?;
                Ok(Some(RelocKind::MapValue { name: name(), off }))
            }
            FixKind::Ksym => {
                must_be(&[Known::Ksym, Known::Kfunc], "declared kernel symbol")?;
                Ok(Some(RelocKind::Ksym { name: name() }))
            }
        }
    }

    /// `name + off ll`: whatever has this name.
    fn resolve_address(&mut self, at: usize, fix: &Fix<'_>, off: i32, snippet: bool, known: Known) -> Resolved {
        let name = || Arc::<str>::from(fix.name);
        let inside = self.find(at, fix.name);
        match known {
            Known::Variable => Ok(Some(RelocKind::MapValue { name: name(), off })),
            Known::Nothing if inside.is_none() && !snippet => {
                let advice =
                    "declare it: `.map` for a map, `.var` for a variable, `.extern var` for one of the kernel's";
                refuse(format!("nothing has the name `{}`", fix.name), advice.to_owned())
            }
            _ if off != 0 => refuse(format!("`{}` has no inside to point into", fix.name), None),
            Known::Map => Ok(Some(RelocKind::Map { name: name() })),
            // The address of a weak function of the kernel says whether there is one.
            Known::Ksym | Known::Kfunc => Ok(Some(RelocKind::Ksym { name: name() })),
            Known::Function => Ok(self.resolve_function(at, fix.name, inside, snippet)),
            Known::Nothing if inside.is_some() => Ok(self.resolve_function(at, fix.name, inside, snippet)),
            Known::Nothing => Ok(Some(RelocKind::Map { name: name() })),
        }
    }

    fn resolve_jump(&mut self, at: usize, fix: &Fix<'_>, inside: Option<usize>) -> Resolved {
        let Some(to) = inside else {
            let advice = if fix.name.starts_with(|c: char| c.is_ascii_digit()) {
                Some("`1f` is the next label `1:` behind the jump, `1b` the last one before it".to_owned())
            } else {
                nearest(fix.name, self.label_names()).map(|near| format!("did you mean `{near}`?"))
            };
            return refuse(format!("there is no label `{}`", fix.name), advice);
        };
        let function = |slot| self.starts.partition_point(|start| *start <= slot);
        if function(at) != function(to) {
            let advice = "jumps stay inside their function; use `call`".to_owned();
            return refuse(format!("`{}` is in another function", fix.name), advice);
        }
        let distance = distance(at, to);
        let insn = &mut self.insns[at];
        match (fix.kind, i16::try_from(distance), i32::try_from(distance)) {
            (FixKind::Jump, Ok(off), _) => insn.set_off(off),
            (FixKind::LongJump, _, Ok(imm)) => insn.set_imm(imm),
            _ => {
                let advice = "a jump reaches ±32767; `gotol` reaches everything (Linux 6.6)".to_owned();
                return refuse(format!("`{}` is {distance} slots away", fix.name), advice);
            }
        }
        Ok(None)
    }

    fn resolve_call(&mut self, at: usize, fix: &Fix<'_>, inside: Option<usize>, known: Known) -> Resolved {
        let local = Insn::new(0x85, 0, PSEUDO_CALL, 0, -1);
        let name = || Arc::<str>::from(fix.name);
        match (known, inside) {
            (Known::Function, _) => {
                self.insns[at] = local;
                return Ok(Some(RelocKind::Call { name: name() }));
            }
            (Known::Kfunc, _) => {
                self.insns[at] = local;
                return Ok(Some(RelocKind::Kfunc { name: name() }));
            }
            (_, Some(to)) => {
                self.insns[at] = local;
                self.insns[at].set_imm(i32::try_from(distance(at, to)).unwrap_or(i32::MAX));
                return Ok(None);
            }
            _ => {}
        }
        if let Some(id) = helper::Id::by_name(fix.name) {
            self.insns[at].set_imm(id.0);
            return Ok(None);
        }
        let helpers = helper::ALL.iter().map(|helper| helper.name);
        let bare = fix.name.strip_prefix("bpf_").unwrap_or(fix.name);
        let advice = match nearest(bare, helpers.chain(self.label_names())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare a function of the kernel's: `.extern func {}(…) -> …`", fix.name),
        };
        refuse(format!("`{}` is neither a function here nor a helper", fix.name), advice)
    }

    /// The address of a function: a distance inside a snippet, else for the object layer to fill in.
    fn resolve_function(&mut self, at: usize, name: &str, inside: Option<usize>, snippet: bool) -> Option<RelocKind> {
        self.insns[at].set_src(PSEUDO_FUNC);
        match inside {
            Some(to) if snippet => {
                self.insns[at].set_imm(i32::try_from(distance(at, to)).unwrap_or(i32::MAX));
                None
            }
            _ => {
                self.insns[at].set_imm(-1);
                Some(RelocKind::Func { name: name.into() })
            }
        }
    }
}

/// Slots from the instruction after `at` to `to`.
fn distance(at: usize, to: usize) -> i64 {
    let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    signed(to) - signed(at) - 1
}
