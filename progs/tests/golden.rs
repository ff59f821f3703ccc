//! What the kernel programs are, as text: a change of code shows in review as a change of instructions.
//!
//! Input: the built-in programs. Output: `golden/*.s`, which assemble to the same code again, and `golden/size.txt`; verdicts of the self-probe.
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

/// The verdicts of the self-probe, of three kernels as they were met and one that does everything wrong.
#[test]
fn verdicts() {
    use progs::bypass::control::Counting;
    use progs::bypass::probe::{Found, Seen, Verdicts};

    let newest = Seen {
        counting: Counting::Tracepoint,
        order: Ok(512 << 10),
        held: Ok(4_390_912),
        held_by_tcp: Ok(3_866_624),
        woken: Ok(100),
        retries: Ok(0),
        left: Ok(4097),
        found: Ok(Found { splice: true, fionread: false }),
        spliced: Ok(0),
        readable_redirected: Ok(10),
        readable_by_tcp: Ok(0),
    };
    let older = Seen {
        counting: Counting::Function,
        found: Ok(Found { splice: true, fionread: true }),
        readable_redirected: Ok(0),
        readable_by_tcp: Ok(10),
        ..newest.clone()
    };
    let wrong = Seen {
        order: Err("another byte comes at 8108".to_owned()),
        held: Ok(16 << 20),
        woken: Ok(3),
        retries: Ok(2),
        left: Err("nothing within 1000 ms".to_owned()),
        ..newest.clone()
    };
    let mut text = String::new();
    let cases = [("6.18", newest), ("6.1", older), ("5.10", Seen::nothing(Ok(1_572_096))), ("wrong", wrong)];
    for (name, seen) in cases {
        writeln!(text, "{name}\n{}", Verdicts::of(seen)).expect("a String takes it");
    }
    golden("bypass-verdicts.txt", &text);
}
