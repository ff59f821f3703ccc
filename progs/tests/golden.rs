//! What the kernel programs are, as text: a change of code shows in review as a change of instructions.
//!
//! Input: the built-in programs. Output: `golden/*.s`, which assemble to the same code again, and `golden/size.txt`.
//! `UPDATE_GOLDEN=1 cargo test -p progs --test golden` rewrites them. Next file to read: `kernel/main.rs`.

use std::{fmt::Write as _, fs, path::PathBuf, sync::Arc};

use asm::{codegen::Profile, insn::Code, text};

fn programs() -> Vec<(Arc<str>, Code)> {
    let objects = ["lb", "lb-decap"].iter().filter_map(|name| progs::by_name(name));
    let compile = |object: &progs::BuiltIn| object.module().compile(&Profile::linux_5_10()).expect("it is well-formed");
    objects.flat_map(compile).map(|compiled| (compiled.name, compiled.code)).collect()
}

fn golden(file: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).expect("the directory is there");
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    let changed = known.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap_or(known.lines().count());
    assert!(
        known == text,
        "{} differs from line {} on; if that is right: UPDATE_GOLDEN=1",
        path.display(),
        changed + 1
    );
}

#[test]
fn listings() {
    for (name, code) in programs() {
        let listing = text::print(&code);
        golden(&format!("{name}.s"), &listing);
        let again = text::assemble(&listing).expect("a listing assembles");
        assert_eq!(again.insns, code.insns, "{name}: text and back");
        assert_eq!(again.relocs, code.relocs, "{name}: text and back");
    }
}

#[test]
fn sizes() {
    let mut table = String::from("# program, instruction slots, map references\n");
    for (name, code) in programs() {
        writeln!(table, "{name:8} {:4} {:3}", code.insns.len(), code.relocs.len()).expect("a String takes it");
    }
    golden("size.txt", &table);
}

#[test]
fn objects_are_the_same_every_time() {
    for object in progs::built_in() {
        let (a, b) = (object.object().expect("written"), object.object().expect("written"));
        assert_eq!(a, b, "{}", object.name);
    }
}
