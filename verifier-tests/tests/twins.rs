//! The twins in the interpreter alone: no kernel, no root. The kernel's half is `kernel/twins.rs`.

use std::path::Path;

use verifier_tests::Twin;

#[test]
fn the_interpreter_gives_what_the_files_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("twins");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&dir).expect("twins/ is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a text");
        match Twin::parse(&name, &text).and_then(|twin| Ok((twin.interpret()?, twin))) {
            Ok((after, twin)) => {
                assert!(!twin.runs.is_empty(), "{name} has no run");
                wrong.extend(twin.differences(&after).into_iter().map(|why| format!("{name}: {why}")));
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
