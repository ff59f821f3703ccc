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
    let (Some(&answer), Some(ext)) = (answers.externs.get(index), spec.externs.get(index)) else {
        let from = format!("instruction {}", reloc.at);
        return Err(RelocError::NoSuchPart { from, what: "extern", index });
    };
    let done = match (reloc.kind, answer) {
        (RelocKind::ExternCall(_), _) => call(linked, reloc.at, index, &ext.name, answer),
        (_, ExternAnswer::Config { map, off }) => return maps::set(linked, reloc.at, map, Some(off), answers),
        _ => address(linked, reloc.at, answer),
    };
    done.ok_or_else(|| {
        let (func, at) = linked.place(reloc.at).unwrap_or((0, reloc.at));
        RelocError::Insn {
            func: spec.funcs.get(func).map_or_else(String::new, |func| func.name.clone()),
            at,
            insn: linked.insns.get(reloc.at).map_or_else(String::new, Insn::to_string),
            problem: format!("it cannot take `{}` as what it is in this kernel: {answer:?}", ext.name),
        }
    })
}

/// A call of a kernel function; of one that is not there, a call that the verifier must not meet.
fn call(linked: &mut Linked, at: usize, index: usize, name: &str, answer: ExternAnswer) -> Option<()> {
    let insn = linked.insns.get_mut(at)?;
    match answer {
        ExternAnswer::Function { id, fd_index } => {
            *insn = Insn::new(insn.code(), insn.dst(), PSEUDO_KFUNC_CALL, fd_index, id.cast_signed());
        }
        ExternAnswer::Absent => {
            let number = i32::try_from(index).ok().and_then(|index| POISON_CALL.checked_add(index));
            *insn = Insn::new(insn.code(), 0, 0, 0, number.unwrap_or(i32::MAX));
            linked.poisoned.push(Poisoned { at, what: format!("kernel function `{name}`") });
        }
        _ => return None,
    }
    Some(())
}

/// The address of a symbol, or zero for one that is not there.
fn address(linked: &mut Linked, at: usize, answer: ExternAnswer) -> Option<()> {
    let [first, second] = linked.pair(at).filter(|pair| pair[0].is_ld_imm64())?;
    let (src, [low, high]) = match answer {
        ExternAnswer::Address(address) => (0, halves(address)),
        ExternAnswer::Variable { id, btf_fd } => (PSEUDO_BTF_ID, [id.cast_signed(), btf_fd]),
        // Of a function only whether it is there can be asked.
        ExternAnswer::Function { id, .. } => (PSEUDO_BTF_ID, [id.cast_signed(), 0]),
        ExternAnswer::Absent | ExternAnswer::Config { .. } => (0, [0, 0]),
    };
    first.set_src(src);
    first.set_imm(low);
    second.set_imm(high);
    Some(())
}

/// The low and the high 32 bits, as the two constants of an `ld_imm64`.
pub(super) fn halves(value: u64) -> [i32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h])]
}
