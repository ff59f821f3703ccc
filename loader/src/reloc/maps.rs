//! Stage: spec → relocated, third step. Input: a linked program and the descriptors of its maps. Output: `ld_imm64`
//! instructions that name those maps, or bytes in them. Next file: `kfunc.rs`.

use asm::insn::{PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};

use super::{Answers, Linked, RelocError};
use crate::spec::{Reloc, RelocKind};

/// Fills in one [`RelocKind::Map`] or [`RelocKind::MapValue`].
///
/// # Errors
/// There is no descriptor for the map, or the place is not an `ld_imm64`.
pub fn apply(linked: &mut Linked, reloc: Reloc, answers: &Answers) -> Result<(), RelocError> {
    let (map, value) = match reloc.kind {
        RelocKind::Map(map) => (map, None),
        RelocKind::MapValue { map, off } => (map, Some(off)),
        _ => return Ok(()),
    };
    set(linked, reloc.at, map, value, answers)
}

/// Writes descriptor and, for an address inside the value, offset.
pub(super) fn set(
    linked: &mut Linked,
    at: usize,
    map: usize,
    off: Option<u32>,
    answers: &Answers,
) -> Result<(), RelocError> {
    let fd = *answers.maps.get(map).ok_or_else(|| RelocError::NoSuchPart {
        from: format!("instruction {at}"),
        what: "map",
        index: map,
    })?;
    let Some([first, second]) = linked.pair(at).filter(|pair| pair[0].is_ld_imm64()) else {
        return Err(RelocError::Insn {
            func: String::new(),
            at,
            insn: linked.insns.get(at).map_or_else(String::new, ToString::to_string),
            problem: "it has a relocation for a map, but is not `ld_imm64`".to_owned(),
        });
    };
    first.set_src(if off.is_some() { PSEUDO_MAP_VALUE } else { PSEUDO_MAP_FD });
    first.set_imm(fd);
    second.set_imm(off.unwrap_or(0).cast_signed());
    Ok(())
}
