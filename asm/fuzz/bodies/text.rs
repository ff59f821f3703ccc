//! What the fuzz target of assembly text does, and the tests of the text layer. Input: a text. Next: `btf.rs`.

use asm::text::{Dialect, MAX_SHOWN, Options, assemble_as, parse, print_with};

/// Every entry point of the text layer. Any result will do; mistakes must be worth reading, and not too many.
pub(crate) fn text(text: &str) {
    for dialect in [Dialect::PseudoC, Dialect::Mnemonic] {
        match assemble_as(dialect, "t.s", text) {
            Ok(code) => {
                let shown = print_with(&code, Options { numbers: true, lines: true, first: 0 });
                assert!(shown.len() >= code.insns.len());
                // No instruction is shorter than `exit`.
                assert!(code.insns.len() <= text.len(), "{} slots of {} bytes", code.insns.len(), text.len());
            }
            Err(mistakes) => check(&mistakes),
        }
    }
    match parse("t.s", text) {
        Ok(program) => drop(program.object().write()),
        Err(mistakes) => check(&mistakes),
    }
}

/// Mistakes that a person can read.
fn check(mistakes: &asm::text::Diagnostics) {
    assert!((1..=MAX_SHOWN).contains(&mistakes.list.len()) && mistakes.to_string().starts_with("error: "));
}
