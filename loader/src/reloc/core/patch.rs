//! Stage: CO-RE, its end. Input: an [`Outcome`] and the instruction it belongs to. Output: the instruction with the new
//! number; or, where the kernel has no such thing, one that the verifier refuses if it can be reached. Next file: `../maps.rs`.

use asm::insn::Insn;

use super::super::kfunc::halves;
use super::value::Outcome;
use crate::btf::MatchError;

/// A call of this helper in the verifier's log means "the kernel does not have what this line wants". libbpf's number.
pub(super) const POISON: i32 = 0x0bad_2310;

/// Bits of an opcode that say what class it is.
const CLASS: u8 = 0x07;
/// Bits of a load's or store's opcode that say how wide it is.
const WIDTH: u8 = 0x18;

/// Changes the instruction at `at`. Says whether it had to be poisoned.
pub(super) fn apply(insns: &mut [Insn], at: usize, outcome: &Outcome) -> Result<bool, MatchError> {
    let Some((insn, rest)) = insns.get_mut(at..).and_then(<[Insn]>::split_first_mut) else {
        return Err(MatchError::BadInsn { insn: format!("number {at}, which does not exist") });
    };
    let is_memory = matches!(insn.code() & CLASS, 0x01..=0x03);
    let Some(new) = outcome.new.filter(|_| !(is_memory && outcome.unsafe_resize)) else {
        if insn.is_ld_imm64() {
            *rest.first_mut().ok_or_else(|| bad(*insn))? = poison();
        }
        *insn = poison();
        return Ok(true);
    };
    match insn.code() & CLASS {
        // Arithmetic with a constant.
        0x04 | 0x07 if insn.code() & 0x08 == 0 => {
            expect(*insn, i64::from(insn.imm()).cast_unsigned(), outcome)?;
            insn.set_imm(halves(new)[0]);
        }
        0x01..=0x03 => memory(insn, new, outcome)?,
        0x00 if insn.is_ld_imm64() && insn.src() == 0 => {
            let second = rest.first_mut().ok_or_else(|| bad(*insn))?;
            let wide = u64::from(insn.imm().cast_unsigned()) | u64::from(second.imm().cast_unsigned()) << 32;
            expect(*insn, wide, outcome)?;
            let [low, high] = halves(new);
            insn.set_imm(low);
            second.set_imm(high);
        }
        _ => return Err(bad(*insn)),
    }
    Ok(false)
}

/// A load or store: the number is its offset; its width follows the field.
fn memory(insn: &mut Insn, new: u64, outcome: &Outcome) -> Result<(), MatchError> {
    expect(*insn, i64::from(insn.off()).cast_unsigned(), outcome)?;
    let off = i16::try_from(new).map_err(|_| MatchError::OutOfRange { value: new, insn: insn.to_string() })?;
    let mut code = insn.code();
    if let Some((old_size, new_size)) = outcome.resize {
        let (Some(old_width), Some(new_width)) = (width(old_size), width(new_size)) else {
            return Err(MatchError::OutOfRange { value: new_size.into(), insn: insn.to_string() });
        };
        if code & WIDTH != old_width {
            return Err(bad(*insn));
        }
        code = code & !WIDTH | new_width;
    }
    *insn = Insn::new(code, insn.dst(), insn.src(), off, insn.imm());
    Ok(())
}

/// The width bits for a number of bytes.
fn width(bytes: u32) -> Option<u8> {
    match bytes {
        1 => Some(0x10),
        2 => Some(0x08),
        4 => Some(0x00),
        8 => Some(0x18),
        _ => None,
    }
}

/// The instruction has to hold what the object's own types say.
fn expect(insn: Insn, found: u64, outcome: &Outcome) -> Result<(), MatchError> {
    match outcome.old {
        Some(want) if want != found => Err(MatchError::Unexpected { insn: insn.to_string(), found, want }),
        _ => Ok(()),
    }
}

fn bad(insn: Insn) -> MatchError {
    MatchError::BadInsn { insn: insn.to_string() }
}

fn poison() -> Insn {
    Insn::new(0x85, 0, 0, 0, POISON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(old: u64, new: Option<u64>) -> Outcome {
        Outcome { old: Some(old), new, resize: None, unsafe_resize: false }
    }

    #[test]
    fn each_instruction_class() {
        let load = Insn::new(0x61, 1, 2, 16, 0);
        let mov = Insn::new(0xb7, 1, 0, 0, 16);
        let ld = [Insn::new(0x18, 1, 0, 0, 16), Insn::new(0, 0, 0, 0, 0)];
        let narrower = Outcome { resize: Some((4, 2)), ..outcome(16, Some(24)) };
        let rows: [(&str, Vec<Insn>, Outcome, Vec<Insn>); 6] = [
            ("load", vec![load], outcome(16, Some(24)), vec![Insn::new(0x61, 1, 2, 24, 0)]),
            ("narrower load", vec![load], narrower.clone(), vec![Insn::new(0x69, 1, 2, 24, 0)]),
            ("unsafe", vec![load], Outcome { unsafe_resize: true, ..narrower }, vec![poison()]),
            ("constant", vec![mov], outcome(16, Some(24)), vec![Insn::new(0xb7, 1, 0, 0, 24)]),
            (
                "wide",
                ld.to_vec(),
                outcome(16, Some(1 << 32)),
                vec![Insn::new(0x18, 1, 0, 0, 0), Insn::new(0, 0, 0, 0, 1)],
            ),
            ("absent", ld.to_vec(), outcome(16, None), vec![poison(), poison()]),
        ];
        for (name, mut insns, outcome, want) in rows {
            apply(&mut insns, 0, &outcome).unwrap();
            assert_eq!(insns, want, "{name}");
        }
    }

    #[test]
    fn surprises_are_errors() {
        let load = Insn::new(0x61, 1, 2, 16, 0);
        for (name, insn, outcome) in [
            ("another offset", load, outcome(8, Some(24))),
            ("too far", load, outcome(16, Some(40_000))),
            ("register", Insn::new(0xbf, 1, 2, 0, 0), outcome(0, Some(1))),
            ("jump", Insn::new(0x05, 0, 0, 0, 0), outcome(0, Some(1))),
        ] {
            assert!(apply(&mut [insn], 0, &outcome).is_err(), "{name}");
        }
        assert!(apply(&mut [], 0, &outcome(0, Some(1))).is_err());
    }
}
