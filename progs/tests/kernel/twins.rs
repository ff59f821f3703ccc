//! The C twins of the examples (`asm/benches/c/`), compiled by clang: the same packets, verdicts, bytes and maps as the DSL's.
//!
//! Where clang is not installed there is nothing to compare, which only `cargo ci` does not accept (`REQUIRE_TOOLS`).

use std::{collections::BTreeMap, path::Path, process::Command};

use loader::Spec;

use crate::{cases, examples::run, support::in_netns};

const CLANG: &str = "clang-22";

/// The objects of all twins by the names of the examples, or nothing without clang.
fn twins() -> Option<BTreeMap<String, Vec<u8>>> {
    if Command::new(CLANG).arg("--version").output().is_err() {
        assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "{CLANG} is not installed");
        println!("{CLANG} is not installed (Debian: clang-22): nothing is compared");
        return None;
    }
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../asm/benches/c"));
    let into = std::env::temp_dir().join(format!("twins-{}", std::process::id()));
    std::fs::create_dir_all(&into).expect("a directory for objects");
    let mut objects = BTreeMap::new();
    for name in progs::examples::NAMES {
        let (text, object) = (sources.join(format!("{name}.c")), into.join(name));
        if !text.exists() {
            continue;
        }
        let args = ["-O2", "-g", "-Werror", "-target", "bpf", "-mcpu=v3", "-c", "-o"];
        let done = Command::new(CLANG).args(args).args([&object, &text]).output().expect("it runs");
        assert!(done.status.success(), "{name}.c: {}", String::from_utf8_lossy(&done.stderr));
        objects.insert((*name).to_owned(), std::fs::read(&object).expect("it was written"));
    }
    std::fs::remove_dir_all(&into).expect("it is ours");
    Some(objects)
}

#[test]
fn the_twins_in_c_do_the_same() {
    in_netns(|| {
        let Some(twins) = twins() else { return };
        assert_eq!(twins.len(), 13, "{:?}", twins.keys());
        let mut judged = BTreeMap::new();
        for case in cases::table::cases() {
            let Some(object) = twins.get(case.program) else { continue };
            run(&case, &Spec::parse(object).expect("the loader reads it"));
            *judged.entry(case.program).or_insert(0) += 1;
        }
        // The programs of the sockhash see no packets: they load.
        for (name, object) in twins.iter().filter(|(name, _)| !judged.contains_key(name.as_str())) {
            assert!(["sockops", "sk-msg"].contains(&name.as_str()), "{name} has no case");
            let spec = Spec::parse(object).expect("the loader reads it");
            loader::load(&spec, &loader::LoadOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert_eq!(judged.len(), 11, "{judged:?}");
    });
}
