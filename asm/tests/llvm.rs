//! LLVM's opinion, both ways, of every operation with every class of operand: our text is the same bytes to llvm-mc-22, and what
//! llvm-mc-22 and llvm-objdump-22 write of our bytes is the same bytes to us. One process for all of them.
//!
//! Without the tools there is nothing to compare, which only `cargo ci` does not accept (`REQUIRE_TOOLS`).

mod samples;

use asm::insn::{Code, Insn, Op, Row, TABLE};
use asm::object::{Object, ProgDef};
use asm::text::assemble;
use samples::{has_llvm, llvm, llvm_text, samples};
use zerocopy::IntoBytes as _;

/// Rows that LLVM has no words for at all: it writes calls of helpers, functions and kernel functions alike.
const WORDLESS: [&str; 2] = ["call local", "call kfunc"];

const MC: [&str; 3] = ["llvm-mc-22", "-triple=bpfel", "-mcpu=v4"];

/// Are the tools there? If not, that is said, and under `cargo ci` it is a failure.
fn tools() -> bool {
    if has_llvm() {
        return true;
    }
    assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "llvm-mc-22 is not installed: apt-get install llvm-22");
    println!("llvm-mc-22 is not installed (Debian: llvm-22): nothing is compared");
    false
}

/// What both have words for.
fn known() -> Vec<(Op, String)> {
    let known: Vec<_> = samples().into_iter().filter_map(|op| Some((op, llvm_text(op)?))).collect();
    let covered = |row: &Row| known.iter().any(|(op, _)| op.row() == Some(row));
    let missing: Vec<_> = TABLE.iter().filter(|row| !covered(row)).map(|row| row.name).collect();
    assert_eq!(missing, WORDLESS, "rows that are not compared");
    known
}

fn hex(op: Op) -> String {
    op.encode().as_bytes().iter().map(|b| format!("{b:#04x}")).collect::<Vec<_>>().join(",")
}

#[test]
fn our_text_is_the_same_bytes_to_llvm() {
    if !tools() {
        return;
    }
    let known = known();
    let all: String = known.iter().map(|(_, text)| format!("{text}\n")).collect();
    let shown = llvm(&[&MC[..], &["-show-encoding"]].concat(), &all).unwrap_or_else(|e| panic!("{e}"));
    let encodings: Vec<&str> =
        shown.lines().filter_map(|line| line.split("encoding: [").nth(1)?.split(']').next()).collect();
    assert_eq!(encodings.len(), known.len());
    for ((op, text), encoding) in known.iter().zip(encodings) {
        assert_eq!(encoding, hex(*op), "{text}");
        assert_eq!(assemble(text).unwrap_or_else(|e| panic!("{e}")).insns, &*op.encode(), "{text}");
    }
    println!("{} operations are the same bytes to llvm-mc-22", known.len());
}

#[test]
fn what_llvm_writes_of_our_bytes_is_the_same_bytes_to_us() {
    if !tools() {
        return;
    }
    let known = known();
    let bytes: String = known.iter().map(|(op, _)| hex(*op).replace(',', " ") + "\n").collect();
    let shown = llvm(&[&MC[..], &["--disassemble"]].concat(), &bytes).unwrap_or_else(|e| panic!("{e}"));
    let lines: Vec<&str> = shown.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('.')).collect();
    same(&known, &lines);
}

#[test]
fn what_objdump_writes_of_our_object_is_the_same_bytes_to_us() {
    if !tools() {
        return;
    }
    let known = known();
    let insns: Vec<Insn> = known.iter().flat_map(|(op, _)| op.encode().to_vec()).collect();
    let object = Object::new("GPL").prog(ProgDef::new("xdp", "all", Code { insns, ..Code::default() }));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("all.o");
    std::fs::write(&path, object.write().expect("a whole object")).expect("room for it");
    let path = path.to_str().expect("a plain path");
    let dump = ["llvm-objdump-22", "--disassemble", "--no-show-raw-insn", "--mcpu=v4", path];
    let shown = llvm(&dump, "").unwrap_or_else(|e| panic!("{e}"));
    // `      12:	goto +0x4 <all+0x88>`
    let insn = |line: &'_ str| {
        let (at, text) = line.split_once(":\t")?;
        at.trim().parse::<usize>().ok().and(text.split(" <all").next()).map(|text| text.trim().to_owned())
    };
    let lines: Vec<String> = shown.lines().filter_map(insn).collect();
    same(&known, &lines.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Each line is its operation's bytes.
fn same(known: &[(Op, String)], lines: &[&str]) {
    assert_eq!(lines.len(), known.len(), "as many lines as operations");
    for ((op, text), line) in known.iter().zip(lines) {
        let code = assemble(line).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(code.insns, &*op.encode(), "{line}, of {text}");
    }
}
