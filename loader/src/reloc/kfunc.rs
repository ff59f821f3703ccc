//! Stage: spec → relocated, last step. Input: a linked program and what the external symbols are in this kernel. Output:
//! addresses, BTF ids and calls of kernel functions in place. Next file: `../load.rs`.

use asm::insn::{Insn, PSEUDO_BTF_ID, PSEUDO_KFUNC_CALL};

use super::{Answers, ExternAnswer, Linked, Poisoned, RelocError, maps};
use crate::spec::{Reloc, RelocKind, Spec};

/// A call of this helper number says in the verifier's log that a weak kernel function is absent. The number is libbpf's,
/// so that people and tools know it; the index of the symbol is added.
const POISON_CALL: i32 = 2_002_000_000;

/// Fills in one [`RelocKind::Extern`] or [`RelocKind::ExternCall`].
///
/// # Errors
/// There is no answer for the symbol, or it does not fit the instruction.
pub fn apply(linked: &mut Linked, spec: &Spec, reloc: Reloc, answers: &Answers) -> Result<(), RelocError> {
    let (RelocKind::Extern(index) | RelocKind::ExternCall(index)) = reloc.kind else { return Ok(()) };
    let (Some(answer), Some(ext)) = (answers.externs.get(index), spec.externs.get(index)) else {
        let from = format!("instruction {}", reloc.at);
        return Err(RelocError::NoSuchPart { from, what: "extern", index });
    };
    let error = |linked: &Linked, problem: String| RelocError::Insn {
        func: linked
            .place(reloc.at)
            .and_then(|(func, _)| spec.funcs.get(func))
            .map_or_else(String::new, |f| f.name.clone()),
        at: linked.place(reloc.at).map_or(reloc.at, |(_, at)| at),
        insn: linked.insns.get(reloc.at).map_or_else(String::new, Insn::to_string),
        problem,
    };
    if matches!(reloc.kind, RelocKind::ExternCall(_)) {
        let Some(insn) = linked.insns.get_mut(reloc.at) else {
            return Err(error(linked, "it is not in the program".to_owned()));
        };
        match *answer {
            ExternAnswer::Function { id, fd_index } => {
                *insn = Insn::new(insn.code(), insn.dst(), PSEUDO_KFUNC_CALL, fd_index, id.cast_signed());
            }
            ExternAnswer::Absent => {
                let number = i32::try_from(index).ok().and_then(|index| POISON_CALL.checked_add(index));
                *insn = Insn::new(insn.code(), 0, 0, 0, number.unwrap_or(i32::MAX));
                let what = format!("kernel function `{}`", ext.name);
                linked.poisoned.push(Poisoned { at: reloc.at, what });
            }
            _ => return Err(error(linked, format!("`{}` is called, but is not a kernel function", ext.name))),
        }
        return Ok(());
    }
    if let ExternAnswer::Config { map, off } = *answer {
        return maps::set(linked, reloc.at, map, Some(off), answers);
    }
    let Some([first, second]) = linked.pair(reloc.at).filter(|pair| pair[0].is_ld_imm64()) else {
        return Err(error(linked, format!("it wants `{}`, but is not `ld_imm64`", ext.name)));
    };
    let (src, low, high) = match *answer {
        ExternAnswer::Address(address) => {
            let [low, high] = halves(address);
            (0, low, high)
        }
        ExternAnswer::Variable { id, btf_fd } => (PSEUDO_BTF_ID, id.cast_signed(), btf_fd),
        // The address of a kernel function: only whether it is there can be asked.
        ExternAnswer::Function { id, .. } => (PSEUDO_BTF_ID, id.cast_signed(), 0),
        ExternAnswer::Absent | ExternAnswer::Config { .. } => (0, 0, 0),
    };
    first.set_src(src);
    first.set_imm(low);
    second.set_imm(high);
    Ok(())
}

/// The low and the high 32 bits, as the two constants of an `ld_imm64`.
pub(super) fn halves(value: u64) -> [i32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h])]
}
