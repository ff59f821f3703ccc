//! The measured verifier matrix: every program in it must assemble, and survive printing.
//!
//! The file is named by the environment variable `VERIFIER_MATRIX`; a line is a JSON object whose `asm` is the text.

use asm::insn::Op;
use asm::text::assemble;

#[test]
fn every_program_of_the_matrix_assembles() {
    let Some(path) = std::env::var_os("VERIFIER_MATRIX") else {
        return eprintln!("VERIFIER_MATRIX is not set: nothing to assemble");
    };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut count = 0;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let (name, source) = (case["name"].as_str().unwrap(), case["asm"].as_str().unwrap());
        let code = assemble(source).unwrap_or_else(|e| panic!("{name}:\n{e}"));
        let printed = asm::text::print(&code);
        let again = assemble(&printed).unwrap_or_else(|e| panic!("{name}:\n{printed}\n{e}"));
        assert_eq!(again.insns, code.insns, "{name}:\n{printed}");
        assert_eq!(again.relocs, code.relocs, "{name}:\n{printed}");
        let mut rest = &code.insns[..];
        while !rest.is_empty() {
            let (_, slots) = Op::decode(rest).unwrap_or_else(|e| panic!("{name}: {e}"));
            rest = &rest[slots..];
        }
        count += 1;
    }
    println!("{count} programs assembled");
    assert!(count > 0, "the matrix is empty");
}
