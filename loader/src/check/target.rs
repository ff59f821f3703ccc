//! Stage: will it load, on a kernel that is not here? Input: a [`Spec`] and that kernel's types. Output: for each program
//! what it needs and the kernel does not have. Pure: no system call, the same files give the same answer.
//!
//! A kernel's types list what it can do: helpers, types of maps and programs and places of attachment are enumerations, and
//! kernel functions are there by name. Backports are in them, so they are better than any table of versions. What the
//! verifier thinks of the code they cannot tell. Read next: `needs.rs`.

mod needs;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

use asm::btf::{Kind, Type, TypeId};

use super::{Finding, ProgReport, Verdict, causes, report};
use crate::btf::KernelBtf;
use crate::load::place;
use crate::reloc::core::{self, Candidates};
use crate::reloc::{Linked, link};
use crate::spec::{ProgSpec, Spec};

/// A kernel as its types describe it.
#[derive(Debug)]
pub struct Target {
    btf: KernelBtf,
    enums: HashMap<&'static str, Vec<(String, u64)>>,
    kfuncs: OnceCell<BTreeSet<TypeId>>,
}

/// The enumerations that say what a kernel knows.
const ENUMS: [&str; 5] = ["bpf_func_id", "bpf_map_type", "bpf_prog_type", "bpf_attach_type", "bpf_link_type"];

impl Target {
    /// Reads what the types say.
    #[must_use]
    pub fn new(btf: KernelBtf) -> Self {
        let found = btf.find_all(&ENUMS.map(|name| (name, Kind::ENUM)));
        let mut enums = HashMap::new();
        for ((name, _), (_, id)) in found {
            let Ok(Type::Enum { values, .. }) = btf.vmlinux().get(id) else { continue };
            let values = values.iter().map(|&(value, number)| (value.to_owned(), u64::from(number))).collect();
            // The keys are our own words, from the array above.
            enums.insert(ENUMS.into_iter().find(|own| *own == name).unwrap_or_default(), values);
        }
        Self { btf, enums, kfuncs: OnceCell::new() }
    }

    /// Whether an enumeration has a number; `None` if these types do not have the enumeration.
    pub(crate) fn has(&self, name: &'static str, number: u32) -> Option<bool> {
        let values = self.enums.get(name)?;
        // The last enumerator of each only counts the others.
        let counts = |value: &str| value.starts_with("__MAX_BPF") || value.starts_with("__BPF_FUNC_MAX_ID");
        Some(values.iter().any(|(value, known)| *known == u64::from(number) && !counts(value)))
    }

    /// The kinds of links that it knows, in the field's words.
    pub(crate) fn links(&self) -> Option<Vec<String>> {
        let names = self.enums.get("bpf_link_type")?.iter().map(|(name, _)| name);
        let names = names.filter_map(|name| Some(name.strip_prefix("BPF_LINK_TYPE_")?.to_lowercase()));
        Some(names.filter(|name| name != "unspec").collect())
    }

    /// A type of the kernel itself.
    pub(crate) fn find(&self, name: &str, kind: Kind) -> Option<TypeId> {
        self.btf.find_all(&[(name, kind)]).get(&(name, kind)).filter(|(module, _)| *module == 0).map(|&(_, id)| id)
    }

    /// The functions that are marked as kernel functions for programs; empty where these types have no such marks
    /// (before Linux 6.10).
    fn kfuncs(&self) -> &BTreeSet<TypeId> {
        self.kfuncs.get_or_init(|| {
            let types = self.btf.vmlinux().types().flatten();
            let marked = types.filter_map(|(_, ty)| match ty {
                Type::DeclTag { name: "bpf_kfunc", ty, .. } => Some(ty),
                _ => None,
            });
            marked.collect()
        })
    }
}

/// What each program of an object needs and the kernel does not have.
#[must_use]
pub fn against(spec: &Spec, target: &Target) -> Vec<ProgReport> {
    let judge = |prog: &ProgSpec| if prog.autoload { judge(spec, prog, target) } else { Verdict::LeftOut };
    spec.progs.iter().map(|prog| report(prog, judge(prog))).collect()
}

fn judge(spec: &Spec, prog: &ProgSpec, target: &Target) -> Verdict {
    let mut linked = match link(spec, prog) {
        Ok(linked) => linked,
        Err(error) => return Verdict::Failed { causes: causes(&error) },
    };
    let mut found = Findings { spec, linked: linked.clone(), missing: Vec::new(), doubts: Vec::new() };
    needs::kinds(&mut found, prog, target);
    needs::helpers(&mut found, target);
    needs::maps(&mut found, target);
    needs::symbols(&mut found, target);
    if let Err(failed) = fit(&mut found, &mut linked, target) {
        return failed;
    }
    let Findings { missing, doubts, .. } = found;
    if missing.is_empty() { Verdict::Known { doubts } } else { Verdict::Lacks { missing, doubts } }
}

/// What has been found of a program so far.
struct Findings<'s> {
    spec: &'s Spec,
    linked: Linked,
    missing: Vec<Finding>,
    doubts: Vec<Finding>,
}

impl Findings<'_> {
    /// Something about an instruction, or about the program as a whole.
    fn at(&self, what: String, insn: Option<usize>) -> Finding {
        let insn = insn.and_then(|insn| u32::try_from(insn).ok());
        Finding { what, at: insn.and_then(|insn| place(self.spec, &self.linked.lines, insn)) }
    }

    fn lacks(&mut self, what: String, insn: Option<usize>) {
        let finding = self.at(what, insn);
        if !self.missing.contains(&finding) {
            self.missing.push(finding);
        }
    }

    fn doubts(&mut self, what: String, insn: Option<usize>) {
        let finding = self.at(what, insn);
        if !self.doubts.contains(&finding) {
            self.doubts.push(finding);
        }
    }
}

/// CO-RE as a dry run: each relocation has its answer, or is named.
fn fit(found: &mut Findings<'_>, linked: &mut Linked, target: &Target) -> Result<(), Verdict> {
    let failed = |error: &dyn std::error::Error| Verdict::Failed { causes: causes(error) };
    let candidates = Candidates::find(found.spec, [&*linked], &target.btf);
    let mut candidates = candidates.map_err(|error| failed(&error))?;
    let fitted = core::dry_run(found.spec, linked, &mut candidates);
    let guarded = fitted.iter().any(|relo| relo.asks && matches!(relo.found, Ok(false)));
    for relo in fitted {
        match relo.found {
            Ok(true) => {}
            Ok(false) if relo.asks => {}
            Ok(false) if guarded => found.doubts(
                format!("{} is not there; a question of the program about such things is answered with no, which may keep it from this line", relo.what),
                Some(relo.at),
            ),
            Ok(false) => found.lacks(format!("{} is not there", relo.what), Some(relo.at)),
            Err(error) => found.lacks(format!("{}: {}", relo.what, causes(&error).join(": ")), Some(relo.at)),
        }
    }
    Ok(())
}
